"""Prompt templates, and the collections they come in."""

from __future__ import annotations

import hashlib
import json
import string
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from bench.errors import UsageError, nearest
from llm_models.prompts.families import ALWAYS, FAMILIES, FIELDS, FOLLOWS

__all__ = ["VERSION", "Group", "PromptCollection", "Template", "fields_of", "make_collection", "words"]

#: The version of the files; part of every digest.
VERSION = 1

#: ``seen`` is trained on, ``held-out`` is the family's one template that is not; the others are paraphrases of seen
#: templates, by what they change: words, structure or register.
Group = Literal["seen", "held-out", "word", "structure", "register"]


@dataclass(frozen=True)
class Template:
    """One prompt.

    Attributes
    ----------
    id : str
        Unique in its collection.
    family : str
    input, target : str
        Text with fields in braces (:data:`llm_models.prompts.FIELDS`).
    group : str
    of : str or None
        Id of the seen template that a paraphrase varies.
    extra : bool
        Whether it is trained on in addition to the original's templates.
    """

    id: str
    family: str
    input: str
    target: str
    group: Group
    of: str | None = None
    extra: bool = False

    @cached_property
    def fields(self) -> frozenset[str]:
        """Names of the input's fields."""
        return fields_of(self.input)

    @cached_property
    def target_fields(self) -> frozenset[str]:
        """Names of the target's fields."""
        return fields_of(self.target)

    def render(self, **fields: str) -> str:
        """Fill in the input; fields it does not show are ignored.

        Raises
        ------
        UsageError
            When a field is not given.
        """
        return self._fill(self.input, fields)

    def render_target(self, **fields: str) -> str:
        """Fill in the target, like :meth:`render`."""
        return self._fill(self.target, fields)

    def _fill(self, text: str, fields: Mapping[str, str]) -> str:
        try:
            return text.format_map(fields)
        except KeyError as error:
            raise UsageError(f"prompt {self.id!r} shows {{{error.args[0]}}}, which was not given") from error


@dataclass(frozen=True)
class PromptCollection:
    """The templates of all families.

    Attributes
    ----------
    name : str
        That of the file, without folder and ending.
    templates : tuple of Template
        Family by family; in a family the seen ones first, then the held-out one, then the paraphrases.
    digest : str
        Hash of the content; comments, layout and name of the file do not matter.
    """

    name: str
    templates: tuple[Template, ...]
    digest: str

    @property
    def families(self) -> tuple[str, ...]:
        """Families with templates, in the order of :data:`llm_models.prompts.FAMILIES`."""
        return tuple(family for family in FAMILIES if any(t.family == family for t in self.templates))

    def seen(self, family: str) -> tuple[Template, ...]:
        """Return the templates to train on; none where the collection lacks the family."""
        return tuple(t for t in self.templates if t.family == family and t.group == "seen")

    def held_out(self, family: str) -> Template:
        """Return the family's template that is never trained on.

        Raises
        ------
        UsageError
            When the collection holds none out.
        """
        for template in self.templates:
            if template.family == family and template.group == "held-out":
                return template
        raise UsageError(
            f"the prompts {self.name!r} hold no template of the family {family!r} out: give one as `held_out`, "
            "or ask with a seen one"
        )

    def paraphrases(self, family: str) -> tuple[Template, ...]:
        """Return the paraphrases of the family's seen templates, never trained on either."""
        return tuple(t for t in self.templates if t.family == family and t.of is not None)

    def template(self, name: str) -> Template:
        """Find a template by its id.

        Raises
        ------
        UsageError
            When there is none; names the nearest.
        """
        for template in self.templates:
            if template.id == name:
                return template
        raise nearest(f"prompt of {self.name!r}", name, [t.id for t in self.templates])

    def without_extra(self) -> PromptCollection:
        """Leave out the templates that the original has no counterpart of, and paraphrases of them.

        A family all of whose seen templates are extra is gone.
        """
        extra = {t.id for t in self.templates if t.extra}
        kept = {t.family for t in self.templates if t.group == "seen" and not t.extra}
        return make_collection(
            self.name,
            [t for t in self.templates if t.family in kept and t.id not in extra and t.of not in extra],
        )

    def usable(self, available: Iterable[str]) -> PromptCollection:
        """Keep the templates that can be filled in.

        Parameters
        ----------
        available : iterable of str
            Fields of inputs and targets that the data has. Those of
            :data:`llm_models.prompts.families.ALWAYS` go without saying, ``like`` follows from ``star`` and
            ``history_titles`` from ``title``.

        Returns
        -------
        PromptCollection
            A family that loses all its seen templates is gone; :meth:`missing` says why.
        """
        have = ALWAYS.union(available)
        gone = self.missing(have)
        return make_collection(
            self.name, [t for t in self.templates if t.family not in gone and not _source_fields(t) - have]
        )

    def missing(self, available: Iterable[str]) -> dict[str, str]:
        """Say of each family that :meth:`usable` drops, in a sentence, what the data lacks for it."""
        have = ALWAYS.union(available)
        gone = {}
        for family in self.families:
            lacks = [_source_fields(template) - have for template in self.seen(family)]
            if all(lacks):
                common = frozenset.intersection(*lacks)
                fields = [f"{{{name}}} ({FIELDS[name]})" for name in sorted(common or frozenset().union(*lacks))]
                how = "all of them need" if common else "each of them needs one or more of"
                gone[family] = (
                    f"the {family} prompts of {self.name!r} cannot be filled in: {how} {' and '.join(fields)}, "
                    "which the data does not have"
                )
        return gone


def make_collection(name: str, templates: Iterable[Template]) -> PromptCollection:
    """Make a collection of checked templates, and its digest."""
    templates = tuple(templates)
    content = [[t.id, t.family, t.input, t.target, t.group, t.of, t.extra] for t in templates]
    digest = hashlib.sha256(json.dumps([VERSION, content]).encode()).hexdigest()
    return PromptCollection(name, templates, digest)


def words(template: Template) -> frozenset[str]:
    """Words of the input that every request shares: what stands between spaces or fields, marks included."""
    parts = string.Formatter().parse(template.input)
    return frozenset("".join(text + (" " if name is not None else "") for text, name, *_ in parts).split())


def fields_of(text: str) -> frozenset[str]:
    """Names of the fields in a format string.

    Raises
    ------
    ValueError
        When braces do not match, or a field is formatted (``{star:.1f}``, ``{user!r}``).
    """
    names = set()
    for _, name, format_spec, conversion in string.Formatter().parse(text):
        if name is not None:
            if format_spec or conversion:
                raise ValueError(f"the field {{{name}}} must stand alone in its braces")
            names.add(name)
    return frozenset(names)


def _source_fields(template: Template) -> frozenset[str]:
    """Fields that data must have for the input and the target."""
    return frozenset(FOLLOWS.get(name, name) for name in template.fields | template.target_fields)
