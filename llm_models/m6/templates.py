"""Items and users as text: the templates in ``templates.yaml``, checked when read. Nothing ever shows an id."""

from __future__ import annotations

import hashlib
import html
import json
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from string import Formatter

import polars as pl
import yaml
from pydantic import BaseModel, ConfigDict, field_validator

from bench.errors import nearest

__all__ = ["Template", "load_template", "template_names"]


class Template(BaseModel):
    """How an item and a user are written.

    Attributes
    ----------
    item : tuple of str
        Parts of an item's text with fields in braces; a part is used only where the item has all its fields.
    user : str
        A user's text around ``{items}``.
    separator : str
        Stands between the items of a user's text.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    item: tuple[str, ...]
    user: str
    separator: str

    @field_validator("item")
    @classmethod
    def _fields_are_no_ids(cls, parts: tuple[str, ...]) -> tuple[str, ...]:
        if not parts:
            raise ValueError("an item needs at least one part")
        for part in parts:
            names = _fields(part)
            if not names:
                raise ValueError(f"{part!r} names no field")
            for name in names:
                if name in {"item", "user", "id"} or name.endswith("_id"):
                    raise ValueError(f"{part!r} would show the id {name!r}: a template writes text only")
        return parts

    @field_validator("user")
    @classmethod
    def _user_holds_items(cls, text: str) -> str:
        if _fields(text) != ["items"]:
            raise ValueError(f"{text!r} must hold {{items}} once and no other field")
        return text

    @property
    def digest(self) -> str:
        """sha256 of the template's content."""
        return hashlib.sha256(json.dumps(self.model_dump(), sort_keys=True).encode()).hexdigest()

    def write_items(self, rows: pl.DataFrame) -> list[str]:
        """Write every item of a text table (columns as in ``Catalogue.text``); empty where it has no field used."""
        wanted = {name: _column(rows, name) for part in self.item for name in _fields(part) if name in rows.columns}
        texts = []
        for row in range(len(rows)):
            fields = {name: values[row] for name, values in wanted.items() if values[row]}
            parts = [part.format(**fields) for part in self.item if all(name in fields for name in _fields(part))]
            texts.append(" ".join(parts))
        return texts

    def write_user(self, items: Iterable[str]) -> str:
        """Write a user from the texts of the items they chose, given newest first."""
        return self.user.format(items=self.separator.join(items))


@cache
def _fields(part: str) -> list[str]:
    """Field names of a format string; only plain names are allowed."""
    names = []
    for _, name, spec, conversion in Formatter().parse(part):
        if name is None:
            continue
        if not name.isidentifier() or spec or conversion:
            raise ValueError(f"{part!r}: {{{name}}} is not a plain field name")
        names.append(name)
    return names


def _column(rows: pl.DataFrame, name: str) -> list[str]:
    """A column as tidy strings, lists joined by commas, empty where null."""
    return [_tidy(value) for value in rows[name].to_list()]


def _tidy(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        return ", ".join(filter(None, (_tidy(part) for part in value)))
    return " ".join(html.unescape(str(value)).split())


@cache
def _templates() -> dict[str, Template]:
    raw = yaml.safe_load(files(__package__).joinpath("templates.yaml").read_text(encoding="utf-8"))
    return {name: Template.model_validate(content) for name, content in raw.items()}


def template_names() -> list[str]:
    """Names of the shipped templates."""
    return list(_templates())


def load_template(name: str) -> Template:
    """The shipped template of that name.

    Raises
    ------
    UsageError
        For an unknown name; suggests the nearest.
    """
    if name not in _templates():
        raise nearest("template", name, _templates())
    return _templates()[name]
