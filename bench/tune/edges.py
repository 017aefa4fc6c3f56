"""Whether the best value found lies where a wider range might hold a better one."""

from __future__ import annotations

import math
from collections.abc import Mapping

from pydantic import ValidationError

from bench.models import Settings
from bench.models.presets import Dimension, Value

__all__ = ["at_edge"]

NEAR = 0.02
"""This share of a continuous range, at either end, is its edge."""


def at_edge(schema: type[Settings], space: Mapping[str, Dimension], settings: Mapping[str, Value]) -> tuple[str, ...]:
    """Names of the settings at an end of their range, or beyond it.

    An end that the model's ``Settings`` set (a dropout of 0) is none, nor is one of choices without an order.
    """
    return tuple(name for name, value in settings.items() if _at_edge(schema, name, space[name], value))


def _at_edge(schema: type[Settings], name: str, dimension: Dimension, value: Value) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    if dimension.choices is not None:
        numbers = [one for one in dimension.choices if isinstance(one, int | float) and not isinstance(one, bool)]
        if len(numbers) < 3:
            return False
        low, high = min(numbers), max(numbers)
    else:
        low, high = map(int, dimension.ends) if dimension.whole else dimension.ends
    place = _share(value, low, high, log=dimension.log)
    margin = NEAR if math.isinf(dimension.size) else 1e-9
    return (place <= margin and _goes_on(schema, name, low, low - high)) or (
        place >= 1 - margin and _goes_on(schema, name, high, high - low)
    )


def _share(value: float, low: float, high: float, *, log: bool) -> float:
    """How far between the ends: 0 is ``low``, 1 is ``high``."""
    if log:
        if value <= 0:
            return 0.0
        value, low, high = math.log(value), math.log(low), math.log(high)
    return (value - low) / (high - low)


def _goes_on(schema: type[Settings], name: str, end: float, span: float) -> bool:
    """Whether the model takes a value a little beyond the end, in the direction of ``span``."""
    little = 1.0 if isinstance(end, int) else 1e-3 * (min(abs(end), abs(span)) or abs(span))
    beyond = end + math.copysign(little, span)
    try:
        schema.model_validate({name: int(beyond) if isinstance(end, int) else beyond})
    except ValidationError:
        return False
    return True
