"""Histograms as lines of text, in ASCII: for a terminal, a log, a table cell."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["bars", "length_histogram", "time_histogram"]

_WIDTH = 40  # of the longest bar
_MOST_MONTHS = 24
_MOST_YEARS = 40


def length_histogram(lengths: ArrayLike) -> list[str]:
    """Draw a histogram of lengths in bins that start at 1, 2, 5, 10, 20, 50, 100, ...

    Parameters
    ----------
    lengths : array_like of int, shape (n,)
        One or more.

    Returns
    -------
    list of str
        One line per bin from the first that is not empty to the last, such as ``"5-9    #### 1,234 (43.2%)"``; none
        for no lengths.

    Raises
    ------
    ValueError
        A length below 1.
    """
    values = np.asarray(lengths, dtype=np.int64)
    if not len(values):
        return []
    if values.min() < 1:
        raise ValueError(f"a length is at least 1, not {values.min()}")
    decades = len(str(values.max()))
    starts = np.array([first * 10**decade for decade in range(decades) for first in (1, 2, 5)] + [10**decades])
    bins = np.searchsorted(starts, values, side="right") - 1
    counts = np.bincount(bins, minlength=len(starts) - 1)
    labels = [_span(start, end - 1) for start, end in pairwise(starts.tolist())]
    return bars(labels[bins.min() : bins.max() + 1], counts[bins.min() : bins.max() + 1])


def time_histogram(seconds: ArrayLike) -> list[str]:
    """Draw a histogram of times over calendar months, or years where there are more than 24 months (UTC).

    Where there are more than 40 years, a bin holds 10 of them, or 100, and so on: as many as it takes.

    Parameters
    ----------
    seconds : array_like of int, shape (n,)
        Unix seconds.

    Returns
    -------
    list of str
        One line per bin from the first event to the last, empty bins included; none for no times.
    """
    months = np.asarray(seconds, dtype=np.int64).astype("datetime64[s]").astype("datetime64[M]").astype(np.int64)
    if not len(months):
        return []
    if months.max() - months.min() < _MOST_MONTHS:
        bins, step = months - months.min(), 1
        first = months.min()
        labels = [f"{1970 + month // 12}-{month % 12 + 1:02}" for month in range(first, months.max() + 1)]
        return bars(labels, np.bincount(bins))
    years = 1970 + months // 12
    step = 1
    while years.max() // step - years.min() // step >= _MOST_YEARS:
        step *= 10
    bins = years // step
    labels = [_span(start * step, start * step + step - 1) for start in range(bins.min(), bins.max() + 1)]
    return bars(labels, np.bincount(bins - bins.min()))


def bars(labels: Sequence[str], counts: NDArray[np.integer]) -> list[str]:
    """Draw one bar per count, the longest 40 characters long; what is not zero gets at least one.

    Parameters
    ----------
    labels : sequence of str, length n
    counts : ndarray of int, shape (n,)
    """
    total, most = int(counts.sum()), int(counts.max(initial=0))
    wide = max(map(len, labels), default=0)
    lines = []
    for label, count in zip(labels, counts.tolist(), strict=True):
        bar = "#" * max(round(_WIDTH * count / most), 1) + " " if count else ""
        share = f" ({count / total:.1%})" if total else ""
        lines.append(f"{label:<{wide}}  {bar}{count:,}{share}")
    return lines


def _span(first: int, last: int) -> str:
    return f"{first}" if first == last else f"{first}-{last}"
