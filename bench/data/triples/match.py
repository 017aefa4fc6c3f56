"""Which noun an opinion is about: four shapes of clause, recognised on flat arrays of tokens.

- attributive: "a **great** little **pedal**", "**sturdy** guitar **stand**";
- object: "I **love** this **smell**";
- object of a feeling: "**happy** with the **price**";
- predicative: "the **strings** still sound **great**"; and, where the subject is a mere pronoun, the aspect in the
  verb: "it **smells** **wonderful**".
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import polars as pl
from numpy.typing import NDArray

from bench.data.triples.words import Word, has

__all__ = ["MATCHES", "match"]

#: Columns of what ``match`` returns.
MATCHES = pl.Schema({"sentence": pl.UInt32, "feature": pl.String, "opinion": pl.String, "polarity": pl.Int8})

_OPINION = Word.GOOD | Word.BAD
_GAP = {"attributive": 2, "object": 4, "feeling": 5, "predicative": 5, "aspect": 2, "negation": 4}

Places = NDArray[np.int64]
Mask = NDArray[np.bool_]


def match(tokens: pl.DataFrame, compounds: Collection[str]) -> pl.DataFrame:
    """Tie opinions to features.

    Parameters
    ----------
    tokens : polars.DataFrame
        As ``flag`` makes it, with closed classes, opinions, nouns and features of one word.
    compounds : collection of str
        Features of two words, joined by a space.

    Returns
    -------
    polars.DataFrame
        Columns of ``MATCHES``, one row per opinion that is about a feature, in reading order. ``sentence`` is that of
        ``tokens``; the feature stands in the sentence as given here, but for capitals.
    """
    if tokens.is_empty():
        return MATCHES.to_frame()
    text = _Tokens(tokens)
    opinion = np.flatnonzero(text.has(_OPINION))
    runs = _Runs(text, compounds)
    ahead, ahead_feature = _object(text, runs, opinion)
    subject, subject_feature = _subject(text, runs, opinion)
    aspect, verb = _aspect(text, opinion)
    subject &= ~ahead
    aspect &= ~ahead & ~subject
    word = text.word.gather(opinion)
    table = pl.DataFrame(
        {
            "sentence": text.sentence[opinion],
            "feature": pl.select(
                pl.when(pl.Series(ahead))
                .then(ahead_feature)
                .when(pl.Series(subject))
                .then(subject_feature)
                .when(pl.Series(aspect))
                .then(text.word.gather(verb))
            ).to_series(),
            "opinion": word,
            "polarity": _polarity(text, opinion),
        },
        schema=MATCHES,
    )
    return table.drop_nulls("feature")


class _Tokens:
    """Tokens with what depends on their neighbours settled, and questions about places and stretches of text."""

    def __init__(self, tokens: pl.DataFrame) -> None:
        self.word = tokens["token"]
        self.sentence = tokens["sentence"].to_numpy()
        self.first = tokens["first"].to_numpy()
        self.flags = _settle(tokens["flags"].to_numpy(), self.first)
        self._seen: dict[Word, Places] = {}

    def has(self, kind: Word, at: Places | None = None) -> Mask:
        """Whether the tokens (at the given places) are of a kind; no token outside the text is."""
        if at is None:
            return has(self.flags, kind)
        inside = (at >= 0) & (at < len(self.flags))
        return inside & has(self.flags.take(at, mode="clip"), kind)

    def unknown(self, at: Places) -> Mask:
        """Whether the words at the given places are of no class."""
        unknown: Mask = (at < len(self.flags)) & (self.flags.take(at, mode="clip") == 0)
        return unknown

    def between(self, kind: Word, low: Places, high: Places) -> Mask:
        """Whether a token of a kind stands at ``low <= place < high``."""
        if kind not in self._seen:
            self._seen[kind] = np.append(0, np.cumsum(self.has(kind)))
        seen = self._seen[kind]
        found: Mask = seen[np.maximum(high, low)] > seen[low]
        return found

    def together(self, a: Places, b: Places) -> Mask:
        """Whether two places lie in one sentence."""
        inside = (a >= 0) & (b >= 0) & (a < len(self.flags)) & (b < len(self.flags))
        together: Mask = inside & (self.sentence.take(a, mode="clip") == self.sentence.take(b, mode="clip"))
        return together

    def latest(self, kinds: Mask) -> Places:
        """For every place, the last place up to it where ``kinds`` holds, or -1."""
        return np.maximum.accumulate(np.where(kinds, np.arange(len(kinds)), -1))


def _settle(flags: NDArray[np.int32], first: Mask) -> NDArray[np.int32]:
    """Decide by the neighbours what "like" is, and whether a weak noun ("sound", "noise") stands as a noun."""
    flags = flags.copy()
    before = np.where(first, 0, np.roll(flags, 1))
    after = np.where(np.append(first[1:], True), int(Word.BREAK), np.roll(flags, -1))

    flags[has(flags, Word.LIKE) & ~has(before, Word.BEFORE_LIKE)] = int(Word.PREPOSITION)
    opened = has(before, Word.ARTICLE | Word.DETERMINER | Word.PREPOSITION | _OPINION)
    # "string noise is", "noise level"; but "the strings sound great", "these break the".
    head = has(before, Word.NOUN) & np.where(
        has(flags, Word.LINK), has(after, Word.LINK), ~has(after, Word.DETERMINER | Word.PRONOUN | _OPINION)
    )
    modifier = has(after, Word.NOUN) & ~has(before, Word.PRONOUN | Word.VERBAL)
    noun = has(flags, Word.WEAK) & (opened | head | modifier)
    flags[noun] = (flags[noun] | int(Word.NOUN)) & ~int(Word.LINK | Word.ASPECT)
    flags[~has(flags, Word.NOUN)] &= ~int(Word.FEATURE)
    return flags


class _Runs:
    """Nouns in a row: what a run is about is its last noun, with the one before it when the two are a feature.

    A run that is not there (before the first, after the last) starts and ends beyond the text, and has no feature.
    """

    def __init__(self, text: _Tokens, compounds: Collection[str]) -> None:
        noun = text.has(Word.NOUN)
        follows = np.append(False, noun)[:-1] & noun & ~text.first
        starts = np.flatnonzero(noun & ~follows)
        ends = np.flatnonzero(noun & ~np.append(follows, False)[1:])
        last = text.word.gather(ends)
        pair = text.word.gather(np.maximum(ends - 1, 0)) + " " + last
        feature = pl.DataFrame(
            {"last": last, "pair": pair, "long": ends > starts, "single": text.has(Word.FEATURE, ends)}
        ).select(
            pl.when(pl.col("long") & pl.col("pair").is_in(sorted(compounds))).then("pair").when("single").then("last")
        )
        self.starts = np.append(starts, len(noun))
        self.ends = np.append(ends, len(noun))
        self.feature = feature.to_series().extend_constant(None, 1)

    def after(self, place: Places) -> tuple[Places, Places, pl.Series]:
        """Start, end and feature of the first run after each place."""
        return self._at(np.searchsorted(self.starts[:-1], place, side="right"))

    def before(self, place: Places) -> tuple[Places, Places, pl.Series]:
        """Start, end and feature of the last run before each place."""
        return self._at(np.searchsorted(self.ends[:-1], place, side="left") - 1)

    def _at(self, index: Places) -> tuple[Places, Places, pl.Series]:
        index = np.where(index < 0, len(self.starts) - 1, index)
        return self.starts[index], self.ends[index], self.feature.gather(index)


def _object(text: _Tokens, runs: _Runs, opinion: Places) -> tuple[Mask, pl.Series]:
    """Features that follow their opinion: attributes and objects."""
    start, end, feature = runs.after(opinion)
    near = text.together(opinion, start) & feature.is_not_null().to_numpy()
    start = np.where(near, start, opinion + 1)
    after, gap = opinion + 1, start - opinion - 1
    stop = Word.BREAK | Word.PRONOUN | Word.LINK | Word.VERBAL | Word.NEGATION | _OPINION
    near &= ~text.between(stop, after, start)
    preposition = text.between(Word.PREPOSITION, after, start)
    determined = text.between(Word.DETERMINER, after, start)
    loving, feeling = text.has(Word.TRANSITIVE, opinion), text.has(Word.PSYCH, opinion)
    plain = ~loving & ~feeling & ~text.has(Word.ADVERB, opinion)
    attributive = plain & ~preposition & ~determined & (gap <= _GAP["attributive"])
    objective = loving & ~preposition & (gap <= _GAP["object"])
    further = text.between(Word.PREPOSITION, np.minimum(after + 1, start), start)
    # An unknown word right after is most likely the head that the noun serves: "a great guitar tutorial".
    near &= ~(text.together(end, end + 1) & text.unknown(end + 1))
    felt = feeling & text.has(Word.OBJECT, after) & ~further & (gap <= _GAP["feeling"])
    return near & (attributive | objective | felt), feature


def _subject(text: _Tokens, runs: _Runs, opinion: Places) -> tuple[Mask, pl.Series]:
    """Features that come before their opinion, tied by a link: "is", "sounds"."""
    start, end, feature = runs.before(opinion)
    near = text.together(opinion, end) & feature.is_not_null().to_numpy()
    after = np.where(near, end + 1, opinion)
    stop = Word.BREAK | Word.PRONOUN | Word.PREPOSITION | _OPINION
    near &= (opinion - after <= _GAP["predicative"]) & text.between(Word.LINK, after, opinion)
    near &= ~text.between(stop, after, opinion) & ~text.has(Word.TRANSITIVE, opinion)
    # "with this amp is great": what a preposition holds is no subject.
    place = start - 1
    place = np.where(text.has(Word.DETERMINER, place), place - 1, place)
    place = np.where(text.has(Word.DETERMINER, place - 1) & ~text.has(Word.PREPOSITION, place), place - 2, place)
    held = text.has(Word.PREPOSITION, place) & text.together(place, start)
    # "The price of the amp is great": the subject is what stands before "of".
    part = held & text.has(Word.WITHIN, place)
    _, head, whole = runs.before(start)
    headed = part & (head == place - 1) & text.together(head, start) & whole.is_not_null().to_numpy()
    subject = pl.select(pl.when(pl.Series(headed)).then(whole).otherwise(feature)).to_series()
    return near & (~held | part), subject


def _aspect(text: _Tokens, opinion: Places) -> tuple[Mask, Places]:
    """Verbs that name the aspect themselves, when no person is their subject: "it smells wonderful"."""
    verb = text.latest(text.has(Word.ASPECT))[opinion]
    near = text.together(verb, opinion) & (opinion - verb - 1 <= _GAP["aspect"])
    verb = np.where(near, verb, opinion)
    stop = Word.BREAK | Word.PRONOUN | Word.PREPOSITION | Word.DETERMINER | Word.NOUN | _OPINION
    near &= ~text.between(stop, verb + 1, opinion) & text.has(Word.LINK, verb)
    near &= ~text.has(Word.TRANSITIVE | Word.PSYCH, opinion)
    person = (text.has(Word.PERSON, verb - 1) & text.together(verb - 1, verb)) | (
        text.has(Word.PERSON, verb - 2) & text.together(verb - 2, verb)
    )
    return near & ~person, verb


def _polarity(text: _Tokens, opinion: Places) -> NDArray[np.int8]:
    """+1 or -1: that of the word, worse after "too", turned by a negation in the same clause."""
    sign = np.where(text.has(Word.GOOD, opinion), 1, -1)
    excess = text.has(Word.EXCESS, opinion - 1) & text.together(opinion - 1, opinion)
    sign[excess] = -1
    only = text.has(Word.ONLY) & ~text.first
    negation = text.has(Word.NEGATION) & ~np.append(only[1:], False)
    # An opinion in between takes the negation for itself: "don't hesitate to recommend".
    other = np.append(False, text.has(_OPINION)[:-1])
    stop = text.first | text.has(Word.BREAK) & ~negation | other
    place = text.latest(negation)[opinion]
    clause = text.latest(stop)[opinion]
    negated = (place >= clause) & (opinion - place <= _GAP["negation"]) & (place >= 0)
    return np.where(negated, -sign, sign).astype(np.int8)
