"""``bench data``: get a data set onto this machine, and look at it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from bench.data import Dataset

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="Get a data set onto this machine, and look at it.")

Name = Annotated[str, typer.Argument(metavar="DATASET", help="A shipped card's name, or a YAML card of your own.")]


@app.command()
def prepare(name: Name) -> None:
    """Locate or download a data set, check it against its card, and read it."""
    from bench.data import load_dataset

    dataset = load_dataset(name)
    typer.echo(f"{dataset.name}: {dataset.card.title}")
    for role, source in dataset.sources.items():
        checked = "sha256 as in the card" if source.checked else "not pinned by the card"
        typer.echo(f"  {role}: {source.path} ({source.origin}; {checked})")
    for missing in dataset.missing:
        typer.echo(f"  not found: {missing}")
    if dataset.card.counts is not None:
        counts = ", ".join(f"{count:,} {what}" for what, count in dataset.card.counts.model_dump().items())
        typer.echo(f"  counts as in the card: {counts}")
    _facts(dataset)
    typer.echo(f"  identity: {dataset.identity}")


@app.command()
def show(name: Name) -> None:
    """Print what is in a data set: counts, histories, ratings, ties, texts, licence."""
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


def _facts(dataset: Dataset) -> None:
    """Print the warnings that every table of results will carry."""
    for warning in dataset.warnings:
        typer.echo(f"  warning: {warning}")
