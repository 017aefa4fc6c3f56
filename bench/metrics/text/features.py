"""What texts speak of: the features named in them (measures of Li, Zhang & Chen 2020, "NETE", and 2021, "PETER")."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from bench.data.triples.tokens import tokenise
from bench.errors import DataError
from bench.metrics.text.written import Written

__all__ = ["FEATURE_METRICS", "Mentions"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Mentions:
    """Which text names which feature.

    Attributes
    ----------
    named : ndarray of bool, shape (requests,)
        Whether the text names the feature that the user's is about.
    compared : ndarray of bool, shape (requests,)
        The texts that diversity compares with each other.
    row, feature : ndarray of int, shape (mentions,)
        Text ``row`` names the feature numbered ``feature``; each pair once.
    features : int
        How many features there are.
    """

    named: NDArray[np.bool_]
    compared: NDArray[np.bool_]
    row: NDArray[np.int64]
    feature: NDArray[np.int64]
    features: int

    @classmethod
    def find(cls, written: Written, vocabulary: Collection[str] | None = None, *, original: bool = False) -> Mentions:
        """Look for features in every text.

        A feature is named where its words stand next to each other, whatever their case; words are those that triples
        are found in (:func:`bench.data.triples.tokens.tokenise`), and texts without a word are not compared. In the
        original a feature is named where it equals a piece between white space, and all texts are compared.

        Parameters
        ----------
        vocabulary : collection of str or None
            The features there are; ``None``: those of the requests.

        Raises
        ------
        DataError
            The requests have no features.
        """
        if written.feature is None:
            raise DataError("metrics of features need requests that say what the user's text is about")
        cut = _pieces if original else _words
        own = written.feature if original else _phrases(written.feature)
        known = own if vocabulary is None else pl.Series(list(vocabulary), dtype=pl.String)
        known = (known if original or vocabulary is None else _phrases(known)).unique().sort()
        tokens = cut(written.texts)
        mine = pl.DataFrame({"row": np.arange(len(own)), "phrase": own})
        said = _said(tokens, pl.concat([own, known]).unique(), longest=1 if original else None)
        numbered = pl.DataFrame({"phrase": known, "feature": np.arange(len(known))})
        found = said.join(numbered, on="phrase", how="inner")
        compared = np.zeros(len(own), bool)
        compared[:] = original
        compared[tokens["row"].unique().to_numpy()] = True
        named = np.zeros(len(own), bool)
        named[mine.join(said, on=["row", "phrase"], how="semi")["row"].to_numpy()] = True
        return cls(named, compared, found["row"].to_numpy(), found["feature"].to_numpy(), len(known))


def _words(texts: pl.Series) -> pl.DataFrame:
    """``row`` (Int64) and ``token`` (String)."""
    return tokenise(texts).select(pl.col("sentence").cast(pl.Int64).alias("row"), "token")


def _pieces(texts: pl.Series) -> pl.DataFrame:
    """The same for pieces between white space."""
    split = pl.DataFrame({"token": texts}).with_row_index("row")
    flat = split.with_columns(pl.col("row").cast(pl.Int64), pl.col("token").str.extract_all(r"\S+"))
    return flat.explode("token").drop_nulls()


def _phrases(features: pl.Series) -> pl.Series:
    """Features with one space between their words."""
    rows = pl.DataFrame({"row": np.arange(len(features))})
    joined = _words(features).group_by("row", maintain_order=True).agg(pl.col("token").str.join(" "))
    return rows.join(joined, on="row", how="left", maintain_order="left")["token"].fill_null("").alias("phrase")


def _said(tokens: pl.DataFrame, phrases: pl.Series, *, longest: int | None) -> pl.DataFrame:
    """Which of ``phrases``, of at most ``longest`` tokens, stand in which row: ``row``, ``phrase``, each pair once."""
    wanted = pl.DataFrame({"phrase": phrases})
    longest = longest or int(wanted.select((pl.col("phrase").str.count_matches(" ") + 1).max()).item() or 1)
    found = []
    for length in range(1, longest + 1):
        following = [pl.col("token").shift(-step) for step in range(length)]
        run = tokens.select(
            "row",
            pl.when(pl.col("row").shift(1 - length) == pl.col("row"))
            .then(pl.concat_str(following, separator=" "))
            .alias("phrase"),
        )
        found.append(run.join(wanted, on="phrase", how="semi"))
    return pl.concat(found).unique()


def _matching(mentions: Mentions) -> Floats:
    """FMR: share of texts that name the feature the user's text is about, 0 to 1."""
    return mentions.named.astype(np.float64)


def _coverage(mentions: Mentions) -> Floats:
    """FCR: share of the features that any text names, 0 to 1."""
    return np.full(len(mentions.named), len(np.unique(mentions.feature)) / max(mentions.features, 1))


def _sharing(mentions: Mentions) -> Floats:
    """DIV: how many features two texts share, on average over all pairs of the m texts compared; lower is better.

    A mean over pairs is not one over rows, so it is given by its linearisation (Hoeffding 1948): with s_i the mean
    number of features that text i shares with the others, DIV = mean s_i, and the value of row i is
    DIV + 2 n / m (s_i - DIV), n rows in all; DIV for a text that is not compared.
    """
    rows, texts = len(mentions.named), int(mentions.compared.sum())
    if texts < 2:
        return np.zeros(rows)
    naming = np.bincount(mentions.feature, minlength=mentions.features)
    shared = np.bincount(mentions.row, naming[mentions.feature] - 1.0, minlength=rows) / (texts - 1)
    mean = float(shared[mentions.compared].mean())
    return np.where(mentions.compared, mean + 2 * rows / texts * (shared - mean), mean)


FEATURE_METRICS: dict[str, Callable[[Mentions], Floats]] = {"FMR": _matching, "FCR": _coverage, "DIV": _sharing}
