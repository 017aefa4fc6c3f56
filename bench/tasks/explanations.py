"""Sentences that explain: of training reviews and of held-out ones, found by what training reviews teach alone.

The vocabulary of features and opinions is learned once from the reviews that a split learns from
(:class:`bench.data.triples.Extractor`) and then read off any review. Both are slow beside everything else that a plan
does and are wanted in every cell, so they are kept as JSON and Parquet in the cache folder, under a hash of the recipe,
the libraries behind it and the reviews read. Nothing there is ever changed; it may be deleted at any time.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import polars as pl

from bench.data.hashing import digest
from bench.data.reviews import Reviews
from bench.data.sources import cache_folder
from bench.data.triples import RECIPE, Extractor
from bench.errors import DataError, MissingInputError, UsageError
from bench.splits.training import Training

__all__ = ["Explainer", "NoTexts", "training_reviews", "training_triples"]

SEED = 0
"""Chooses one triple of each review that has several."""

_FORMAT = "1"
"""Raised when the same triples would be kept otherwise."""


class NoTexts(MissingInputError, UsageError):
    """The data has no review texts: a model that needs them lacks its input, and a task asked for the wrong data."""

    def __init__(self, what: str = "no review texts") -> None:
        super().__init__(
            f"{what}: use data whose card reads them (`bench list` names the data sets; amazon-musical-instruments is "
            "the smallest with texts), or give the columns `headline` and `text` in a card of your own"
        )


@dataclass(frozen=True, eq=False)
class Explainer:
    """What training reviews teach about features and opinions, with a folder that keeps what was found.

    Attributes
    ----------
    extractor : Extractor
    folder : Path
        In the cache folder.
    """

    extractor: Extractor
    folder: Path

    @classmethod
    def learn(cls, training: Training) -> Explainer:
        """Learn from the reviews of ``training``, or load what an earlier call learned from the same ones.

        Raises
        ------
        NoTexts
            When the data has no review texts.
        MissingInputError
            When yake or vaderSentiment is not installed.
        """
        reviews = _reviews(training)
        libraries = {name: _version(name) for name in ("yake", "vaderSentiment", "polars")}
        key = digest([_FORMAT, RECIPE, SEED, libraries, _fingerprint(reviews)])
        folder = cache_folder() / "triples" / key[:32]
        learned = folder / "extractor.json"
        if not learned.is_file():
            texts = reviews.frame()["text"]
            try:
                extractor = Extractor.learn(texts, SEED)
            except DataError as error:
                raise NoTexts("no training review has a text") from error
            _write(learned, extractor.save)
        return cls(Extractor.load(learned), folder)

    @property
    def digest(self) -> str:
        """Equal digests give equal triples."""
        return self.extractor.digest

    def triples(self, reviews: Reviews) -> pl.DataFrame:
        """Find one triple of each review.

        Returns
        -------
        polars.DataFrame
            ``row`` (UInt32, position in ``reviews``, increasing), ``feature``, ``sentence`` (String) and ``polarity``
            (Int8, +1 or -1); only rows that have one.
        """
        kept = self.folder / f"{_fingerprint(reviews)[:32]}.parquet"
        if not kept.is_file():
            found = self.extractor.extract(reviews.frame()["text"].fill_null("")).with_row_index("row")
            found = found.filter(pl.col("sentence").is_not_null()).select("row", "feature", "sentence", "polarity")
            _write(kept, found.write_parquet)
        return pl.read_parquet(kept)


def training_triples(training: Training) -> pl.DataFrame:
    """The explaining sentences of the training reviews, learned and found in them alone.

    Returns
    -------
    polars.DataFrame
        ``row`` (UInt32, position in the rows of :func:`training_reviews`, increasing), ``feature``, ``sentence``
        (String) and ``polarity`` (Int8); only rows that have one.

    Raises
    ------
    NoTexts, MissingInputError
        As :meth:`Explainer.learn`.
    """
    return Explainer.learn(training).triples(_reviews(training))


def training_reviews(training: Training) -> pl.DataFrame:
    """The reviews to learn from, whatever the protocol.

    Returns
    -------
    polars.DataFrame
        One row a training event (or, where the protocol has labelled pairs with texts to learn from, a pair), in order:
        ``user``, ``item`` (Int32), ``rating`` (Float32, null where there are no stars), ``headline``, ``text`` and,
        where the card keeps names, ``reviewer`` (String, null where there is none).

    Raises
    ------
    NoTexts
        When the data has no review texts.
    """
    reviews, pairs = _reviews(training), training.pairs
    if pairs is not None and pairs.reviews is not None:
        user, item, rating = pairs.user, pairs.item, pairs.label if pairs.kind == "rating" else None
    else:
        sequences = training.sequences
        user, item, rating = training.user[sequences.row_of], sequences.values, training.rating
    who = pl.DataFrame({"user": user, "item": item})
    stars = pl.Series("rating", rating) if rating is not None else pl.lit(None, pl.Float32).alias("rating")
    return who.with_columns(stars, *reviews.frame().get_columns())


def _reviews(training: Training) -> Reviews:
    of_pairs = None if training.pairs is None else training.pairs.reviews
    reviews = training.reviews if of_pairs is None else of_pairs
    if reviews is None:
        raise NoTexts
    return reviews


def _fingerprint(reviews: Reviews) -> str:
    """A hash of which reviews these are, without reading one: files of texts are never changed in place."""
    seen = reviews.path.stat()
    rows = hashlib.sha256(reviews.rows.tobytes()).hexdigest()
    return digest([str(reviews.path.resolve()), seen.st_size, seen.st_mtime_ns, rows])


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"


def _write(path: Path, write: Callable[[Path], object]) -> None:
    """Write whole or not at all; another process may write the same."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        try:
            write(temporary)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise DataError(
            f"{path.parent}: cannot be written ({error.strerror or error}): make room, or set BENCH_CACHE_DIR to a "
            "folder that can be"
        ) from error
