"""Loading prompt collections, with errors that say where the file is wrong.

A collection of one's own is a YAML file with any of the families, each with at least one seen template::

    version: 1
    families:
      sequential:
        seen:
          - id: after
            input: "after {history} the listener {user} plays"
            target: "{item}"
          - id: stranger
            input: "a new listener played {history} , and then ?"
            target: "{item}"
        held_out:
          id: next
          input: "what does {user} play after {history} ?"
          target: "{item}"
        paraphrases:
          - id: after-1
            of: after
            distance: word
            input: "after {history} the subscriber {user} plays"
      rating:
        seen:
          - id: stars
            input: "how many stars does {user} give to {title} ?"
            target: "{star}"

``held_out`` and ``paraphrases`` may be missing. A paraphrase has the target of the seen template it varies (``of``) and
shows the same fields; ``distance`` is ``word`` (words are exchanged), ``structure`` (another order or kind of sentence)
or ``register`` (casual, formal, telegraphic ...). A seen template with ``extra: true`` has no counterpart in the
original's collection. Which fields there are, and which a family may show, is in :mod:`llm_models.prompts.families`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import yaml

from bench.errors import UsageError, nearest
from llm_models.prompts.collection import VERSION, Group, PromptCollection, Template, fields_of, make_collection
from llm_models.prompts.families import FAMILIES, FIELDS, ID_FIELDS

__all__ = ["load_prompts", "shipped"]

FOLDER = Path(__file__).parent
DISTANCES = get_args(Group)[2:]


def shipped() -> tuple[str, ...]:
    """Names of the collections that come with the package."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.yaml")))


def load_prompts(name_or_path: str | Path) -> PromptCollection:
    """Read a collection: one that comes with the package, by name, or a file.

    Raises
    ------
    UsageError
        For an unknown name, and for anything wrong in a file; the message names the file, the line and the template.
    """
    if name_or_path in shipped():
        return _Reader(FOLDER / f"{name_or_path}.yaml").read()
    path = Path(name_or_path).expanduser()
    if path.is_file():
        return _Reader(path).read()
    if path.suffix in {".yaml", ".yml"}:
        raise UsageError(f"{path}: no such file of prompts")
    raise UsageError(f"{nearest('prompt collection', str(name_or_path), shipped())}; or a YAML file of your own")


