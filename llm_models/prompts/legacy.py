"""Loading prompt templates, with errors that say where the file is wrong."""

from __future__ import annotations

import hashlib
import json
import string
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from bench.errors import UsageError

__all__ = ["PromptCollection", "Template", "load_prompts"]

#: What an input may show and must show, by family; a target is always the item asked for.
ALLOWED = {"sequential": frozenset({"user", "history"}), "direct": frozenset({"user"})}
REQUIRED = {"sequential": frozenset({"history"}), "direct": frozenset({"user"})}


@dataclass(frozen=True)
class Template:
    """One prompt.

    Attributes
    ----------
    id : str
        Unique in its collection.
    input, target : str
        Text with ``{user}``, ``{history}`` (input) and ``{target}`` (target).
    """

    id: str
    input: str
    target: str

    @property
    def names_user(self) -> bool:
        """Whether the input holds the user's id."""
        return "user" in _fields(self.input)

    def render(self, *, user: str = "", history: str = "") -> str:
        """Fill in the input."""
        return self.input.format(user=user, history=history)


@dataclass(frozen=True)
class PromptCollection:
    """All templates of a model.

    Attributes
    ----------
    seen : dict of str to tuple of Template
        By family, the templates trained on; the first answers by default.
    unseen : dict of str to Template
        By family, the one held out.
    digest : str
        Hash of the content (comments and layout of the file do not matter).
    """

    seen: dict[str, tuple[Template, ...]]
    unseen: dict[str, Template]
    digest: str

    def answering(self, family: str, which: str) -> Template:
        """Return the template that asks at inference: ``which`` is ``"seen"`` or ``"unseen"``."""
        return self.unseen[family] if which == "unseen" else self.seen[family][0]

    @property
    def nameless(self) -> Template:
        """The first sequential template seen in training that names no user: it serves users never seen."""
        return next(template for template in self.seen["sequential"] if not template.names_user)


@cache
def load_prompts(path: Path) -> PromptCollection:
    """Read a collection.

    Raises
    ------
    UsageError
        For anything wrong in the file; the message names the file, the line and the template.
    """
    try:
        root = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise UsageError(f"{path}: not valid YAML: {error}") from error
    top = _mapping(path, root, "the file", {"version", "families"})
    families = _mapping(path, top["families"], "families", set(ALLOWED))
    seen: dict[str, tuple[Template, ...]] = {}
    unseen: dict[str, Template] = {}
    ids: set[str] = set()
    for family in ALLOWED:
        parts = _mapping(path, families[family], f"family {family!r}", {"seen", "unseen"})
        if not isinstance(parts["seen"], yaml.SequenceNode) or not parts["seen"].value:
            raise _error(path, parts["seen"], f"family {family!r}: 'seen' must be a list of templates")
        seen[family] = tuple(_template(path, node, family, ids) for node in parts["seen"].value)
        unseen[family] = _template(path, parts["unseen"], family, ids)
    if all(template.names_user for template in seen["sequential"]):
        raise _error(path, families["sequential"], "family 'sequential': no seen template without {user}")
    content = {f: [[vars(t) for t in seen[f]], vars(unseen[f])] for f in ALLOWED}
    version = top["version"].value
    digest = hashlib.sha256(json.dumps([version, content], sort_keys=True).encode()).hexdigest()
    return PromptCollection(seen, unseen, digest)


def _template(path: Path, node: yaml.Node, family: str, ids: set[str]) -> Template:
    parts = _mapping(path, node, "a template", {"id", "input", "target"})
    for name, value in parts.items():
        if not isinstance(value, yaml.ScalarNode):
            raise _error(path, value, f"template: {name!r} must be text")
    template = Template(**{name: value.value for name, value in parts.items()})
    if template.id in ids:
        raise _error(path, parts["id"], f"template {template.id!r} occurs twice")
    ids.add(template.id)
    _check_fields(path, parts["input"], template.id, ALLOWED[family], REQUIRED[family])
    _check_fields(path, parts["target"], template.id, frozenset({"target"}), frozenset({"target"}))
    return template


def _check_fields(path: Path, node: yaml.Node, name: str, allowed: frozenset[str], required: frozenset[str]) -> None:
    try:
        fields = _fields(node.value)
    except ValueError as error:
        raise _error(path, node, f"template {name!r}: {error}") from error
    for field in sorted(fields - allowed):
        known = ", ".join(f"{{{f}}}" for f in sorted(allowed))
        raise _error(path, node, f"template {name!r}: unknown field {{{field}}}, known here: {known}")
    for field in sorted(required - fields):
        raise _error(path, node, f"template {name!r}: the field {{{field}}} is missing")


def _fields(text: str) -> frozenset[str]:
    """Names of the fields in a format string."""
    return frozenset(field for _, field, _, _ in string.Formatter().parse(text) if field is not None)


def _mapping(path: Path, node: yaml.Node | None, what: str, keys: set[str]) -> dict[str, Any]:
    """Return the value nodes of a mapping that must hold exactly ``keys``."""
    if not isinstance(node, yaml.MappingNode):
        raise _error(path, node, f"{what} must be a mapping with {', '.join(sorted(keys))}")
    found = {key.value: value for key, value in node.value}
    for key, _ in node.value:
        if key.value not in keys:
            raise _error(path, key, f"{what}: unknown key {key.value!r}, known: {', '.join(sorted(keys))}")
    for name in sorted(keys - set(found)):
        raise _error(path, node, f"{what}: {name!r} is missing")
    return found


def _error(path: Path, node: yaml.Node | None, what: str) -> UsageError:
    line = 1 if node is None else node.start_mark.line + 1
    return UsageError(f"{path}, line {line}: {what}")
