"""The order of ids that are words, so that a model's own index can be probed like a numbering."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.errors import DataError

__all__ = ["INDEX_FILE", "number_words", "read_index"]

INDEX_FILE = "items.json"
"""Under this name a model that writes items as text saves its decode table: ``{"codes": {word: item code}}``."""


def number_words(codes: Mapping[str, int], items: int) -> NDArray[np.int64]:
    """Number items in the order of their words, digits compared as numbers: ``a_2b_10`` stands before ``a_10b_2``.

    Parameters
    ----------
    codes : mapping of str to int
        The item code of each word.
    items : int
        How many item codes there are.

    Returns
    -------
    ndarray of int64, shape (items,)
        From 1, by item code; -1 for an item without a word.
    """
    number = np.full(items, -1, np.int64)
    for place, word in enumerate(sorted(codes, key=_parts), start=1):
        number[codes[word]] = place
    return number


def _parts(word: str) -> tuple[tuple[str, int], ...]:
    return tuple((letters, int(digits or -1)) for letters, digits in re.findall(r"(\D*)(\d*)", word)[:-1])


def read_index(folder: Path) -> dict[str, int] | None:
    """The decode table that a model saved in ``folder``; ``None`` where it saved none.

    Raises
    ------
    DataError
        When the file is no such table.
    """
    path = folder / INDEX_FILE
    if not path.is_file():
        return None
    try:
        codes = json.loads(path.read_text(encoding="utf-8"))["codes"]
        return {str(word): int(code) for word, code in codes.items()}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: no decode table of the form {{codes: {{word: item code}}}}; fit again") from error
