"""Writing a split for others: all formats into one folder, whole or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from bench.data import Dataset
from bench.errors import UsageError, nearest
from bench.splits.exchange.made import Made
from bench.splits.exchange.parquet import write_parquet
from bench.splits.exchange.recbole import check_recbole, write_recbole
from bench.splits.exchange.trec import check_trec, write_trec
from bench.splits.protocol import Protocol
from bench.splits.protocols import make_split
from bench.splits.split import Split

__all__ = ["FORMATS", "Export", "check_request", "export_split"]


@dataclass(frozen=True, eq=False)
class Export:
    """What was written.

    Attributes
    ----------
    split : Split
    folder : Path
    lost : mapping
        Format -> what it cannot carry, one sentence each.
    """

    split: Split
    folder: Path
    lost: Mapping[str, Sequence[str]]


def _parquet(made: Made, folder: Path) -> list[str]:
    write_parquet(made, folder)
    texts = made.cut.events.reviews is not None or any(held.pairs.reviews is not None for held in made.split.pairs)
    return ["the texts of reviews: they are read from the data set again"] if texts else []


def _below(name: str, write: Callable[[Made, Path], list[str]]) -> Callable[[Made, Path], list[str]]:
    def into(made: Made, folder: Path) -> list[str]:
        (folder / name).mkdir()
        return write(made, folder / name)

    return into


_WRITERS: Mapping[str, Callable[[Made, Path], list[str]]] = {
    "parquet": _parquet,
    "recbole": _below("recbole", write_recbole),
    "trec": _below("trec", write_trec),
}
_CHECKS: Mapping[str, Callable[[Made], None]] = {"recbole": check_recbole, "trec": check_trec}

FORMATS = tuple(_WRITERS)
"""What ``--format`` may name."""

_ABOUT = {
    "parquet": """\
*.parquet, split.json: the whole split; `bench split import` makes the same sets of it again
  training, validation, rest   events to learn from, those only validation holds out, all others
  held_out                     one row a request: the answer (item_id), history, exclude (masked), sampled
  candidates                   the items that each set of split.json ranks, by its catalogue
  pairs                        labelled pairs (stars or clicks)
  users, items                 all of them, with what is known""",
    "recbole": """\
recbole/: benchmark files of RecBole 1.2; run it where config.yaml is
  general/                     user_id, item_id, rating, timestamp
  sequential/                  user_id, item_id_list, item_id: one row a prefix (pandas below 3 only)""",
    "trec": """\
trec/: three files a set, for trec_eval and its kin
  *.qrels                      query 0 item 1
  *.topics.tsv                 query, user_id, history, exclude (a run must not list them), sampled
  *.candidates.txt             the items that a run may list""",
}


def export_split(
    dataset: Dataset, protocol: Protocol, folder: Path, *, formats: Sequence[str] = ("parquet",), seed: int = 0
) -> Export:
    """Cut ``dataset`` and write the split to ``folder``; the same split gives the same bytes.

    Parameters
    ----------
    folder : Path
        New, or empty.
    formats : sequence of str
        Out of ``FORMATS``.
    seed : int
        The split seed.

    Raises
    ------
    UsageError
        Unknown format; a folder that holds something.
    DataError
        When the split cannot be made, or an id cannot be written in a format.
    """
    check_request(folder, formats)
    split = make_split(dataset, protocol, seed=seed)
    made = Made(dataset, protocol, seed, protocol.cut(dataset, seed), split)
    wanted = [name for name in FORMATS if name in formats]
    for name in wanted:
        if name in _CHECKS:
            _CHECKS[name](made)
    with _new_folder(folder) as place:
        lost = {name: _WRITERS[name](made, place) for name in wanted}
        (place / "README.txt").write_text(_readme(made, lost), encoding="utf-8", newline="\n")
    return Export(split, folder, lost)


def check_request(folder: Path, formats: Sequence[str]) -> None:
    """Refuse what can be refused before any work: unknown formats, and a folder that holds something or is none.

    Raises
    ------
    UsageError
    """
    for name in formats:
        if name not in _WRITERS:
            raise nearest("format", name, FORMATS)
    if not formats:
        raise UsageError(f"name at least one format: {', '.join(FORMATS)}")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} exists and is not an empty folder: nothing is overwritten; name another")


@contextmanager
def _new_folder(folder: Path) -> Iterator[Path]:
    """Fill a folder under another name; it gets its own once it is whole."""
    folder = folder.absolute()
    place = folder.parent / f".{folder.name}-{uuid4().hex[:8]}"
    try:
        place.mkdir(parents=True)
    except OSError as error:
        raise UsageError(f"{folder}: cannot be written: {error.strerror or error}") from error
    try:
        yield place
        if folder.is_dir():
            folder.rmdir()
        place.rename(folder)
    except OSError as error:
        raise UsageError(f"{folder}: cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _readme(made: Made, lost: Mapping[str, Sequence[str]]) -> str:
    split = made.split
    lines = [f"{split.dataset}: {split.protocol}", f"identity: {split.identity}", ""]
    for name, said in lost.items():
        lines.append(_ABOUT[name])
        lines += [f"  not carried: {sentence}" for sentence in said]
        lines.append("")
    if split.notes:
        lines += ["What a reader of figures made from this split must know:", *(f"  {note}" for note in split.notes)]
    return "\n".join(lines).rstrip() + "\n"
