"""Product texts, searches and conversations from a user's own files: JSON Lines, gzipped or not.

``product``: ``title``, ``categories`` (a list, a list of paths, or text) and ``description``, as catalogues have them::

    {"title": "Red drum", "categories": [["Music", "Drums"]], "description": "A small drum for ..."}

``query``: what somebody chose and searched for, oldest first, and what they searched for then::

    {"chosen": ["Red drum", "Drum sticks"], "searched": ["drum for children"], "query": "practice pad"}

``conversation``: turns in order; ``titles`` says what ``@name`` stands for::

    {"turns": [{"speaker": "seeker", "text": "..."}, {"speaker": "recommender", "text": "Try @12"}],
     "titles": {"12": "Alien"}}    (all on one line)

Where what is to be written is missing (or null), the line asks for it; where it is there, the line teaches it.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from bench.errors import DataError, MissingInputError
from bench.models import Ragged
from llm_models.m6.behaviour import Writer
from llm_models.m6.language.phrases import phrases
from llm_models.m6.wording import WritingPrompt, conversation_prompts, product_prompts, query_prompts

__all__ = ["FORMATS", "read_conversations", "read_products", "read_queries", "read_titles"]

FORMATS = {
    "title": '{"categories": ["Music", "Drums"], "title": "Red drum"}',
    "product": '{"title": "Red drum", "categories": ["Music", "Drums"], "description": "A small drum for ..."}',
    "query": '{"chosen": ["Red drum"], "searched": ["drum for children"], "query": "practice pad"}',
    "conversation": '{"turns": [{"speaker": "seeker", "text": "..."}, {"speaker": "recommender", "text": "..."}]}',
}
"""Task -> a line of its file."""


def read_products(path: Path) -> list[WritingPrompt]:
    """Descriptions to write, or to learn from, after category and title slots.

    Raises
    ------
    MissingInputError
        When there is no such file, or none of its lines has a description.
    DataError
        When a line is not as it should be.
    """
    prompts = product_prompts(_products(path, "product"))
    return _taught(path, "product", [prompt for prompt in prompts if prompt.source], "description")


def read_titles(path: Path) -> list[WritingPrompt]:
    """Titles to write, or to learn from, after the category slot. Raises as :func:`read_products`."""
    items = _products(path, "title")
    prompts = product_prompts(items.select("categories"))
    asked = [
        replace(prompt, target_prefix=phrases().title.prefix, target=title or None)
        for prompt, title in zip(prompts, items["title"].to_list(), strict=True)
        if prompt.source
    ]
    return _taught(path, "title", asked, "title")


def read_queries(path: Path, writer: Writer) -> list[WritingPrompt]:
    """Searches to write, or to learn from, after what somebody chose and searched for. Raises as above."""
    titles: dict[str, int] = {}
    histories, queries, earlier = [], [], []
    for number, line in _lines(path, "query"):
        chosen, searched = _texts(line, "chosen", path, number), _texts(line, "searched", path, number)
        row = len(histories)
        histories.append([titles.setdefault(title, len(titles)) for title in chosen])
        queries.append((row, _text(line, "query", path, number)))
        earlier += [(row, text) for text in searched]
    table = {"item": pl.Series(range(len(titles)), dtype=pl.Int32), "title": pl.Series(list(titles), dtype=pl.String)}
    columns = {"row": pl.Int64, "query": pl.String}
    prompts = query_prompts(
        writer,
        np.arange(len(histories)),
        Ragged.from_lists(histories),
        pl.DataFrame(table),
        pl.DataFrame(queries, columns, orient="row"),
        earlier=pl.DataFrame(earlier, columns, orient="row"),
    )
    return _taught(path, "query", [prompt for prompt in prompts if prompt.source], "query")


def read_conversations(path: Path, *, last: int | None = None) -> list[WritingPrompt]:
    """Turns of the recommender to write, or to learn from; ``last`` turns are read at most. Raises as above."""
    prompts = []
    for number, line in _lines(path, "conversation"):
        turns = line.get("turns")
        if not isinstance(turns, list) or not all(
            isinstance(turn, dict) and isinstance(turn.get("speaker"), str) and isinstance(turn.get("text"), str)
            for turn in turns
        ):
            raise _wrong(path, number, "conversation", "`turns` must be a list of objects with `speaker` and `text`")
        titles = line.get("titles") or {}
        try:
            said = [(turn["speaker"], turn["text"]) for turn in turns]
            prompts += conversation_prompts(
                said, titles={str(name): title for name, title in titles.items()}, last=last
            )
        except DataError as error:
            raise _wrong(path, number, "conversation", str(error)) from error
    return _taught(path, "conversation", prompts, "recommender's turn")


def _products(path: Path, task: str) -> pl.DataFrame:
    """Titles, categories and descriptions of every line."""
    titles, categories, descriptions = [], [], []
    for number, line in _lines(path, task):
        titles.append(_text(line, "title", path, number))
        descriptions.append(" ".join(_texts(line, "description", path, number)) or None)
        named = line.get("categories", line.get("category"))
        # Of several paths the first, as catalogues list the main one first.
        first = named[0] if isinstance(named, list) and named and isinstance(named[0], list) else named
        categories.append(_texts({"categories": first}, "categories", path, number) or None)
    schema = {"title": pl.String, "categories": pl.List(pl.String), "description": pl.String}
    return pl.DataFrame({"title": titles, "categories": categories, "description": descriptions}, schema)


def _lines(path: Path, task: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Objects of a file with the numbers of their lines."""
    if not path.is_file():
        raise MissingInputError(
            f"{path} does not exist. This task learns from a file of your own, one JSON object a line: {FORMATS[task]}"
        )
    opened: Callable[..., Any] = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8") as file:
        for number, text in enumerate(file, start=1):
            if not text.strip():
                continue
            try:
                line = json.loads(text)
            except ValueError as error:
                raise _wrong(path, number, task, f"not JSON ({error})") from error
            if not isinstance(line, dict):
                raise _wrong(path, number, task, "not an object")
            yield number, line


def _wrong(path: Path, number: int, task: str, problem: str) -> DataError:
    return DataError(f"{path}, line {number}: {problem}. A line looks like {FORMATS[task]}")


def _text(line: dict[str, Any], name: str, path: Path, number: int) -> str | None:
    """A text, tidied; ``None`` where there is none."""
    return " ".join(_texts(line, name, path, number)) or None


def _texts(line: dict[str, Any], name: str, path: Path, number: int) -> list[str]:
    """A text, or a list of them, as a list; empty where there is none."""
    value = line.get(name)
    values = value if isinstance(value, list) else [] if value is None else [value]
    if not all(isinstance(entry, str) for entry in values):
        raise DataError(f"{path}, line {number}: `{name}` must be text, or a list of texts")
    return [tidy for entry in values if (tidy := " ".join(entry.split()))]


def _taught(path: Path, task: str, prompts: list[WritingPrompt], what: str) -> list[WritingPrompt]:
    if not any(prompt.target for prompt in prompts):
        raise MissingInputError(
            f"{path}: no line has a {what} after something to read, so there is nothing to learn from. A line looks "
            f"like {FORMATS[task]}"
        )
    return prompts
