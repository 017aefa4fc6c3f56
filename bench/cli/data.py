"""``bench data``: get a data set onto this machine, add one of your own, and look at it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from bench.errors import UsageError

if TYPE_CHECKING:
    from bench.data import Dataset

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="Get a data set onto this machine, add your own, and look at it.")

Name = Annotated[
    str,
    typer.Argument(
        metavar="DATASET",
        help="A shipped card's name (amazon-2023:Musical_Instruments where it takes a parameter), or a YAML card.",
    ),
]


@app.command()
def prepare(name: Name) -> None:
    """Locate or download a data set, check it against its card, and read it."""
    from bench.data import load_dataset

    dataset = load_dataset(name)
    typer.echo(f"{dataset.name}: {dataset.card.title}")
    for role, source in dataset.sources.items():
        # Where it was found also says where it was pinned on first use.
        checked = "sha256 as in the card" if source.checked else "not pinned by the card"
        typer.echo(f"  {role}: {source.content} ({source.origin}; {checked})")
    for missing in dataset.missing:
        typer.echo(f"  not found: {missing}")
    if dataset.card.counts is not None:
        counts = ", ".join(f"{count:,} {what}" for what, count in dataset.card.counts.model_dump().items())
        typer.echo(f"  counts as in the card: {counts}")
    for step in dataset.steps:
        counts = ", ".join(f"{count:,} {what}" for what, count in step.counts.model_dump().items())
        typer.echo(f"  {step.name}: {step.dropped:,} dropped, left {counts}")
    _facts(dataset)
    typer.echo(f"  identity: {dataset.identity}")


@app.command()
def show(name: Name) -> None:
    """Print what is in a data set: counts, histories, times, ratings, ties, cold shares, texts, licence."""
    from tabulate import tabulate

    from bench.data import load_dataset
    from bench.data.describe import describe

    dataset = load_dataset(name)
    card = dataset.card
    typer.echo(f"{dataset.name}: {card.title}\n{card.description}\n")
    table = describe(dataset)
    typer.echo(tabulate(table.values.tolist(), tablefmt="plain", disable_numparse=True))
    typer.echo("")
    _facts(dataset)
    for note in dataset.notes:
        typer.echo(f"  note: {note}")
    for missing in dataset.missing:
        typer.echo(f"  not found: {missing}")
    typer.echo(f"\nlicence: {card.licence}\ncite: {card.citation}\nidentity: {dataset.identity}")


@app.command()
def add(
    file: Annotated[
        Path, typer.Argument(help="CSV, TSV or Parquet, plain or compressed (gzip, zstd): one event a row.")
    ],
    name: Annotated[str, typer.Option(help="Of the data set: small letters, digits, dots, dashes.")],
    user: Annotated[str, typer.Option(help="Column of users.")],
    item: Annotated[str, typer.Option(help="Column of items.")],
    time: Annotated[str, typer.Option(help="Column of times.")],
    rating: Annotated[str | None, typer.Option(help="Column of ratings.")] = None,
    headline: Annotated[str | None, typer.Option(help="Column of review headlines.")] = None,
    text: Annotated[str | None, typer.Option(help="Column of review texts.")] = None,
    time_format: Annotated[
        str, typer.Option(help="seconds, milliseconds, iso, or a strptime pattern such as '%d.%m.%Y %H:%M'.")
    ] = "seconds",
    delimiter: Annotated[str | None, typer.Option(help="Between columns, where the header leaves it unclear.")] = None,
    encoding: Annotated[Literal["utf-8", "latin-1"], typer.Option(help="Of the text.")] = "utf-8",
    items: Annotated[Path | None, typer.Option(help="A file of item texts.")] = None,
    item_columns: Annotated[
        str, typer.Option(help="Its columns, as item=sku,title=name,categories=tags; the item's own when left out.")
    ] = "",
    licence: Annotated[str, typer.Option(help="What may be done with the data.")] = "not stated",
    citation: Annotated[str, typer.Option(help="How to cite it.")] = "none",
    to: Annotated[Path, typer.Option(help="Folder that gets the card.")] = Path(),
) -> None:
    """Write a dataset card over a file of your own, and check it by reading the file.

    Example: `bench data add sales.csv --name shop --user customer --item sku --time sold_at --time-format iso`.
    """
    from bench.data import load_dataset
    from bench.data.add import write_card

    card = write_card(
        file,
        name=name,
        user=user,
        item=item,
        time=time,
        rating=rating,
        headline=headline,
        text=text,
        time_format=time_format,
        delimiter=delimiter,
        encoding=encoding,
        items=items,
        item_columns=_columns(item_columns),
        licence=licence,
        citation=citation,
        folder=to,
    )
    dataset = load_dataset(card)
    events = dataset.interactions
    typer.echo(
        f"{card}: {events['user_id'].n_unique():,} users, {dataset.items.height:,} items, "
        f"{events.height:,} interactions"
    )
    _facts(dataset)
    typer.echo(f"look at it with `bench data show {card}`, use it with `bench run --suite quick --dataset {card}`")


def _columns(text: str) -> dict[str, str]:
    columns = {}
    for part in filter(None, text.split(",")):
        ours, sign, theirs = part.partition("=")
        if not sign or not ours.strip() or not theirs.strip():
            raise UsageError(f"--item-columns takes item=COLUMN,title=COLUMN,..., not {part!r}")
        columns[ours.strip()] = theirs.strip()
    return columns


def _facts(dataset: Dataset) -> None:
    """Print the warnings that every table of results will carry."""
    for warning in dataset.warnings:
        typer.echo(f"  warning: {warning}")
