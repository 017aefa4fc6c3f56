"""Dataset cards: what a data set is, where its files come from, and what must be found in them."""

from __future__ import annotations

import re
from collections.abc import Hashable
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from bench.errors import BenchError, UsageError, nearest

__all__ = [
    "Card",
    "Counts",
    "Files",
    "Filter",
    "InteractionsSource",
    "ItemsSource",
    "KCore",
    "RatingThreshold",
    "Reading",
    "Repeats",
    "Source",
    "TimeWindow",
    "UsersSource",
    "card_names",
    "cards_folder",
    "find_cards",
    "load_card",
]

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Source(_Frozen):
    """One source file and the places it may be found in.

    Attributes
    ----------
    path : tuple of str
        Places relative to ``BENCH_DATA_DIR`` (then to the folder of a user's own card), tried in order.
    package, inside : str or None
        An installed package that carries the file, and the file's path inside that package.
    url : tuple of str
        Where it is downloaded from when it is nowhere else: mirrors of the same content, tried in order.
    member : str or None
        The file's path inside the archive (zip or tar) that ``path`` and ``url`` name.
    sha256 : str or None
        Of the uncompressed content, so that ``x.txt`` and ``x.txt.gz`` are both accepted. A download without one is
        pinned on first use (``bench.data.pins``).
    optional : bool
        Whether the data set can do without it.
    howto : str
        What a person does to get it, shown when it is missing.
    """

    path: tuple[str, ...] = ()
    package: str | None = None
    inside: str | None = None
    url: tuple[str, ...] = ()
    member: str | None = None
    sha256: Sha256 | None = None
    optional: bool = False
    howto: str = ""

    @field_validator("path", "url", mode="before")
    @classmethod
    def _one_or_many(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        if not (self.path or self.package or self.url):
            raise ValueError("needs at least one of path, package and url")
        if (self.package is None) != (self.inside is None):
            raise ValueError("package and inside go together")
        return self


class InteractionsSource(Source):
    """A file of events; ``columns`` maps our column to the file's, where the reader's defaults do not hold."""

    optional: Literal[False] = False
    columns: dict[Annotated[str, Field(pattern="^(user|item|rating|time|headline|text|reviewer)$")], str] = {}


class ItemsSource(Source):
    """The file of item texts; ``columns`` as for the events."""

    columns: dict[Annotated[str, Field(pattern="^(item|title|categories|year|brand|price|description)$")], str] = {}


class UsersSource(Source):
    """A file of users, read for their names only."""

    columns: dict[Annotated[str, Field(pattern="^(user|reviewer)$")], str] = {}


class Files(_Frozen):
    """The source files by what they hold; events may be spread over several files."""

    interactions: tuple[InteractionsSource, ...]
    items: ItemsSource | None = None
    users: UsersSource | None = None

    @field_validator("interactions", mode="before")
    @classmethod
    def _one_or_many(cls, value: object) -> object:
        return (value,) if isinstance(value, dict | InteractionsSource) else value

    @model_validator(mode="after")
    def _has_events(self) -> Self:
        if not self.interactions:
            raise ValueError("interactions must name at least one file")
        return self


class Reading(_Frozen):
    """How the files are read.

    Attributes
    ----------
    encoding : str
        Of text files.
    delimiter : str or None
        Between the columns of a ``table``; by default what its header shows.
    time_format : str
        ``"seconds"`` or ``"milliseconds"`` since 1970, ``"iso"``, or a ``strptime`` pattern; times without a zone are
        UTC. Only for ``table``: the other readers know their format.
    item : str
        Which of Amazon 2023's two item ids counts: ``"parent_asin"`` (all variants of a product are one item) or
        ``"asin"``.
    bad_rows : str
        ``"refuse"``: the first row that cannot be read is an error; ``"drop"``: such rows are left out and counted
        by reason.
    reviews : bool
        Whether texts and headlines of reviews are kept, where the files have them.
    reviewer_names : bool
        Whether names of reviewers are kept as well; off by default, since they are personal.
    """

    encoding: Literal["utf-8", "latin-1"] = "utf-8"
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] | None = None
    time_format: str = "seconds"
    item: Literal["parent_asin", "asin"] = "parent_asin"
    bad_rows: Literal["refuse", "drop"] = "refuse"
    reviews: bool = True
    reviewer_names: bool = False


