"""The suite's primary metric as a picture: a panel a test set, or one a run of k; points with their 95% intervals."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.report import wording
from bench.report.values import Model, Row, Table
from bench.runs.plan import Plan
from bench.tasks import Answers

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw"]

_COLOURS = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#882255",
    "#44AA99",
    "#332288",
    "#117733",
)
"""Okabe and Ito's first, then Tol's: told apart by colour-blind readers too."""

_GREYS = ("#4d4d4d", "#8c8c8c", "#b3b3b3")
_MARKERS = {"floor": "s", "classic": "o", "llm": "D"}

_LETTER_IN, _PANEL_IN = 0.058, 2.3
"""Widths in inches, of a letter of a model's name and of a panel."""

_TITLE = 40
"""Letters that fit above a panel."""

_STYLE: Any = {
    "font.size": 8,
    "axes.titlesize": 8.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "svg.hashsalt": "bench",
    "svg.fonttype": "path",
}


@dataclass(frozen=True)
class _Look:
    """How one model is drawn; hollow when it stands outside the main block."""

    colour: str
    marker: str
    line: Any
    fill: str

    @property
    def style(self) -> dict[str, Any]:
        return {
            "color": self.colour,
            "marker": self.marker,
            "markerfacecolor": self.fill,
            "markersize": 3.2 if self.marker == "s" else 4,
            "elinewidth": 1.1,
            "clip_on": False,
        }


