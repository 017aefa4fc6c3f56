"""What is known of an item, as the metadata of shops writes it: names, paths of categories, prices, descriptions."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import polars as pl

from bench.data.readers import text
from bench.data.readers.fields import Field, Identity, shown, whole_text

__all__ = ["Categories", "Description", "Name", "Price", "product_fields"]

_PRICE = re.compile(r"\$?([0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(\.[0-9]+)?")


class Name(Field):
    """A title or a brand, tidied (``text.title``); null where there is none."""

    def _value(self, raw: object) -> str | None:
        return None if raw is None else text.title(_text(self, raw, f"{self.name} is not a text"))


@dataclass(frozen=True)
class Categories(Field):
    """Names of categories: one path from the root, a list of paths, or (``separator``) a text.

    The root is left out where the path goes on; names are tidied, and each comes once.

    Attributes
    ----------
    separator : str or None
        Between the names of a text; they are then no path, and none is left out.
    """

    dtype = pl.List(pl.String)
    separator: str | None = None

    def _value(self, raw: object) -> list[str] | None:
        return text.categories(self._names(raw))

    def _names(self, raw: object) -> Iterator[str]:
        reason = "categories are not names"
        if isinstance(raw, str):
            yield from whole_text(self, raw).split(self.separator) if self.separator is not None else [raw]
        elif isinstance(raw, list):
            paths = raw if any(isinstance(entry, list) for entry in raw) else [raw]
            for path in paths:
                if not isinstance(path, list):
                    raise self.wrong(reason, f"{shown(path)} stands among paths of names")
                names = [_text(self, name, reason) for name in path]
                yield from names[1:] if len(names) > 1 and self.separator is None else names
        elif raw is not None:
            raise self.wrong(reason, f"{shown(raw)} is neither a list of names nor of paths of names")


class Price(Field):
    """A number, or a text of one, with or without ``$``; null for every other text (ranges, what is left of a page)."""

    dtype = pl.Float32

    def _value(self, raw: object) -> float | None:
        if raw is None:
            return None
        if isinstance(raw, bool) or not isinstance(raw, int | float | str):
            raise self.wrong("price is not a number or a text", f"{shown(raw)} is neither a number nor a text")
        if isinstance(raw, str):
            plain = _PRICE.fullmatch(raw.strip())
            if plain is None or len(raw) > 30:
                return None
            raw = float(plain[1].replace(",", "") + (plain[2] or ""))
        try:
            single: float = struct.unpack("f", struct.pack("f", raw))[0]
        except OverflowError:
            return None
        return single if single - single == 0 else None  # neither NaN nor infinite


class Description(Field):
    """One text or a list of them, joined by a space, tidied; null where there is none."""

    def _value(self, raw: object) -> str | None:
        parts = raw if isinstance(raw, list) else [] if raw is None else [raw]
        return text.title(" ".join(_text(self, part, "description is not a text") for part in parts))


def product_fields(
    key: Mapping[str, str], *, title: type[Name] = Name, path: type[Categories] = Categories
) -> list[Field]:
    """Make the columns of products; ``title`` and ``path`` say how the file writes names and paths of categories."""
    return [
        Identity("item_id", key["item"]),
        title("title", key["title"]),
        path("categories", key["categories"]),
        Name("brand", key["brand"]),
        Price("price", key["price"]),
        Description("description", key["description"]),
    ]


def _text(field: Field, raw: object, reason: str) -> str:
    if not isinstance(raw, str):
        raise field.wrong(reason, f"{shown(raw)} is not a text")
    return whole_text(field, raw)
