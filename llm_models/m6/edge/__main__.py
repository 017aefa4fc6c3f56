"""``python -m llm_models.m6.edge``: make a fitted click model small, step by step, and print what each step costs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from bench.cli.options import Changes, Dataset, Device, StoreRoot, read_suite
from bench.errors import BenchError, UsageError

__all__ = ["edge"]

_STEPS = "longer,exit,distil,prune,int8,all"
_ENTRY = "m6-click"

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.command()
def edge(
    suite: Annotated[
        str, typer.Option(help="Suite whose data, protocol and (if it has one of that name) entry are used.")
    ] = "click",
    dataset: Dataset = None,
    model: Annotated[
        str, typer.Option(help=f"Entry to start from, a {_ENTRY}: taken from the store, or fitted and stored first.")
    ] = _ENTRY,
    changes: Changes = None,
    steps: Annotated[
        str,
        typer.Option(
            help="Which steps, separated by commas: longer (tuned on, as a control), exit (early exit), distil (a "
            "small student), prune, int8, all (the student pruned and in 8 bits)."
        ),
    ] = _STEPS,
    part: Annotated[str, typer.Option(help="Requests that are measured: test or valid.")] = "test",
    requests: Annotated[int, typer.Option(help="At most so many of each set, drawn; 0: all.")] = 0,
    seed: Annotated[int, typer.Option(help="Of the fit and of every step.")] = 0,
    tune_steps: Annotated[int, typer.Option(help="Optimiser steps of longer, exit and prune.")] = 300,
    weightings: Annotated[
        str, typer.Option(help="Weights of the losses at every layer: normalised (2k/(L(L+1))), quoted (2/(k+1)).")
    ] = "normalised,quoted",
    patience: Annotated[str, typer.Option(help="Exits in a row that must agree, values separated by commas.")] = "2,3",
    entropies: Annotated[
        str, typer.Option(help="Entropies (nats) below which a candidate leaves; an even guess has 0.693.")
    ] = "0.4,0.55,0.65",
    share: Annotated[float, typer.Option(help="Share of the weights that is pruned.")] = 0.8,
    scope: Annotated[
        str, typer.Option(help="Prune the smallest of all (global) or of each matrix (layer).")
    ] = "global",
    student_depth: Annotated[int, typer.Option(help="Layers of the student.")] = 3,
    student_width: Annotated[int, typer.Option(help="Its hidden width; 0: the teacher's.")] = 0,
    shared: Annotated[bool, typer.Option(help="Whether its layers are one.")] = True,
    word_width: Annotated[int, typer.Option(help="Its word vectors are stored that short; 0: at full width.")] = 128,
    start: Annotated[str, typer.Option(help="Where it starts: teacher or random.")] = "teacher",
    teacher: Annotated[str, typer.Option(help="The pre-trained backbone, or the fitted model.")] = "backbone",
    teacher_layer: Annotated[int, typer.Option(help="Layer whose relations it learns, from 1; 0: the last.")] = 0,
    relation_heads: Annotated[int, typer.Option(help="Relation heads; they divide both widths.")] = 12,
    distil_steps: Annotated[int, typer.Option(help="Optimiser steps of distillation.")] = 500,
    distil_rate: Annotated[float, typer.Option(help="Its learning rate.")] = 3e-4,
    timed: Annotated[int, typer.Option(help="Requests that are timed.")] = 64,
    rounds: Annotated[int, typer.Option(help="How often, in turns.")] = 7,
    store: StoreRoot = Path("results/runs"),
    out: Annotated[Path, typer.Option(help="Folder of the table.")] = Path("results/m6-edge"),
    device: Device = "cpu",
) -> None:
    """Make a fitted click model small, each step measured on its own, and write a table.

    Columns: AUC and log-loss with intervals, differences from the fitted model, layers run, parameters, those that are
    not 0, bytes stored, and milliseconds a request, alone and in batches.

    Examples: `python -m llm_models.m6.edge --suite m6`; `python -m llm_models.m6.edge --set m6-click.method=full --set
    m6-click.budget.max_steps=400 --steps exit,int8 --part valid`.
    """
    from llm_models.m6.edge.run import Wanted, run
    from llm_models.m6.edge.steps import EdgeSettings

    chosen = read_suite(suite, dataset, model, str(seed), changes)
    settings = EdgeSettings(
        tune_steps=tune_steps,
        weightings=tuple(_names(weightings, "--weightings", ("normalised", "quoted"))),
        patience=tuple(_numbers(patience, "--patience", int)),
        entropies=tuple(_numbers(entropies, "--entropies", float)),
        share=share,
        scope=_one(scope, "--scope", ("global", "layer")),
        student_depth=student_depth,
        student_width=student_width,
        shared=shared,
        word_width=word_width,
        start=_one(start, "--start", ("teacher", "random")),
        teacher=_one(teacher, "--teacher", ("backbone", "fitted")),
        teacher_layer=teacher_layer,
        relation_heads=relation_heads,
        distil_steps=distil_steps,
        distil_rate=distil_rate,
        seed=seed,
    )
    wanted = Wanted(
        steps=tuple(_names(steps, "--steps", tuple(_STEPS.split(",")))),
        part=_one(part, "--part", ("test", "valid")),
        requests=requests,
        timed=timed,
        rounds=rounds,
    )
    print(run(chosen, settings, wanted, store=store, out=out, device=device))


def _names(text: str, option: str, known: tuple[str, ...]) -> list[Any]:
    return [_one(name.strip(), option, known) for name in text.split(",") if name.strip()]


def _one(value: str, option: str, known: tuple[str, ...]) -> Any:
    if value not in known:
        raise UsageError(f"{option} takes {', '.join(known)}, not {value!r}")
    return value


def _numbers(text: str, option: str, kind: type) -> list[Any]:
    try:
        return [kind(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise UsageError(f"{option} takes numbers separated by commas, not {text!r}") from None


def main() -> None:
    """Run the command and leave with its exit code."""
    try:
        app()
    except BenchError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
