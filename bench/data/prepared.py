"""Source files read once, batch by batch, into Parquet tables that later runs load in no time.

What was read lies in the cache folder under a hash of everything that could change it: the content of the files, the
reader and its version, and the card's reading options. Nothing there is ever changed; it may be deleted at any time.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from bench.data.card import Card, InteractionsSource
from bench.data.coding import distinct_ids, rank_ids
from bench.data.events import EVENT_COLUMNS, CodedEvents
from bench.data.hashing import digest
from bench.data.readers import reader_named
from bench.data.readers.base import EVENT_TEXTS, Ask, Reader, Rows
from bench.data.sources import Located, cache_folder, content_sha256
from bench.errors import DataError

__all__ = ["Prepared", "prepare"]

_FORMAT = "2"
"""Raised when the same batches would be kept otherwise."""

_ITEMS: Mapping[str, Any] = {"item_id": pl.String, "title": pl.String, "categories": pl.List(pl.String)}


@dataclass(frozen=True, eq=False)
class Prepared:
    """What the source files hold, nothing filtered yet.

    Attributes
    ----------
    folder : Path
        Where it lies.
    items : polars.DataFrame or None
        What is known of the items, one row an item.
    reviews : Path or None
        Parquet file with the texts of reviews, one row an event.
    texts : tuple of str
        Its columns.
    dropped : mapping
        Reason -> rows of the sources that could not be read.
    """

    folder: Path
    items: pl.DataFrame | None
    reviews: Path | None
    texts: tuple[str, ...]
    dropped: Mapping[str, int]

    def read_events(self) -> CodedEvents:
        """Read the events, in the order of the sources.

        Their columns are ``EVENT_COLUMNS`` and, with reviews, ``review_hash`` (UInt64); what is unknown is null, and
        ``row`` is the row of ``reviews``.
        """
        table = pl.read_parquet(self.folder / "events.parquet")
        users, user = _sorted_ids(self.folder / "users.parquet", table["user"])
        items, item = _sorted_ids(self.folder / "ids.parquet", table["item"])
        return CodedEvents(users, items, user, item, table.drop("user", "item"))


def _sorted_ids(path: Path, codes: pl.Series) -> tuple[pl.Series, NDArray[np.int32]]:
    """The ids in their order, and the place of each event's id there; the file has them as they were first met."""
    ids, rank = rank_ids(pl.read_parquet(path)["id"])
    return ids, rank[codes.to_numpy()]


def prepare(card: Card, sources: Mapping[str, Located]) -> Prepared:
    """Read the files of a card, or load what an earlier call made of the same files.

    Parameters
    ----------
    sources : mapping
        Role (``"interactions"``, ``"interactions 2"``..., ``"items"``, ``"users"``) -> located file.

    Raises
    ------
    DataError
        A row that cannot be read (file, row and column are named), or a cache folder that cannot be written.
    """
    reader = reader_named(card.reader)
    key = digest(
        {
            "format": _FORMAT,
            "reader": [card.reader, reader.VERSION],
            "reading": card.reading.model_dump(mode="json"),
            "files": {role: [content_sha256(found.content), _columns(card, role)] for role, found in sources.items()},
        }
    )
    folder = cache_folder() / "prepared" / f"{card.name}-{key[:32]}"
    if not folder.is_dir():
        with _writing(folder) as target:
            _convert(card, reader, sources, target)
    return _load(folder)


def _columns(card: Card, role: str) -> dict[str, str]:
    files = card.files
    if role == "items":
        return dict(files.items.columns) if files.items is not None else {}
    if role == "users":
        return dict(files.users.columns) if files.users is not None else {}
    return dict(interactions_of(card)[role].columns)


def interactions_of(card: Card) -> dict[str, InteractionsSource]:
    """The files of events by role: ``"interactions"``, ``"interactions 2"``..."""
    sources = card.files.interactions
    return {"interactions" if n == 1 else f"interactions {n}": source for n, source in enumerate(sources, start=1)}


@contextmanager
def _writing(folder: Path) -> Iterator[Path]:
    """Give a temporary folder that gets its name only when all of it is written."""
    temporary: Path | None = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        yield temporary
        try:
            temporary.rename(folder)
        except OSError:
            # Another process made the same folder first.
            if not folder.is_dir():
                raise
    except OSError as error:
        raise DataError(
            f"{folder.parent}: cannot be written ({error.strerror or error}): make room, or set BENCH_CACHE_DIR to a "
            "folder that can be"
        ) from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def _convert(card: Card, reader: Reader, sources: Mapping[str, Located], folder: Path) -> None:
    dropped: Counter[str] = Counter()
    drop = card.reading.bad_rows == "drop"
    names = _reviewers(card, reader, sources, drop, dropped)
    texts: tuple[str, ...] = ()
    start, users, items = 0, _Numbers(), _Numbers()
    with ExitStack() as stack:
        events = stack.enter_context(_Parquet.writing(folder / "events.parquet"))
        reviews = stack.enter_context(_Parquet.writing(folder / "reviews.parquet"))
        for role, source in interactions_of(card).items():
            rows = Rows(sources[role].content, drop)
            for batch in reader.read_interactions(rows.content, Ask(source.columns, card.reading), rows):
                if names is not None:
                    batch = batch.join(names, on="user_id", how="left", maintain_order="left")
                found = tuple(name for name in EVENT_TEXTS if name in batch.columns)
                if start and found != texts:
                    raise DataError(f"{rows.content}: other texts than in the files before it: {_named(found, texts)}")
                texts = found
                narrow = _narrow(batch, start).with_columns(
                    user=users.of(batch["user_id"]), item=items.of(batch["item_id"])
                )
                if texts:
                    narrow = narrow.with_columns(_review_hash(batch.select(texts)))
                    reviews.write(batch.select(texts))
                events.write(narrow)
                start += batch.height
            dropped += rows.dropped
    if start == 0:
        raise DataError(f"{sources['interactions'].content}: not a single row could be read")
    users.write(folder / "users.parquet")
    items.write(folder / "ids.parquet")
    if (known := _items(card, reader, sources, drop, dropped)) is not None:
        known.write_parquet(folder / "items.parquet")
    about = {"texts": texts, "dropped": dict(sorted(dropped.items()))}
    (folder / "about.json").write_text(json.dumps(about), encoding="utf-8")