def draw(plan: Plan, tables: Sequence[Table], *, svg: Path, png: Path) -> None:
    """Draw the figure; equal tables give equal bytes with the same version of matplotlib."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    by_line = {row.model.line: row.model for table in tables for row in table.rows}
    models = [by_line[entry.name] for entry in plan.entries if entry.name in by_line]
    looks = _looks(models)
    primaries = dict.fromkeys(plan.suite.primary_for(table.asked.task) for table in tables)
    runs = _runs(tables)
    still, moving = [run for run in runs if len(run) == 1], [run for run in runs if len(run) > 1]
    columns = max(1, min(3, max(len(still), len(moving))))
    lines = [part[at : at + columns] for part in (still, moving) for at in range(0, len(part), columns)]
    heights = [max(1.7, 0.75 + 0.17 * len(models)) if len(line[0]) == 1 else 2.3 for line in lines]
    names_in = _LETTER_IN * max((len(_name(model)) for model in models), default=0)
    width = 0.3 + names_in + _PANEL_IN * columns
    abreast = max(1, int(width / (names_in + 0.6)))
    heights += [0.15 + 0.17 * -(-len(models) // abreast)] if moving else []
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(width, sum(heights, 0.25)), layout="constrained")
        FigureCanvasAgg(figure)
        figure.suptitle(f"{', '.join(primaries)} on {plan.split.dataset}, with 95% intervals", fontsize=9)
        # A part of its own a line: the names beside the upper panels need not indent the lower ones.
        parts = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False).flat if heights else ()
        for part, line in zip(parts, lines, strict=False):
            row_of_axes = part.subplots(1, columns, squeeze=False)[0]
            for place, (axes, run) in enumerate(zip(row_of_axes, line, strict=False)):
                metric = plan.suite.primary_for(run[0].asked.task)
                axes.set_title(_title(run[0], tables))
                if len(run) == 1:
                    _dots(axes, run[0], models, looks, metric, named=place == 0)
                else:
                    _curves(axes, run, models, looks, metric)
            for axes in row_of_axes[len(line) :]:
                axes.set_axis_off()
        if moving:
            handles = [_handle(model, looks[model.name]) for model in models]
            parts[len(lines)].legend(handles=handles, loc="center", ncols=abreast, frameon=False)
        figure.savefig(svg, metadata={"Date": None, "Creator": None})
        figure.savefig(png, dpi=160, metadata={"Software": None})


def _looks(models: Sequence[Model]) -> dict[str, _Look]:
    looks, greys, colours = {}, 0, 0
    for model in models:
        if model.side == "floor":
            colour, greys = _GREYS[greys % len(_GREYS)], greys + 1
        else:
            colour, colours = _COLOURS[colours % len(_COLOURS)], colours + 1
        line = {"floor": ":", "classic": "-"}.get(model.side, "--")
        fill = colour if model.block == "main" else "white"
        looks[model.name] = _Look(colour, _MARKERS.get(model.side, "D"), line, fill)
    return looks


def _runs(tables: Sequence[Table]) -> list[list[Table]]:
    """Tables that differ in k alone belong together."""
    runs: dict[tuple[str, str, str, bool], list[Table]] = {}
    for table in tables:
        asked = table.asked
        runs.setdefault((asked.task, asked.quadrant, asked.pool, asked.shots is None), []).append(table)
    return [sorted(run, key=lambda table: table.asked.shots or 0) for run in runs.values()]


def _title(table: Table, tables: Sequence[Table]) -> str:
    several = len({other.asked.task for other in tables}) > 1
    task = f"{wording.task(table.asked.task)}: " if several else ""
    ranked = f"\nranking {wording.pool(table.asked)}" if isinstance(table.asked.answers, Answers) else ""
    return textwrap.fill(f"{task}{wording.quadrant(table.asked.quadrant)}", _TITLE) + ranked


def _row(table: Table, model: Model) -> Row | None:
    return next((row for row in table.rows if row.model.line == model.line), None)


def _dots(
    axes: Axes, table: Table, models: Sequence[Model], looks: Mapping[str, _Look], metric: str, *, named: bool
) -> None:
    """One line a model, the first on top; dotted: the mean of the reference."""
    for place, model in enumerate(models):
        row = _row(table, model)
        if row is None or not row.served:
            text = "other task" if row is None else "cannot serve"
            axes.annotate(text, (0.02, place), xycoords=("axes fraction", "data"), va="center", color="#999999", size=7)
            continue
        found = row.intervals[metric]
        axes.errorbar(found.mean, place, xerr=_arms(found.mean, found.low, found.high), **looks[model.name].style)
        if row.model.name == table.reference.name:
            axes.axvline(found.mean, color=looks[model.name].colour, linewidth=0.8, linestyle=":", zorder=0)
    axes.set_ylim(len(models) - 0.4, -0.6)
    axes.set_xlim(left=0)
    axes.grid(visible=False, axis="y")
    axes.set_yticks(range(len(models)), [_name(model) for model in models] if named else [""] * len(models))
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel(metric)


def _curves(axes: Axes, run: Sequence[Table], models: Sequence[Model], looks: Mapping[str, _Look], metric: str) -> None:
    """One line a model over k, drawn side by side so that the intervals can be told apart."""
    for place, model in enumerate(models):
        look = looks[model.name]
        shift = 0.5 * ((place + 0.5) / len(models) - 0.5)
        served = [(at, row) for at, table in enumerate(run) if (row := _row(table, model)) is not None and row.served]
        if not served:
            continue
        means = [row.intervals[metric].mean for _, row in served]
        arms = [_arms(row.mean(metric), row.intervals[metric].low, row.intervals[metric].high) for _, row in served]
        where = [at + shift for at, _ in served]
        below_above = [[arm[side][0] for arm in arms] for side in (0, 1)]
        axes.errorbar(where, means, yerr=below_above, linestyle=look.line, linewidth=0.9, **look.style)
    axes.set_ylim(bottom=0)
    axes.grid(visible=False, axis="x")
    axes.set_xticks(range(len(run)), [str(table.asked.shots) for table in run])
    axes.set_xlim(-0.5, len(run) - 0.5)
    axes.set_xlabel("k, items shown")
    axes.set_ylabel(metric, labelpad=2)


def _arms(mean: float, low: float, high: float) -> list[list[float]]:
    """Lengths of the two arms of an interval; none where it is unknown."""
    if low != low or high != high:  # NaN
        return [[0.0], [0.0]]
    return [[max(mean - low, 0.0)], [max(high - mean, 0.0)]]


def _name(model: Model) -> str:
    return model.title if model.block == "main" else f"{model.title}, {model.block}"


def _handle(model: Model, look: _Look) -> Any:
    from matplotlib.lines import Line2D

    style = {name: value for name, value in look.style.items() if name not in ("elinewidth", "clip_on")}
    return Line2D([], [], linestyle=look.line, label=_name(model), **style)
