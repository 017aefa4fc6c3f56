"""``python -m llm_models.m6.serving_speed``: what late interaction gains in serving, for every L', in one table."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import BenchError, UsageError
from bench.runs.provenance import environment
from llm_models.backbones.locate import PACKAGED_MINILM, locate
from llm_models.m6.serving.workload import Lengths, Workload

if TYPE_CHECKING:
    from llm_models.backbones.stack import Stack
    from llm_models.m6.network import M6Network, Reading
    from llm_models.m6.serving.timing import Contender

__all__ = ["main"]

_TASK = "click"
_REFERENCE, _NAIVE, _SMALL = "late-0", "naive", "distilled"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m llm_models.m6.serving_speed",
        description="Time three ways to score a user's candidates: every pair through all layers (naive), the user's "
        "keys and values cached (late-0, the reference), and late interaction from cached segments, for every L' "
        "(late-<L'>; end-<L'> where [EOS] alone reads the user). Contenders take turns; ratios are of computing time, "
        "round by round. Weights do not matter for speed: the tuning is not trained.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--backbone", default=PACKAGED_MINILM, help="packaged-minilm, a folder or a hub name")
    add("--dtype", choices=["float32", "bfloat16"], default="bfloat16", help="of the backbone")
    add("--late", type=int, nargs="+", metavar="L'", help="values of L' (default: all below the backbone's layers)")
    add("--small", default="3", help="third reference: a backbone of few layers, or how many of the first to keep")
    add("--prompts", type=int, default=8, help="soft prompts")
    add("--rank", type=int, default=48, help="rank of the adapters of all layers; 0: none")
    add("--users", type=int, default=4, help="users that requests alternate between")
    add("--clicks", type=int, default=8, help="clicks of a user")
    add("--candidates", type=int, default=200, help="candidates of a request")
    lengths = Lengths()
    add("--click-tokens", type=int, nargs=2, default=lengths.click, help="shortest and longest click")
    add("--candidate-tokens", type=int, nargs=2, default=lengths.candidate, help="shortest and longest candidate")
    add("--threads", type=int, default=1, help="threads of the computation")
    add("--rounds", type=int, default=5, help="rounds of measurements")
    add("--seconds", type=float, default=0.5, help="of computing in each measurement")
    add("--auc", type=Path, metavar="STORE", help="store in which the suite m6-late was run: adds AUC to the table")
    add("--dataset", default="ml-100k", help="of the AUC")
    add("--set", dest="on", help="request set of the AUC (default: the test set with most requests)")
    add("--out", type=Path, default=Path("results/m6-late"), help="folder for speed.csv, rounds.csv, speed.md and "
        "speed.json")  # fmt: skip
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and write; returns the exit status."""
    asked = _parser().parse_args(arguments)
    try:
        _run(asked, sys.argv[1:] if arguments is None else arguments)
    except BenchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _run(asked: argparse.Namespace, words: Sequence[str]) -> None:
    import polars as pl
    import torch

    from llm_models.m6.serving.speed_table import auc, rendered, summary
    from llm_models.m6.serving.timing import measure, memory

    for name in ("users", "clicks", "candidates", "threads", "rounds"):
        if getattr(asked, name) < 1:
            raise UsageError(f"--{name} must be 1 or more, not {getattr(asked, name)}")
    before = torch.get_num_threads()
    torch.set_num_threads(asked.threads)
    try:
        contenders, work = _contenders(asked)
        taken = measure(
            contenders,
            rounds=asked.rounds,
            seconds=asked.seconds,
            told=lambda number: print(f"round {number} of {asked.rounds}", file=sys.stderr),
        )
    finally:
        torch.set_num_threads(before)
    table = summary(contenders, taken, {one.name: memory(one, work) for one in contenders}, _REFERENCE)
    if asked.auc is not None:
        found = auc([one.name for one in contenders], _REFERENCE, asked.auc, asked.dataset, asked.on)
        table = table.join(found, on="name", how="left", maintain_order="left")
    command = shlex.join(["python", "-m", "llm_models.m6.serving_speed", *words])
    machine = environment()
    asked.out.mkdir(parents=True, exist_ok=True)
    table.write_csv(asked.out / "speed.csv")
    pl.DataFrame(taken, orient="row", schema=["contender", "quantity", "round", "wall_s", "cpu_s"]).write_csv(
        asked.out / "rounds.csv"
    )
    text = rendered(table, _notes(asked, work, machine, command))
    (asked.out / "speed.md").write_text(text, encoding="utf-8")
    about = {"command": command, **machine, "threads": asked.threads}
    (asked.out / "speed.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    print(text)


def _contenders(asked: argparse.Namespace) -> tuple[list[Contender], Workload]:
    from llm_models.backbones.stack import load_stack
    from llm_models.m6.serving.timing import cached, full_pass

    stack = load_stack(locate(asked.backbone), dtype=asked.dtype)
    if any(not 0 < late < stack.depth for late in asked.late or []):
        raise UsageError(f"--late takes values from 1 to {stack.depth - 1}, this backbone's layers less one")
    lengths = Lengths(click=tuple(asked.click_tokens), candidate=tuple(asked.candidate_tokens))
    work = Workload.drawn(
        users=asked.users,
        clicks=asked.clicks,
        candidates=asked.candidates,
        vocabulary=len(stack.words.weight),
        lengths=lengths,
    )
    whole = _network(stack, asked, 0, "all")
    found = [full_pass(_NAIVE, whole, _TASK, work), cached(_REFERENCE, whole, _TASK, work)]
    small = _network(_small(asked, work), asked, 0, "all")
    found.append(cached(_SMALL, small, _TASK, work))
    for late in asked.late or range(1, stack.depth):
        found.append(cached(f"late-{late}", _network(stack, asked, late, "all"), _TASK, work))
        if late < stack.depth - 1:  # with one late layer the two are the same
            found.append(cached(f"end-{late}", _network(stack, asked, late, "end"), _TASK, work))
    return found, work


def _small(asked: argparse.Namespace, work: Workload) -> Stack:
    from torch import nn

    from llm_models.backbones.stack import load_stack

    stack = load_stack(locate(asked.backbone if asked.small.isdecimal() else asked.small), dtype=asked.dtype)
    if asked.small.isdecimal():
        if not 0 < int(asked.small) <= stack.depth:
            raise UsageError(f"--small keeps 1 to {stack.depth} layers, not {asked.small}")
        stack.blocks = nn.ModuleList(list(stack.blocks)[: int(asked.small)])
    if int(work.packer.tokens.values.max()) >= len(stack.words.weight):
        raise UsageError(f"--small {asked.small} has fewer words than {asked.backbone}: it reads another tokenizer's")
    return stack


def _network(stack: Stack, asked: argparse.Namespace, late: int, reading: Reading) -> M6Network:
    import torch

    from llm_models.m6.network import M6Network
    from llm_models.m6.tuning import Tuning

    tuning = Tuning(
        stack,
        "option-adapter" if asked.rank else "option",
        classes=2,
        prompts=asked.prompts,
        rank=max(asked.rank, 1),
        begin=1,
        end=2,
        generator=torch.Generator().manual_seed(0),
    )
    return M6Network(stack, {_TASK: tuning}, late=late, reading=reading).eval()


def _notes(asked: argparse.Namespace, work: Workload, machine: dict[str, object], command: str) -> list[str]:
    small = f"{asked.small} layers" if asked.small.isdecimal() else asked.small
    threads = f"{asked.threads} thread{'s' * (asked.threads > 1)}"
    notes = [
        "naive: every pair of user and candidate through all layers. late-0: the full model, the user's keys and "
        f"values of all layers cached, which loses nothing. distilled: {small}, likewise cached. late-L': late "
        "interaction with cached segments. end-L': of a candidate [EOS] alone reads the user in the late layers, which "
        "M6-Rec does not do. With one late layer the two are the same.",
        "In all but naive the last layer is computed for [EOS] alone, which changes no score.",
        f"A request: {asked.candidates} candidates of {work.candidate_tokens:.1f} tokens on average, for a user of "
        f"{work.user_tokens:.1f} tokens ({asked.clicks} clicks) and {asked.prompts} soft prompts.",
        "Candidates/s: the user's keys and values are there. New user: they are computed in the request, from cached "
        "segments where there are any. New click: its segment computed, the user read anew. Cold candidate: nothing "
        "of it is kept.",
        f"Seconds are of computing ({threads}, {asked.dtype}), so that other work on the machine does not count. "
        f"Medians of {asked.rounds} rounds in which contenders take turns; ratios round by round: median [least, "
        "most].",
        "Memory: states of a mean segment after L'; a candidate made ready from them; keys and values of a user.",
    ]
    if asked.auc is not None:
        notes.append(
            f"AUC: test requests of {asked.dataset}, from the suite m6-late; difference: against late-0. 95% "
            "intervals, users resampled."
        )
    return [*notes, f"Machine: {machine['processor']}, code {machine['code']}.", f"Command: `{command}`."]


if __name__ == "__main__":
    raise SystemExit(main())