class Counts(_Frozen):
    """Users, items and interactions."""

    users: int
    items: int
    interactions: int


class _Filter(_Frozen):
    counts: Counts | None = None
    """What must be left; anything else is an error."""


class TimeWindow(_Filter):
    """Keep events from ``start`` to ``stop``, both included; times without a zone are UTC."""

    filter: Literal["time-window"]
    start: datetime | None = None
    stop: datetime | None = None

    @model_validator(mode="after")
    def _has_an_end(self) -> Self:
        if self.start is None and self.stop is None:
            raise ValueError("a time window needs start, stop or both")
        return self


class RatingThreshold(_Filter):
    """Keep events rated ``at_least`` so high."""

    filter: Literal["rating"]
    at_least: float


class Repeats(_Filter):
    """Of several events of one user with one item keep the first, the last, or all."""

    filter: Literal["repeats"]
    keep: Literal["first", "last", "all"]


class KCore(_Filter):
    """Drop users with fewer than ``users`` events and items with fewer than ``items`` until none is left."""

    filter: Literal["k-core"]
    users: int = Field(5, ge=1)
    items: int = Field(5, ge=1)


Filter = Annotated[TimeWindow | RatingThreshold | Repeats | KCore, Field(discriminator="filter")]

READERS: tuple[str, ...] = (
    "amazon-2014",
    "amazon-2018",
    "amazon-2023",
    "movielens",
    "recbole-atomic",
    "s3rec",
    "table",
    "yelp",
)
"""Readers a card may name; ``bench.data.readers`` says what each reads."""


class Card(_Frozen):
    """A dataset card, as read from YAML; unknown keys are refused.

    Attributes
    ----------
    reader : str
        One of ``READERS``.
    order : str
        ``"time"`` when events carry times, ``"sequence"`` when only their order is known.
    counts : Counts or None
        Expected counts of what the files hold; anything else is an error.
    filters : tuple
        Applied in this order, each with the counts expected after it. Where none of them says what becomes of
        repeated user-item pairs, the first of each is kept at the end.
    notes : tuple of str
        What a reader of the numbers must know.
    folder : Path or None
        Where a user's own card lies; set on loading, never in the YAML.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")]
    title: str
    description: str
    licence: str
    citation: str
    reader: Literal[
        "amazon-2014", "amazon-2018", "amazon-2023", "movielens", "recbole-atomic", "s3rec", "table", "yelp"
    ]
    order: Literal["time", "sequence"]
    reading: Reading = Reading()
    files: Files
    counts: Counts | None = None
    filters: tuple[Filter, ...] = ()
    notes: tuple[str, ...] = ()
    folder: Annotated[Path | None, Field(exclude=True)] = None

    @model_validator(mode="after")
    def _order_fits(self) -> Self:
        if (self.reader == "s3rec") != (self.order == "sequence"):
            raise ValueError(f"reader {self.reader!r} does not go with order {self.order!r}")
        if self.order == "sequence" and any(step.filter == "time-window" for step in self.filters):
            raise ValueError("a time window needs times")
        return self

    @property
    def repeats(self) -> Literal["first", "last", "all"]:
        """What becomes of repeated user-item pairs."""
        policies = [step.keep for step in self.filters if isinstance(step, Repeats)]
        return policies[-1] if policies else "first"


def cards_folder(package: Path | None = None) -> Path:
    """Where the shipped cards are: ``bench/_cards`` in a wheel, the repository's ``datasets/`` in an editable install.

    Parameters
    ----------
    package : Path, optional
        The folder of the package ``bench``; by default the running one.
    """
    package = package if package is not None else Path(__file__).resolve().parents[1]
    packed, repository = package / "_cards", package.parent / "datasets"
    if packed.is_dir():
        return packed
    # Beside an installed package a folder of this name may be another project's: only cards make it ours.
    if any(repository.glob("*.yaml")):
        return repository
    raise BenchError(f"the dataset cards are neither in {packed} nor in {repository}: install the package again")


def find_cards() -> dict[str, Path]:
    """The shipped cards, name -> file, sorted by name."""
    return {path.stem: path for path in sorted(cards_folder().glob("*.yaml"))}


def card_names() -> tuple[str, ...]:
    """Names of the shipped cards."""
    return tuple(find_cards())


def load_card(name_or_path: str | Path) -> Card:
    """Read a card by the name of a shipped one, or from a YAML file of the user's own.

    A card with a parameter is named with its value: ``amazon-2023:Musical_Instruments``.

    Raises
    ------
    UsageError
        Unknown name; no such file; not YAML; a key that is unknown, missing or has a wrong value.
    """
    text = str(name_or_path)
    if isinstance(name_or_path, Path) or text.endswith((".yaml", ".yml")) or "/" in text or "\\" in text:
        path = Path(name_or_path).expanduser()
        if not path.is_file():
            raise UsageError(f"no dataset card at {path}")
        return _read(path, folder=path.resolve().parent)
    cards = find_cards()
    name, _, value = text.partition(":")
    if name not in cards:
        raise nearest("dataset", name, cards)
    return _read(cards[name], folder=None, value=value)


class _Loader(yaml.SafeLoader):
    """Safe loading that refuses a key given twice, where YAML would silently take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [key.value for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"{key!r} stands twice", node.start_mark)
        return super().construct_mapping(node, deep)