def _named(found: Sequence[str], before: Sequence[str]) -> str:
    return f"{', '.join(found) or 'none'} instead of {', '.join(before) or 'none'}"


class _Numbers:
    """Numbers for ids, in the order in which they are first met."""

    def __init__(self) -> None:
        self._known: dict[str, int] = {}

    def of(self, ids: pl.Series) -> pl.Series:
        """Number the ids of a batch."""
        distinct, local = distinct_ids(ids)
        known = self._known
        numbers = np.array([known.setdefault(name, len(known)) for name in distinct.to_list()], np.int32)
        return pl.Series(numbers[local])

    def write(self, path: Path) -> None:
        """Keep the ids by number."""
        pl.DataFrame({"id": pl.Series(list(self._known), dtype=pl.String)}).write_parquet(path)


def _narrow(batch: pl.DataFrame, start: int) -> pl.DataFrame:
    """The columns of events, what is unknown null, with the running number of each row."""
    if start + batch.height > np.iinfo(np.uint32).max:
        raise DataError("more than four billion events")
    known = batch.with_columns(pl.int_range(start, start + batch.height, dtype=pl.UInt32).alias("row"))
    return known.select(
        pl.col(name).cast(dtype) if name in known.columns else pl.lit(None, dtype).alias(name)
        for name, dtype in EVENT_COLUMNS.items()
    )


def _review_hash(texts: pl.DataFrame) -> pl.Series:
    """64 bits of each review: tells events apart and notices a changed text without holding any."""
    joined = texts.select(
        pl.concat_str([pl.col(name).fill_null("\x00") for name in texts.columns], separator="\x1f")
    ).to_series()
    raw = b"".join(hashlib.blake2b(text.encode(), digest_size=8).digest() for text in joined)
    return pl.Series("review_hash", np.frombuffer(raw, "<u8").astype(np.uint64))


def _reviewers(
    card: Card, reader: Reader, sources: Mapping[str, Located], drop: bool, dropped: Counter[str]
) -> pl.DataFrame | None:
    """Names of users from a file of their own, where the card wants them."""
    if card.files.users is None or "users" not in sources:
        return None
    rows = Rows(sources["users"].content, drop)
    ask = Ask(card.files.users.columns, card.reading)
    read = getattr(reader, "read_users", None)
    if read is None:
        raise DataError(f"{card.name}: reader {card.reader!r} knows no file of users")
    names: pl.DataFrame = pl.concat(read(rows.content, ask, rows)).unique("user_id", keep="first", maintain_order=True)
    dropped += rows.dropped
    return names


def _items(
    card: Card, reader: Reader, sources: Mapping[str, Located], drop: bool, dropped: Counter[str]
) -> pl.DataFrame | None:
    """What is known of the items; a row that says the same twice counts once."""
    if card.files.items is None or "items" not in sources:
        return None
    rows = Rows(sources["items"].content, drop)
    batches = list(reader.read_items(rows.content, Ask(card.files.items.columns, card.reading), rows))
    dropped += rows.dropped
    if not batches:
        return pl.DataFrame(schema=dict(_ITEMS))
    items = pl.concat(batches)
    distinct = items.unique(maintain_order=True)
    if items.height > distinct.height:
        dropped["item rows that say the same again"] += items.height - distinct.height
    first = distinct.unique("item_id", keep="first", maintain_order=True)
    if (differing := distinct.height - first.height) > 0:
        if not drop:
            twice = distinct.filter(pl.col("item_id").is_duplicated())["item_id"][0]
            raise DataError(
                f"{rows.content}: {differing:,} items stand on several rows that say different things, the first of "
                f"them {twice!r}: mend the file, or set `reading: {{bad_rows: drop}}` to keep the first row of each"
            )
        dropped["further rows of an item, saying something else"] += differing
    return first


class _Parquet:
    """A Parquet file written batch by batch; made only when there is something to write."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.writer: Any = None

    @classmethod
    @contextmanager
    def writing(cls, path: Path) -> Iterator[_Parquet]:
        target = cls(path)
        try:
            yield target
        finally:
            if target.writer is not None:
                target.writer.close()

    def write(self, batch: pl.DataFrame) -> None:
        import pyarrow.parquet as pq

        table = batch.to_arrow(compat_level=pl.CompatLevel.oldest())
        if self.writer is None:
            self.writer = pq.ParquetWriter(self.path, table.schema, compression="zstd")
        self.writer.write_table(table)


def _load(folder: Path) -> Prepared:
    about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
    items, reviews = folder / "items.parquet", folder / "reviews.parquet"
    return Prepared(
        folder=folder,
        items=pl.read_parquet(items) if items.is_file() else None,
        reviews=reviews if reviews.is_file() else None,
        texts=tuple(about["texts"]),
        dropped=about["dropped"],
    )
