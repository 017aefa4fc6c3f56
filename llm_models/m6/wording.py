"""Texts for a language model to go on from: explanations, searches, product texts and turns of a conversation.

Where what was written is known (to learn from), a prompt carries it as its target.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, field_validator

from bench.errors import DataError, MissingInputError, UsageError
from bench.models import Ragged, Requests
from llm_models.m6.behaviour import Writer, raw_behaviours
from llm_models.m6.templates import Template, _fields, _tidy

__all__ = [
    "Passage",
    "WritingPrompt",
    "conversation_prompts",
    "explanation_prompts",
    "product_prompts",
    "query_prompts",
    "writing_digest",
]

_MENTION = re.compile(r"@(\w+)")


@dataclass(frozen=True)
class WritingPrompt:
    """What is read, how the answer begins, and how it goes on.

    Attributes
    ----------
    source : str
        The user segment, read in both directions; empty where nothing is known, and then there is nothing to ask.
    target_prefix : str
        Begins the segment to be written.
    target : str or None
        What follows the prefix, where it is known.
    """

    source: str
    target_prefix: str
    target: str | None = None


class Passage(BaseModel):
    """How a kind of text is asked for; see ``behaviour.yaml``.

    Attributes
    ----------
    source : tuple of str
        Parts with fields in braces; a part is left out where a field is missing.
    prefix : str
    seeker : str or None
        Of conversations: what a turn of the one who seeks begins with; ``prefix`` begins the recommender's.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: tuple[str, ...]
    prefix: str
    seeker: str | None = None

    @field_validator("source")
    @classmethod
    def _parts_are_in_order(cls, parts: tuple[str, ...]) -> tuple[str, ...]:
        Template(item=parts, user="{items}", separator="")  # refuses ids and what is no plain field
        return parts

    def prompts(self, rows: pl.DataFrame, targets: Sequence[str | None] | None = None) -> list[WritingPrompt]:
        """Make a prompt of every row of a table of fields.

        Raises
        ------
        UsageError
            When there are not as many targets as rows.
        """
        if targets is not None and len(targets) != len(rows):
            raise UsageError(f"{len(rows)} texts are asked for, but {len(targets)} targets are given")
        sources = Template(item=self.source, user="{items}", separator="").write_items(rows)
        told = [None] * len(rows) if targets is None else [_tidy(target) or None for target in targets]
        return [WritingPrompt(source, self.prefix, target) for source, target in zip(sources, told, strict=True)]


def explanation_prompts(
    writer: Writer,
    requests: Requests,
    *,
    targets: Sequence[str | None] | None = None,
    users: pl.DataFrame | None = None,
    pairs: NDArray[np.integer] | None = None,
) -> list[WritingPrompt]:
    """Ask why a user likes the item asked about; the answer goes on after a causal connective.

    Parameters
    ----------
    requests : Requests
        With ``item``; of what is ``given``, the feature and the stars are shown.
    targets : sequence of str or None, optional
        The explaining sentences.
    users, pairs
        As in :meth:`~llm_models.m6.behaviour.Writer.click_rows`.

    Raises
    ------
    UsageError
        When the requests are about no item each.
    """
    if requests.item is None:
        raise UsageError(f"an explanation is about an item, and {requests.task} requests name none")
    history = Ragged.empty(len(requests)) if requests.history is None else requests.history
    segments = writer.click_rows(requests.user, history, requests.item, requests.text, users, pairs=pairs)
    behaviour, candidate = writer.joined(segments)
    rows = pl.DataFrame({"behaviour": behaviour, "candidate": candidate})
    given = requests.given
    if given is not None and "feature" in given.columns:
        rows = rows.with_columns(given["feature"])
    if given is not None and "rating" in given.columns:
        rows = rows.with_columns(
            pl.Series("stars", [None if stars is None else f"{stars:g}" for stars in given["rating"]])
        )
    return _passages()["explanation"].prompts(rows, targets)


