"""``bench split``: look at a split, write it for other programs, use one that others made."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.cli.options import read_change
from bench.errors import UsageError, nearest

if TYPE_CHECKING:
    from bench.splits import Protocol, Split

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="Look at a split, write it for other programs, use one that others made.")

SuiteName = Annotated[
    str | None, typer.Option("--suite", help="Take dataset, protocol and split seed from this suite, or its YAML file.")
]
DatasetName = Annotated[str | None, typer.Option("--dataset", help="A dataset, or the YAML card of your own.")]
ProtocolName = Annotated[str | None, typer.Option("--protocol", help="leave-one-out, cold-start, temporal...")]
Parameters = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="A parameter of the protocol, e.g. test_users=0.1; may be repeated."
    ),
]
SplitSeed = Annotated[int | None, typer.Option("--split-seed", min=0, help="Decides ties in time and every draw.")]


@app.command()
def show(
    suite: SuiteName = None,
    dataset: DatasetName = None,
    protocol: ProtocolName = None,
    parameters: Parameters = None,
    split_seed: SplitSeed = None,
) -> None:
    """Make a split and say what is in it: what is learned from, every held-out set, what must be known of it.

    Example: `bench split show --dataset ml-100k --protocol cold-start --set test_users=0.1`.
    """
    name, rule, seed = _chosen(suite, dataset, protocol, parameters, split_seed)
    from bench.data import load_dataset
    from bench.splits import make_split

    _print(make_split(load_dataset(name), rule, seed=seed))


@app.command()
def export(
    to: Annotated[Path, typer.Option("--to", help="A folder that is new or empty.")],
    suite: SuiteName = None,
    dataset: DatasetName = None,
    protocol: ProtocolName = None,
    formats: Annotated[
        str, typer.Option("--format", help="parquet (complete), recbole, trec; several separated by commas.")
    ] = "parquet",
    parameters: Parameters = None,
    split_seed: SplitSeed = None,
) -> None:
    """Make a split and write it for others.

    Examples: `bench split export --suite coldstart --to cold`; `bench split export --dataset ml-100k --protocol
    leave-one-out --to split --format parquet,recbole,trec`.
    """
    name, rule, seed = _chosen(suite, dataset, protocol, parameters, split_seed)
    from bench.data import load_dataset
    from bench.splits.exchange.export import check_request, export_split

    wanted = [word.strip() for word in formats.split(",") if word.strip()]
    check_request(to, wanted)
    written = export_split(load_dataset(name), rule, to, formats=wanted, seed=seed)
    _print(written.split)
    typer.echo("")
    for form, lost in written.lost.items():
        typer.echo(f"{form} written")
        for sentence in lost:
            typer.echo(f"  not carried: {sentence}")
    typer.echo(f"{to}: README.txt says what each file is")


@app.command("import")
def import_(
    folder: Annotated[Path, typer.Argument(help="An export, or training, validation and test files of others.")],
    dataset: Annotated[str, typer.Option("--dataset", help="The dataset it is a split of, or its YAML card.")],
    split_seed: SplitSeed = None,
) -> None:
    """Read and check a split that was published, or that a colleague exported, and say how to use it.

    Example: `bench split import last_out/ --dataset amazon-2023:Musical_Instruments`.
    """
    from bench.data import load_dataset
    from bench.splits import make_split
    from bench.splits.exchange.published import Published

    rule = Published(folder=str(folder))
    rule.identity()  # What is wrong with the files is said before the data set is read.
    _print(make_split(load_dataset(dataset), rule, seed=split_seed or 0))
    typer.echo(
        f"\nto use it: bench run --suite quick --dataset {dataset} --split {folder}\n"
        f"or in a suite: dataset: {dataset}, protocol: {{name: published, folder: {folder}}}"
    )


def _chosen(
    suite: str | None,
    dataset: str | None,
    protocol: str | None,
    parameters: list[str] | None,
    split_seed: int | None,
) -> tuple[str, Protocol, int]:
    """Dataset, protocol and split seed that the options name."""
    given = dict(read_change(text) for text in parameters or [])
    given = {key.removeprefix("protocol."): value for key, value in given.items()}
    if suite is not None:
        if dataset is not None or protocol is not None:
            raise UsageError("give either --suite, or --dataset and --protocol")
        from bench.runs.suite import load_suite

        chosen = load_suite(suite).narrowed(changes={f"protocol.{key}": value for key, value in given.items()})
        return chosen.dataset, chosen.protocol, chosen.split_seed if split_seed is None else split_seed
    if dataset is None or protocol is None:
        raise UsageError("give --dataset and --protocol, or --suite")
    return dataset, _protocol(protocol, given), split_seed or 0


def _protocol(name: str, parameters: dict[str, Any]) -> Protocol:
    from pydantic import TypeAdapter, ValidationError

    from bench.splits import AnyProtocol

    adapter: TypeAdapter[Protocol] = TypeAdapter(AnyProtocol)
    try:
        return adapter.validate_python({**parameters, "name": name})
    except ValidationError as error:
        first = error.errors()[0]
        if first["type"] == "union_tag_invalid":
            known = [tag.strip(" '") for tag in first["ctx"]["expected_tags"].split(",")]
            raise nearest("protocol", name, known) from error
        where = ".".join(str(part) for part in first["loc"][1:])
        said = {"extra_forbidden": "no such parameter"}.get(first["type"], first["msg"])
        raise UsageError(f"protocol {name}: {where + ': ' if where else ''}{said}") from error


def _print(split: Split) -> None:
    from tabulate import tabulate

    from bench.splits.exchange.describe import HEADERS, describe_sets, describe_training

    typer.echo(f"{split.dataset}: {split.protocol}\nidentity: {split.identity}\n")
    typer.echo(f"learned from: {describe_training(split)}\n")
    alignment = ("left", *["right"] * (len(HEADERS) - 1))
    typer.echo(tabulate(describe_sets(split), headers=HEADERS, colalign=alignment, disable_numparse=True))
    for note in split.notes:
        typer.echo(f"note: {note}")
