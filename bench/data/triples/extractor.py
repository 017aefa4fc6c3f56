"""Feature, opinion and sentence triples of reviews, for the explanation family."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import polars as pl

from bench.data.hashing import canonical_json, digest, mix64, stable_hash64
from bench.data.triples.learn import adjectives, draw, keywords, nouns
from bench.data.triples.match import match
from bench.data.triples.tokens import flag, split_sentences, tokenise
from bench.data.triples.words import CLOSED, LY_ADJECTIVES, NO_FEATURES, Word, opinion_words
from bench.errors import DataError

__all__ = ["RECIPE", "Extractor"]

#: How triples are made; raise ``version`` when the same reviews would give others.
RECIPE: Mapping[str, Any] = {
    "name": "noun-runs",
    "version": 1,
    "features": "words and pairs that YAKE names, that are nouns by their company in training reviews, no brands",
    "opinions": "VADER's lexicon, and adjectives joined to its words in training reviews",
    "shapes": ["attributive", "object", "object of a feeling", "predicative", "aspect verb"],
    "sentences": "own rule, at most max_words tokens",
    "choice": "one triple a review, by a hash of (seed, text)",
    "max_words": 50,
    "learn_reviews": 50_000,
    "nouns": {"fewest": 2, "strong": 0.5, "weak": 0.15, "names": 0.5},
    "adjectives": {"fewest": 3, "share": 0.01, "agreement": 0.8},
    "keywords": {"reviews": 1_000, "batch": 20, "top": 200, "fewest_reviews": 2, "most": 3_000},
}

_CHUNK = 20_000  # reviews at a time: bounds the memory of the tokens


@dataclass(frozen=True)
class Extractor:
    """A vocabulary of features and opinions, and the rules that tie them.

    Attributes
    ----------
    seed : int
        Chooses the reviews that YAKE reads, and one triple of each review.
    features : tuple of str
        Words and pairs of words, lower case, sorted.
    opinions : mapping
        Word -> +1 or -1.
    nouns, weak_nouns : tuple of str
        Words that may stand in a run of nouns, sorted; weak ones in a noun's place only.
    """

    seed: int
    features: tuple[str, ...]
    opinions: Mapping[str, int]
    nouns: tuple[str, ...]
    weak_nouns: tuple[str, ...]

    @classmethod
    def learn(cls, texts: pl.Series, seed: int) -> Self:
        """Learn the vocabulary from training reviews, and from no other.

        Parameters
        ----------
        texts : polars.Series of String
            Repeated texts count once; the order of the rows does not matter.
        seed : int

        Raises
        ------
        DataError
            There is no text.
        MissingInputError
            yake or vaderSentiment is not installed.
        """
        lexicon = opinion_words()
        reviews = draw(texts.filter(texts.str.contains(r"\p{L}")), RECIPE["learn_reviews"], seed)
        if reviews.is_empty():
            raise DataError("no review text to learn features from")
        sentences = split_sentences(reviews)
        tokens = tokenise(sentences["sentence"])
        known = _union(CLOSED, _kinds(lexicon))
        learned = nouns(flag(tokens, known), **RECIPE["nouns"])
        opinions = {word: sign for word, sign in lexicon.items() if word not in learned.strong}
        known = _union(CLOSED, _kinds(opinions), dict.fromkeys(learned.strong, Word.NOUN))
        opinions |= adjectives(flag(tokens, known), **RECIPE["adjectives"])
        weak = learned.weak - opinions.keys()

        settings = RECIPE["keywords"]
        phrases = keywords(reviews.head(settings["reviews"]).to_list(), batch=settings["batch"], top=settings["top"])
        candidates = {
            phrase
            for phrase in phrases
            if all(word in learned.strong or word in weak for word in phrase.split())
            and phrase.split()[-1] not in NO_FEATURES | learned.names
        }
        # Keywords come from some of the reviews only; how frequent they are is counted in all that were drawn.
        row = sentences["row"].gather(tokens["sentence"])
        counted = _review_counts(tokens.with_columns(row.alias("row")), candidates)
        frequent = counted.filter(pl.col("reviews") >= settings["fewest_reviews"]).head(settings["most"])
        return cls(
            seed=seed,
            features=tuple(sorted(frequent["phrase"])),
            opinions=dict(sorted(opinions.items())),
            nouns=tuple(sorted(learned.strong)),
            weak_nouns=tuple(sorted(weak)),
        )

    def extract(self, texts: pl.Series) -> pl.DataFrame:
        """Give each review one of its triples.

        Parameters
        ----------
        texts : polars.Series of String

        Returns
        -------
        polars.DataFrame
            As many rows as ``texts``, in their order: ``feature``, ``opinion``, ``sentence`` (String), ``polarity``
            (Int8, +1 or -1); null where the review has no triple. A text gets the same triple wherever it stands.
        """
        triples = self.extract_all(texts)
        rows, counts = np.unique(triples["row"].to_numpy(), return_counts=True)
        draws = mix64(self.seed, stable_hash64(texts.gather(rows))) % counts.astype(np.uint64)
        one = triples[np.cumsum(counts) - counts + draws.astype(np.int64)]
        every = pl.DataFrame({"row": pl.int_range(len(texts), dtype=pl.UInt32, eager=True)})
        return every.join(one, on="row", how="left", maintain_order="left").drop("row")

    def extract_all(self, texts: pl.Series) -> pl.DataFrame:
        """Find all triples.

        Returns
        -------
        polars.DataFrame
            ``row`` (UInt32, position in ``texts``), then the columns of ``extract``, in reading order; a feature and
            an opinion that meet twice in a sentence count once.
        """
        return pl.concat(list(self._chunks(texts)))

    def _chunks(self, texts: pl.Series) -> Iterator[pl.DataFrame]:
        for start in range(0, max(len(texts), 1), _CHUNK):
            # Links and mark-up are no language.
            sentences = split_sentences(texts.slice(start, _CHUNK)).filter(
                ~pl.col("sentence").str.contains(r"<[^>]*>|https?:|www\."),
                pl.col("sentence").str.count_matches(r"\S+") <= RECIPE["max_words"],
            )
            found = match(flag(tokenise(sentences["sentence"]), self._words), self._compounds)
            found = found.unique(["sentence", "feature", "opinion"], keep="first", maintain_order=True)
            place = found["sentence"]
            yield found.select(
                (sentences["row"].gather(place) + start).cast(pl.UInt32).alias("row"),
                "feature",
                "opinion",
                sentences["sentence"].gather(place),
                "polarity",
            )

    def yield_report(self, texts: pl.Series) -> Mapping[str, Any]:
        """Say what the recipe yields on reviews.

        Returns
        -------
        mapping
            ``reviews`` (int), ``with_triple`` (share of reviews, 0 to 1), ``triples_per_review`` (mean), ``vocabulary``
            (features), ``positive`` (share of triples), ``top_features`` (ten pairs of feature and count).
        """
        triples = self.extract_all(texts)
        reviews = len(texts)
        top = triples["feature"].value_counts().sort(["count", "feature"], descending=[True, False]).head(10)
        return {
            "reviews": reviews,
            "with_triple": triples["row"].n_unique() / reviews if reviews else 0.0,
            "triples_per_review": triples.height / reviews if reviews else 0.0,
            "vocabulary": len(self.features),
            "positive": float((triples["polarity"] > 0).sum() / triples.height) if triples.height else 0.0,
            "top_features": list(top.iter_rows()),
        }

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the recipe and of all that was learned: equal digests give equal triples."""
        return digest(self._content())

    def save(self, path: Path) -> None:
        """Write the extractor as JSON."""
        path.write_bytes(canonical_json(self._content()))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what ``save`` wrote.

        Raises
        ------
        DataError
            The file is no extractor, or was made by another version of the recipe.
        """
        try:
            content = json.loads(path.read_bytes())
            made_by, opinions = content["recipe"], dict(content["opinions"])
            words = {name: tuple(content[name]) for name in ("features", "nouns", "weak_nouns")}
            seed = int(content["seed"])
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path}: no extractor of triples ({error})") from error
        if made_by != json.loads(canonical_json(RECIPE)):
            raise DataError(f"{path}: made by another recipe of triples; learn it again")
        return cls(seed=seed, opinions=opinions, **words)

    def _content(self) -> dict[str, Any]:
        return {
            "recipe": RECIPE,
            "seed": self.seed,
            "features": self.features,
            "opinions": self.opinions,
            "nouns": self.nouns,
            "weak_nouns": self.weak_nouns,
        }

    @cached_property
    def _compounds(self) -> frozenset[str]:
        return frozenset(feature for feature in self.features if " " in feature)

    @cached_property
    def _words(self) -> dict[str, int]:
        return _union(
            CLOSED,
            _kinds(self.opinions),
            dict.fromkeys(self.nouns, Word.NOUN),
            dict.fromkeys(self.weak_nouns, Word.WEAK),
            dict.fromkeys((feature for feature in self.features if " " not in feature), Word.FEATURE),
        )


def _kinds(opinions: Mapping[str, int]) -> dict[str, Word]:
    """Classes of opinion words."""
    return {
        word: (Word.GOOD if sign > 0 else Word.BAD)
        | (Word.ADVERB if word.endswith("ly") and word not in LY_ADJECTIVES else Word(0))
        for word, sign in opinions.items()
    }


def _union(*classes: Mapping[str, Word]) -> dict[str, int]:
    """Every word with the bits of all its classes."""
    flags: dict[str, int] = {}
    for words in classes:
        for word, kind in words.items():
            flags[word] = flags.get(word, 0) | int(kind)
    return flags


def _review_counts(tokens: pl.DataFrame, phrases: Collection[str]) -> pl.DataFrame:
    """In how many reviews each phrase stands: ``phrase``, ``reviews``, the most frequent first."""
    following = pl.when(~pl.col("first").shift(-1)).then(pl.col("token").shift(-1))
    wanted = pl.DataFrame({"phrase": sorted(phrases)}, schema={"phrase": pl.String})
    return (
        tokens.select("row", pl.concat_list("token", pl.col("token") + " " + following).alias("phrase"))
        .explode("phrase")
        .join(wanted, on="phrase", how="semi")
        .group_by("phrase")
        .agg(pl.col("row").n_unique().alias("reviews"))
        .sort(["reviews", "phrase"], descending=[True, False])
    )
