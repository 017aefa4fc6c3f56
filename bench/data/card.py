"""Dataset cards: what a data set is, where its files come from, and what must be found in them."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from bench.errors import BenchError, UsageError, nearest

__all__ = ["Card", "Counts", "Files", "Source", "card_names", "cards_folder", "find_cards", "load_card"]

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
    url : str or None
        Where it is downloaded from when it is nowhere else; asks for a ``sha256``.
    sha256 : str or None
        Of the uncompressed content, so that ``x.txt`` and ``x.txt.gz`` are both accepted.
    optional : bool
        Whether the data set can do without it.
    howto : str
        What a person does to get it, shown when it is missing.
    """

    path: tuple[str, ...] = ()
    package: str | None = None
    inside: str | None = None
    url: str | None = None
    sha256: Sha256 | None = None
    optional: bool = False
    howto: str = ""

    @field_validator("path", mode="before")
    @classmethod
    def _one_or_many(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        if not (self.path or self.package or self.url):
            raise ValueError("needs at least one of path, package and url")
        if (self.package is None) != (self.inside is None):
            raise ValueError("package and inside go together")
        if self.url is not None and self.sha256 is None:
            raise ValueError("a url needs a sha256: nothing is used unchecked")
        return self


class InteractionsSource(Source):
    """The file of events; ``columns`` maps our column to the file's, where the reader's defaults do not hold."""

    optional: Literal[False] = False
    columns: dict[Annotated[str, Field(pattern="^(user|item|rating|time)$")], str] = {}


class ItemsSource(Source):
    """The file of item texts; ``columns`` as for the events."""

    columns: dict[Annotated[str, Field(pattern="^(item|title|categories|year)$")], str] = {}


class Files(_Frozen):
    """The source files by what they hold."""

    interactions: InteractionsSource
    items: ItemsSource | None = None


class Counts(_Frozen):
    """What the files hold, before anything is dropped."""

    users: int
    items: int
    interactions: int


class Card(_Frozen):
    """A dataset card, as read from YAML; unknown keys are refused.

    Attributes
    ----------
    reader : str
        ``"recbole-atomic"`` (tab-separated with a typed header) or ``"s3rec"`` (``user item item ...`` a line).
    order : str
        ``"time"`` when events carry times, ``"sequence"`` when only their order is known.
    counts : Counts or None
        Expected counts; anything else in the files is an error.
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
    reader: Literal["recbole-atomic", "s3rec"]
    order: Literal["time", "sequence"]
    files: Files
    counts: Counts | None = None
    notes: tuple[str, ...] = ()
    folder: Annotated[Path | None, Field(exclude=True)] = None

    @model_validator(mode="after")
    def _order_fits_reader(self) -> Self:
        if (self.reader == "s3rec") != (self.order == "sequence"):
            raise ValueError(f"reader {self.reader!r} does not go with order {self.order!r}")
        return self


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
    if text not in cards:
        raise nearest("dataset", text, cards)
    return _read(cards[text], folder=None)


class _Loader(yaml.SafeLoader):
    """Safe loading that refuses a key given twice, where YAML would silently take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [key.value for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"{key!r} stands twice", node.start_mark)
        return super().construct_mapping(node, deep)


def _read(path: Path, *, folder: Path | None) -> Card:
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
    try:
        return Card.model_validate({**content, "folder": folder})
    except ValidationError as error:
        raise UsageError(f"{path}: {_explain(error)}") from error


def _explain(error: ValidationError) -> str:
    """All complaints in one line, each with its key."""
    lines = []
    for complaint in error.errors():
        key = ".".join(str(part) for part in complaint["loc"]) or "card"
        said = {"extra_forbidden": "unknown key", "missing": "missing"}.get(complaint["type"], complaint["msg"])
        lines.append(f"{key}: {said.removeprefix('Value error, ')}")
    return "; ".join(lines)