@dataclass
class _Reader:
    """One file being read.

    Attributes
    ----------
    templates : dict of str to Template
        Those read so far, by id.
    texts : dict of str to str
        Their inputs, without regard to case and spaces, to ids.
    """

    path: Path
    templates: dict[str, Template] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)

    def read(self) -> PromptCollection:
        try:
            root = yaml.compose(self.path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise UsageError(f"{self.path}: not valid YAML: {error}") from error
        top = self._mapping(root, "the file", {"version", "families"})
        version = self._text(top["version"], "'version'")
        if version != str(VERSION):
            raise self._error(top["version"], f"version {version!r} of prompt files is not known, only {VERSION}")
        families = self._mapping(top["families"], "families", set(), set(FAMILIES))
        if not families:
            raise self._error(top["families"], "families: there is none")
        for family in FAMILIES:
            if family in families:
                self._family(families[family], family)
        return make_collection(self.path.stem, self.templates.values())

    def _family(self, node: yaml.Node, family: str) -> None:
        parts = self._mapping(node, f"family {family!r}", {"seen"}, {"held_out", "paraphrases"})
        for child in self._list(parts["seen"], f"family {family!r}: 'seen'"):
            self._own(child, family, "seen")
        if "held_out" in parts:
            self._own(parts["held_out"], family, "held-out")
        if "paraphrases" in parts:
            for child in self._list(parts["paraphrases"], f"family {family!r}: 'paraphrases'"):
                self._paraphrase(child, family)

    def _own(self, node: yaml.Node, family: str, group: Group) -> None:
        """Read a template that is no paraphrase."""
        parts = self._mapping(
            node, f"a {group} template", {"id", "input", "target"}, {"extra"} if group == "seen" else frozenset()
        )
        name = self._id(parts["id"])
        text, target = (self._text(parts[key], f"template {name!r}: {key!r}") for key in ("input", "target"))
        extra = self._text(parts["extra"], f"template {name!r}: 'extra'") if "extra" in parts else "false"
        if extra not in {"true", "false"}:
            raise self._error(parts["extra"], f"template {name!r}: 'extra' must be true or false, not {extra!r}")
        target = " ".join(target.split())
        asked = self._fields(parts["target"], name)
        if target not in FAMILIES[family]:
            known = " or ".join(map(repr, FAMILIES[family]))
            raise self._error(parts["target"], f"template {name!r}: a {family} target is {known}, not {target!r}")
        shown = self._fields(parts["input"], name)
        question = FAMILIES[family][target]
        for unwanted in sorted(shown - question.fields):
            why = "is what it asks for" if unwanted in asked else f"is not given with the target {target!r}"
            raise self._error(
                parts["input"],
                f"template {name!r}: the field {{{unwanted}}} {why} in the family {family!r}; "
                f"it may show {_listed(question.fields)}",
            )
        for needed in question.needs:
            if not needed & shown:
                raise self._error(parts["input"], f"template {name!r}: the field {_listed(needed, ' or ')} is missing")
        self._add(parts["input"], Template(name, family, text, target, group, extra=extra == "true"))

    def _paraphrase(self, node: yaml.Node, family: str) -> None:
        parts = self._mapping(node, "a paraphrase", {"id", "of", "distance", "input"})
        name = self._id(parts["id"])
        of, distance, text = (
            self._text(parts[key], f"template {name!r}: {key!r}") for key in ("of", "distance", "input")
        )
        seen = [t.id for t in self.templates.values() if t.family == family and t.group == "seen"]
        if of not in seen:
            unknown = nearest(f"seen template of the family {family!r}", of, seen)
            raise self._error(parts["of"], f"template {name!r}: {unknown}")
        if distance not in DISTANCES:
            raise self._error(parts["distance"], f"template {name!r}: {nearest('distance', distance, DISTANCES)}")
        original = self.templates[of]
        shown = self._fields(parts["input"], name)
        if shown != original.fields:
            raise self._error(
                parts["input"],
                f"template {name!r}: shows {_listed(shown)}, but {of!r}, which it varies, {_listed(original.fields)}",
            )
        self._add(parts["input"], Template(name, family, text, original.target, distance, of))

    def _add(self, node: yaml.Node, template: Template) -> None:
        text = " ".join(template.input.lower().split())
        if twin := self.texts.get(text):
            raise self._error(node, f"template {template.id!r}: has the same text as {twin!r}")
        self.texts[text] = template.id
        self.templates[template.id] = template

    def _id(self, node: yaml.Node) -> str:
        name = self._text(node, "a template: 'id'")
        if name in self.templates:
            raise self._error(node, f"template {name!r} occurs twice")
        return name

    def _fields(self, node: yaml.Node, name: str) -> frozenset[str]:
        """Names of the fields in a text, all of them known and ids between spaces."""
        try:
            fields = fields_of(node.value)
        except ValueError as error:
            raise self._error(node, f"template {name!r}: {error}") from error
        for unknown in sorted(fields - set(FIELDS)):
            close = difflib.get_close_matches(unknown, FIELDS, n=1, cutoff=0.5)
            hint = f"did you mean {{{close[0]}}}? " if close else ""
            raise self._error(node, f"template {name!r}: unknown field {{{unknown}}}: {hint}known: {_listed(FIELDS)}")
        apart = node.value.split()
        for joined in sorted(fields & ID_FIELDS):
            if any(f"{{{joined}}}" in word and word != f"{{{joined}}}" for word in apart):
                raise self._error(
                    node, f"template {name!r}: {{{joined}}} must stand between spaces, so that an id is a word"
                )
        return fields

    def _mapping(
        self, node: yaml.Node | None, what: str, required: Set[str], optional: Set[str] = frozenset()
    ) -> dict[str, Any]:
        """Value nodes of a mapping that must hold ``required`` and may hold ``optional``."""
        known = ", ".join(sorted(required | optional))
        if not isinstance(node, yaml.MappingNode):
            raise self._error(node, f"{what} must be a mapping with {known}")
        found: dict[str, Any] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.value not in required | optional:
                raise self._error(key, f"{what}: unknown key {key.value!r}, known: {known}")
            if key.value in found:
                raise self._error(key, f"{what}: {key.value!r} occurs twice")
            found[key.value] = value
        for name in sorted(required - set(found)):
            raise self._error(node, f"{what}: {name!r} is missing")
        return found

    def _list(self, node: yaml.Node, what: str) -> list[yaml.Node]:
        if not isinstance(node, yaml.SequenceNode) or not node.value:
            raise self._error(node, f"{what} must be a list of templates")
        return node.value

    def _text(self, node: yaml.Node, what: str) -> str:
        if not isinstance(node, yaml.ScalarNode) or not node.value.strip():
            raise self._error(node, f"{what} must be text")
        return node.value

    def _error(self, node: yaml.Node | None, what: str) -> UsageError:
        line = 1 if node is None else node.start_mark.line + 1
        return UsageError(f"{self.path}, line {line}: {what}")


def _listed(fields: Iterable[str], separator: str = ", ") -> str:
    return separator.join(f"{{{name}}}" for name in sorted(fields))
