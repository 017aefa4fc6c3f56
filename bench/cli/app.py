"""The tree of verbs."""

from __future__ import annotations

import typer

from bench.cli import audit, data, doctor, listing, report, run, split, tune

__all__ = ["app"]

app = typer.Typer(
    name="bench",
    help="Do LLM recommenders beat tuned classic ones? One protocol, one scorer, honest statistics.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command(name="run")(run.run)
app.command(name="report")(report.report)
app.command(name="tune")(tune.tune)
app.command(name="audit")(audit.audit)
app.command(name="list")(listing.listing)
app.command(name="doctor")(doctor.doctor)
app.add_typer(data.app, name="data")
app.add_typer(split.app, name="split")
