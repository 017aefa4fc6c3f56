"""What a report says, before anyone decides how it looks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.runs.plan import Cell
    from bench.stats import Comparison, Interval
    from bench.tasks import RequestSet

__all__ = ["Model", "Prompt", "Reference", "Row", "Table"]


@dataclass(frozen=True)
class Prompt:
    """The words that a fitted model is asked with.

    Attributes
    ----------
    id : str
    task : str
    group : str
        ``"seen"`` in training, ``"held-out"`` as the original's, or a paraphrase in other words (``"word"``), of
        another structure (``"structure"``) or in another register (``"register"``).
    of : str or None
        The seen prompt that a paraphrase varies.
    untrained : tuple of str
        Its words that training never showed.
    """

    id: str
    task: str
    group: str
    of: str | None
    untrained: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Model:
    """One entry of the suite with the fits of it that are stored.

    Attributes
    ----------
    name : str
        Its name in the suite.
    label : str
        What tables print; unique within a report.
    block : str
        ``"main"`` or ``"smoke-trained"``.
    side : str
        ``"floor"``, ``"classic"`` or ``"llm"``.
    cells : tuple of Cell
        One a seed.
    fits : tuple of mapping
        The fit report of each cell.
    tuning : str
        ``"untuned"``, ``"tuned: 20 trials, 0.4 h"``, or nothing where there is nothing to tune.
    family : str
        First of the entries that ask the same fit and differ in the prompt alone; empty where there are no others.
    family_label : str
        What tables print for all of them.
    prompt : Prompt or None
        Of a member of a family.
    """

    name: str
    label: str
    block: str
    side: str
    cells: tuple[Cell, ...]
    fits: tuple[Mapping[str, Any], ...]
    tuning: str = ""
    family: str = ""
    family_label: str = ""
    prompt: Prompt | None = None

    @property
    def line(self) -> str:
        """The line of a table over several request sets in which it stands: its own, or that of its family."""
        return self.family or self.name

    @property
    def title(self) -> str:
        """What such a line is called."""
        return self.family_label or self.label

    @property
    def converged(self) -> bool:
        """Whether the training of every seed converged."""
        return all(fit["converged"] for fit in self.fits)

    @property
    def stopped(self) -> str:
        """What ended training: ``"early stopping"``, say; several if the seeds differ."""
        return ", ".join(sorted({fit["stopped"] for fit in self.fits}))


@dataclass(frozen=True, eq=False)
class Row:
    """One model on one request set.

    Attributes
    ----------
    coverage : float
        Share of requests (over all seeds) that the model could answer.
    seeds : int
        Training seeds that are stored.
    intervals : mapping of str to Interval
        Per metric; empty where nothing was answered.
    ties_expected : mapping of str to float
        The same means if tied candidates stood in random order.
    comparison : Comparison or None
        Against the reference of the table, by the primary metric; the reference carries its own.
    """

    model: Model
    coverage: float
    seeds: int
    intervals: Mapping[str, Interval]
    ties_expected: Mapping[str, float]
    comparison: Comparison | None

    def mean(self, metric: str) -> float:
        """The mean of a metric; only where something was served."""
        return self.intervals[metric].mean

    @property
    def served(self) -> bool:
        """Whether any request was answered."""
        return self.coverage > 0

    @property
    def ranked(self) -> bool:
        """Whether the row competes: served, and in the main block."""
        return self.served and self.model.block == "main"


@dataclass(frozen=True)
class Reference:
    """The model that a table's others are tested against.

    Attributes
    ----------
    name : str or None
        ``None``: nothing is tested.
    reason : str
        How it was chosen, or why there is none.
    """

    name: str | None
    reason: str


@dataclass(frozen=True, eq=False)
class Table:
    """One test set: every model that was asked.

    Attributes
    ----------
    units : str
        What was sampled, such as ``"943 users"``.
    absent : tuple of str
        Labels of stored models that do not do the task, or have not been asked yet.
    """

    asked: RequestSet
    units: str
    rows: tuple[Row, ...]
    reference: Reference
    absent: tuple[str, ...]

    @property
    def comparisons(self) -> int:
        """How many tests the table prints: the family of the correction."""
        return sum(row.comparison is not None and row.model.name != self.reference.name for row in self.rows)
