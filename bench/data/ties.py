"""How much of the order of events is known: the share that happened in the same second, or on the same day."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bench.data.events import CodedEvents

__all__ = ["DAY_S", "TieStatistics", "tie_statistics"]

DAY_S = 86_400


@dataclass(frozen=True)
class TieStatistics:
    """Shares, from 0 to 1, of what is tied in time within a user.

    Attributes
    ----------
    users_last_two : float
        Of the users with two events or more, those whose last two carry the same time: which of the two is the test
        event of leave-one-out is then a matter of chance.
    events : float
        Of all events, those that share their time with another event of the same user.
    """

    users_last_two: float
    events: float


def tie_statistics(events: CodedEvents, *, within_s: int = 1) -> TieStatistics | None:
    """Measure the ties of events; None when they have no times.

    Parameters
    ----------
    events : CodedEvents
        With ``time``.
    within_s : int
        Times count as the same when they lie in the same stretch of so many seconds: 1, or ``DAY_S`` for a UTC day
        (many sources know the day only, and some invent the hour).
    """
    if events.rest["time"].null_count() == len(events):
        return None
    user, time = events.user, events.rest["time"].to_numpy() // within_s
    new = np.append(True, user[1:] != user[:-1])
    if new.sum() > len(events.users) or (np.diff(time)[~new[1:]] < 0).any():
        order = np.lexsort((time, user))
        user, time = user[order], time[order]
        new = np.append(True, user[1:] != user[:-1])
    like_last = ~new & np.append(False, time[1:] == time[:-1])
    tied = like_last | np.append(like_last[1:], False)
    ends = np.append(new[1:], True)
    several = ends & ~new
    last_two = like_last[several].mean() if several.any() else 0.0
    return TieStatistics(float(last_two), float(tied.mean()))