def query_prompts(
    writer: Writer,
    user: NDArray[np.integer],
    history: Ragged,
    text: pl.DataFrame,
    queries: pl.DataFrame | None,
    *,
    earlier: pl.DataFrame | None = None,
    users: pl.DataFrame | None = None,
) -> list[WritingPrompt]:
    """Ask what users search for next, one prompt a row of ``queries``, in order.

    Parameters
    ----------
    user, history, text, users
        As in :meth:`~llm_models.m6.behaviour.Writer.click_rows`, a row a moment at which somebody searched.
    queries : polars.DataFrame or None
        ``row`` (position of the moment) and ``query`` (what was searched for; null where it is to be found).
    earlier : polars.DataFrame, optional
        The same of what had been searched for before, oldest first.

    Raises
    ------
    MissingInputError
        When there are no queries.
    """
    if queries is None:
        raise MissingInputError(
            "this data set brings no search queries, so there is nothing to learn to search for: give a table with the "
            "columns `row` (position of the moment in the histories) and `query` (text), or leave this task out"
        )
    if missing := {"row", "query"} - set(queries.columns):
        raise UsageError(f"queries: the table lacks {', '.join(sorted(missing))}")
    nothing = np.full(len(user), -1, np.int32)
    behaviour, _ = writer.joined(writer.click_rows(user, history, nothing, text, users, earlier))
    rows = pl.DataFrame({"behaviour": [behaviour[row] for row in queries["row"].to_list()]}, {"behaviour": pl.String})
    return _passages()["query"].prompts(rows, queries["query"].to_list())


def product_prompts(rows: pl.DataFrame) -> list[WritingPrompt]:
    """Ask for the text of products from their category and title slots, one prompt a row.

    Parameters
    ----------
    rows : polars.DataFrame
        Columns as in ``Catalogue.text``; the target is ``description``, where an item has one.

    Raises
    ------
    MissingInputError
        When the items have neither titles nor categories.
    """
    passage = _passages()["product"]
    slots = dict.fromkeys(name for part in passage.source for name in _fields(part))
    if not set(slots) & set(rows.columns):
        raise MissingInputError(f"a product text is written from {' and '.join(slots)}, and these items have neither")
    described = rows["description"].to_list() if "description" in rows.columns else None
    return passage.prompts(rows, described)


def conversation_prompts(
    turns: Sequence[tuple[str, str]], *, titles: Mapping[str, str] | None = None, last: int | None = None
) -> list[WritingPrompt]:
    """Ask for the recommender's turns of a conversation.

    Each turn of the recommender that answers another is one prompt with its target; where the seeker spoke last, a
    prompt without a target asks for what follows.

    Parameters
    ----------
    turns : sequence of (speaker, text)
        ``"seeker"`` or ``"recommender"``, in any case; empty turns are left out.
    titles : mapping, optional
        What ``@name`` in a text stands for: corpora mention items so.
    last : int, optional
        Turns that are read at most; all if not given.

    Raises
    ------
    DataError
        For another speaker, or a mention without a title: no id may be shown.
    """
    passage = _passages()["conversation"]
    tags = {"seeker": str(passage.seeker), "recommender": passage.prefix}
    spoken: list[tuple[str, str]] = []
    for number, (speaker, text) in enumerate(turns, start=1):
        if speaker.lower() not in tags:
            raise DataError(f"turn {number}: the speaker is {speaker!r}, and must be seeker or recommender")
        if words := _tidy(_named(text, titles or {}, number)):
            spoken.append((speaker.lower(), words))
    written = [f"{tags[speaker]} {words}" for speaker, words in spoken]
    prompts = []
    for place, (speaker, words) in enumerate([*spoken, ("recommender", "")] if spoken else []):
        answers_seeker = place > 0 and (words or spoken[-1][0] == "seeker")
        if speaker == "recommender" and answers_seeker:
            read = written[max(0, place - last) if last is not None else 0 : place]
            prompts += passage.prompts(pl.DataFrame({"turns": [" ".join(read)]}), [words])
    return prompts


def writing_digest() -> str:
    """sha256 of how all these texts are asked for."""
    content = {name: passage.model_dump() for name, passage in _passages().items()}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


@cache
def _passages() -> dict[str, Passage]:
    return {name: Passage.model_validate(content) for name, content in raw_behaviours()["writing"].items()}


def _named(text: str, titles: Mapping[str, str], turn: int) -> str:
    """A turn with titles for mentions."""

    def title(mention: re.Match[str]) -> str:
        if mention[1] not in titles:
            raise DataError(f"turn {turn}: {mention[0]} has no title, and an id is never shown: add it to `titles`")
        return titles[mention[1]]

    return _MENTION.sub(title, text)