def _read(path: Path, *, folder: Path | None, value: str = "") -> Card:
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _Loader)  # noqa: S506 (a SafeLoader)
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not UTF-8 (byte {error.start})") from error
    except yaml.YAMLError as error:
        raise UsageError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise UsageError(f"{path}: a card is a mapping of keys to values")
    if "folder" in content:
        raise UsageError(f"{path}: folder: unknown key")
    content = _with_parameter(path, content, value)
    try:
        return Card.model_validate({**content, "folder": folder})
    except ValidationError as error:
        raise UsageError(f"{path}: {_explain(error)}") from error


def _with_parameter(path: Path, content: dict[str, Any], value: str) -> dict[str, Any]:
    """Put the value of a card's parameter in its place: every ``{name}`` in every text of the card."""
    parameter = content.get("parameter")
    if parameter is None:
        if value:
            raise UsageError(f"{path}: the card takes no parameter, so {path.stem}:{value} names nothing")
        return content
    try:
        name, default, pattern = (str(parameter[key]) for key in ("name", "default", "pattern"))
    except (TypeError, KeyError) as error:
        raise UsageError(f"{path}: parameter: needs name, default and pattern") from error
    chosen = value or default
    if re.fullmatch(pattern, chosen) is None:
        raise UsageError(f"{path}: {name} {chosen!r} does not fit the pattern {pattern}")

    def fill(node: Any) -> Any:
        if isinstance(node, str):
            return node.replace("{" + name + "}", chosen)
        if isinstance(node, dict):
            return {key: fill(inner) for key, inner in node.items()}
        return [fill(inner) for inner in node] if isinstance(node, list) else node

    filled: dict[str, Any] = fill({key: inner for key, inner in content.items() if key != "parameter"})
    return {**filled, "name": f"{content.get('name')}-{chosen.lower()}"}


def _explain(error: ValidationError) -> str:
    """All complaints in one line, each with its key."""
    lines = []
    for complaint in error.errors():
        # One file of events need not stand in a list: its keys are named as they are written.
        key = ".".join(str(part) for part in complaint["loc"] if part != 0) or "card"
        said = {"extra_forbidden": "unknown key", "missing": "missing"}.get(complaint["type"], complaint["msg"])
        lines.append(f"{key}: {said.removeprefix('Value error, ')}")
    return "; ".join(lines)
