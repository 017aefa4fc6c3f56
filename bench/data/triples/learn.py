"""What training reviews teach: which words are nouns, which nouns name features, which adjectives praise or blame.

No tagger is needed: in a few thousand reviews a word gives itself away by its company. "The ... is" and "a great ... ."
hold nouns; "I ...", "to ...", "very ..." hold verbs and adjectives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from bench.data.hashing import mix64, stable_hash64
from bench.data.triples.words import FUNCTION, NO_NOUNS, SUPERLATIVES, Word, has
from bench.errors import MissingInputError

__all__ = ["Nouns", "adjectives", "draw", "keywords", "nouns"]

_WORD = r"^\p{L}{2,}(-\p{L}+)*$"
_OPINION = Word.GOOD | Word.BAD


def draw(texts: pl.Series, size: int, seed: int) -> pl.Series:
    """Choose up to ``size`` distinct texts by a hash of (seed, text), so that the order of the rows cannot matter."""
    distinct = texts.cast(pl.String).drop_nulls().unique()
    rank = mix64(seed, stable_hash64(distinct))
    return distinct.gather(np.argsort(rank, kind="stable")[:size])


@dataclass(frozen=True)
class Nouns:
    """Words by how sure it is that they are nouns.

    Attributes
    ----------
    strong : set of str
        Nouns wherever they stand.
    weak : set of str
        Nouns in a noun's place only ("the noise").
    names : set of str
        Those of both that are written with a capital: brands, places.
    """

    strong: frozenset[str]
    weak: frozenset[str]
    names: frozenset[str]


class _Company:
    """Flags of the neighbours of every token; beyond the sentence there is nothing before and a break after."""

    def __init__(self, tokens: pl.DataFrame) -> None:
        self.tokens = tokens
        self.flags = tokens["flags"].to_numpy()
        self.first = tokens["first"].to_numpy()
        last = np.append(self.first[1:], True)
        self.before = np.where(self.first, 0, np.roll(self.flags, 1))
        self.earlier = np.where(self.first | np.roll(self.first, 1), 0, np.roll(self.flags, 2))
        self.after = np.where(last, int(Word.BREAK), np.roll(self.flags, -1))
        self.later = np.where(last | np.roll(last, -1), int(Word.BREAK), np.roll(self.flags, -2))

    def verb(self) -> NDArray[np.bool_]:
        """Whether what stands before announces a verb or an adjective."""
        denied = has(self.before, Word.NEGATION) & ~has(self.before, Word.DETERMINER)
        return has(self.before, Word.PRONOUN | Word.VERBAL | Word.LINK) | denied

    def sums(self, **columns: NDArray[np.bool_]) -> pl.DataFrame:
        """Count, for every word, the tokens where each column holds; ``flags`` and ``count`` come with them."""
        table = self.tokens.select("token", "flags").with_columns(**{k: pl.Series(v) for k, v in columns.items()})
        grouped = table.group_by("token").agg(pl.len().alias("count"), pl.col("flags").first(), pl.col(*columns).sum())
        return grouped.filter(pl.col("token").str.contains(_WORD))


def nouns(tokens: pl.DataFrame, *, fewest: int, strong: float, weak: float, names: float) -> Nouns:
    """Find the words that are nouns in these reviews.

    Parameters
    ----------
    tokens : polars.DataFrame
        As ``flag`` makes it, with closed classes and opinions.
    fewest : int
        Occurrences in a noun's place that a noun needs.
    strong, weak : float
        Least share of a noun's places among the places of a noun and those of a verb or an adjective.
    names : float
        A word is a name when more than this share of its occurrences inside sentences is written with a capital.
    """
    near = _Company(tokens)
    opened = has(near.before, Word.ARTICLE) | (has(near.before, _OPINION) & has(near.earlier, Word.ARTICLE))
    inside = ~near.first
    counted = near.sums(
        noun=opened & has(near.after, FUNCTION) & ~has(near.after, Word.JOINING),
        other=near.verb(),
        inside=inside,
        title=tokens["title"].to_numpy() & inside,
    ).filter(
        pl.col("noun") >= fewest,
        pl.col("noun") >= weak * (pl.col("noun") + pl.col("other")),
        (pl.col("flags") & int(FUNCTION) == 0) | (pl.col("flags") & int(Word.WEAK) != 0),
        ~pl.col("token").is_in(sorted(NO_NOUNS | SUPERLATIVES)),
    )
    sure = (pl.col("noun") >= strong * (pl.col("noun") + pl.col("other"))) & (pl.col("flags") & int(Word.WEAK) == 0)
    return Nouns(
        strong=frozenset(counted.filter(sure)["token"]),
        # A word of the lexicon that is a noun now and then stays an opinion.
        weak=frozenset(counted.filter(~sure, pl.col("flags") & int(_OPINION) == 0)["token"]),
        names=frozenset(counted.filter(pl.col("title") > names * pl.col("inside"))["token"]),
    )


def adjectives(tokens: pl.DataFrame, *, fewest: int, share: float, agreement: float) -> dict[str, int]:
    """Learn opinions that the lexicon lacks from those they are joined to: "sturdy and good", "soft, lovely".

    Joined adjectives mostly agree in what they say (Hatzivassiloglou & McKeown, 1997).

    Parameters
    ----------
    tokens : polars.DataFrame
        As ``flag`` makes it, with closed classes, opinions and nouns.
    fewest : int
        Joints with known opinions, and places of an adjective ("very ..."), that a new one needs.
    share : float
        Least share of such joints among all its occurrences.
    agreement : float
        Least share of its joints that agree.

    Returns
    -------
    dict
        Word -> +1 or -1.
    """
    near = _Company(tokens)
    manner = Word.TRANSITIVE | Word.PSYCH | Word.ADVERB

    def joined(kind: Word) -> NDArray[np.bool_]:
        forward = has(near.after, Word.JOINING) & has(near.later, kind) & ~has(near.later, manner)
        backward = has(near.before, Word.JOINING) & has(near.earlier, kind) & ~has(near.earlier, manner)
        return forward | backward

    degree = has(near.before, Word.DEGREE)
    learned = near.sums(
        good=joined(Word.GOOD),
        bad=joined(Word.BAD),
        adjective=degree,
        verb=near.verb() & ~has(near.before, Word.VERBAL | Word.LINK) | has(near.before, Word.MODAL),
    ).filter(
        pl.col("flags") == 0,
        ~pl.col("token").str.ends_with("ly"),
        ~pl.col("token").is_in(sorted(NO_NOUNS)),
        pl.col("good") + pl.col("bad") >= fewest,
        pl.col("good") + pl.col("bad") >= share * pl.col("count"),
        pl.max_horizontal("good", "bad") >= agreement * (pl.col("good") + pl.col("bad")),
        pl.col("adjective") >= fewest,
        pl.col("adjective") > pl.col("verb"),
    )
    return {word: 1 if good > bad else -1 for word, good, bad in learned.select("token", "good", "bad").iter_rows()}


def keywords(texts: Sequence[str], *, batch: int, top: int) -> frozenset[str]:
    """Keywords of one or two words that YAKE (Campos et al., 2020) finds in batches of texts, lower case.

    Raises
    ------
    MissingInputError
        The package is not installed.
    """
    try:
        from yake import KeywordExtractor
    except ImportError:
        raise MissingInputError("feature words need yake: pip install 'llm-rec-bench[text]'") from None
    yake = KeywordExtractor(lan="en", n=2, top=top)
    batches = ("\n".join(texts[start : start + batch]) for start in range(0, len(texts), batch))
    return frozenset(phrase.lower() for text in batches for phrase, _ in yake.extract_keywords(text))
