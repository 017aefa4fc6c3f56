"""Training batches of all families, drawn lazily.

Every prompt is drawn on its own: a template by the sampling numbers, then a row of the training data. No list of
prompts, or of rows with their templates, is ever made. Prompts come in batches that hold one kind of answers (ids,
short ones, texts) and about one length, so that little is padding. Some batches at a time, a pool, are drawn from a
generator seeded by (seed, number of the pool): a batch depends on the seed and its number alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, groupby
from operator import attrgetter
from typing import Any

import numpy as np

from bench.errors import UsageError
from bench.models import Training
from bench.tasks.explanations import training_triples
from llm_models.indexing.tokenizer import PAD
from llm_models.p5.families import Family, Prompt
from llm_models.p5.reviewed import Events, Explanations, Ratings, Reviews, of_pairs
from llm_models.p5.sequences import GROUPS, Direct, Interactions, Sequential, group_of
from llm_models.p5.settings import P5Settings, Sampling
from llm_models.p5.writer import Batch, Writer, available_fields, kind_of
from llm_models.prompts import PromptCollection, Template, words

__all__ = ["Mixture"]

#: Prompts drawn at once, and the fewest batches.
POOL_PROMPTS, POOL_BATCHES = 4096, 8
#: Fields that make an input many times longer.
LONG = frozenset({"candidates", "body", "history_titles"})
#: Family that is asked, never trained on.
ZERO_SHOT = "cross-domain"


@dataclass(frozen=True)
class _Entry:
    """A template with the prompts it has in a pass, and the kind of batch these go into."""

    family: str
    template: Template
    number: float

    @property
    def lane(self) -> tuple[str, ...]:
        """Prompts of one lane share batches."""
        return (kind_of(self.template), *sorted(self.template.fields & LONG))


class Mixture:
    """An endless, seeded draw of training prompts.

    Parameters
    ----------
    training : Training
        Every family is drawn from this alone.
    writer : Writer
        Its indexes hold the users and items of ``training``.
    prompts : PromptCollection
        Those seen in training are used, as far as the data can fill them in.
    settings : P5Settings
    seed : int

    Raises
    ------
    UsageError
        When no family is left to draw.
    MissingInputError
        When what finds explaining sentences is not installed.
    """

    def __init__(
        self, training: Training, writer: Writer, prompts: PromptCollection, settings: P5Settings, seed: int
    ) -> None:
        self.writer, self.settings, self.seed = writer, settings, seed
        self._pool_size = max(POOL_PROMPTS // settings.batch, POOL_BATCHES)
        self.left_out: dict[str, str] = {}
        self._drawn_from = "the protocol's pairs" if of_pairs(training) else "the training events"
        templates = self._templates(training, prompts)
        self.families = self._families(training, templates)
        self._entries = [entry for name in self.families for entry in self._numbered(name, settings.numbers)]
        if not self._entries:
            reasons = "; ".join(f"{name}: {reason}" for name, reason in self.left_out.items())
            raise UsageError(f"no prompt to train on ({reasons}): change `families`, `sampling` or `prompts`")
        lane = attrgetter("lane")
        self._lanes = [list(own) for _, own in groupby(sorted(self._entries, key=lane), key=lane)]

    @property
    def prompts_an_epoch(self) -> float:
        """Prompts in one pass over the training data, as the sampling numbers say."""
        return sum(entry.number for entry in self._entries)

    @property
    def steps_an_epoch(self) -> float:
        """Batches in one pass over the training data."""
        return self.prompts_an_epoch / self.settings.batch

    def batches(self, start: int = 0) -> Iterator[Batch]:
        """Draw batches from number ``start`` on; each depends on the seed and its number alone."""
        pool, skipped = divmod(start, self._pool_size)
        while True:
            yield from self._pool(pool)[skipped:]
            pool, skipped = pool + 1, 0

    def trained_words(self) -> frozenset[str]:
        """Words of the templates that are drawn from."""
        return frozenset().union(*(words(entry.template) for entry in self._entries))

    def describe(self) -> dict[str, Any]:
        """Say what is drawn.

        Returns
        -------
        dict
            ``prompts_an_epoch`` (float), ``ids`` (kinds), ``sampling``, ``ratings_and_reviews_from``, ``families``:
            name -> ``rows`` (as the sampling numbers count them), ``share`` of the prompts, ``templates`` (id ->
            share) and ``listed`` (id -> candidates shown); ``left_out``: family or template -> why.
        """
        total, numbers = self.prompts_an_epoch, self.settings.numbers
        families = {}
        for name, family in self.families.items():
            shares = {entry.template.id: entry.number / total for entry in self._entries if entry.family == name}
            listed = {name: count for name, count in getattr(family, "listed", {}).items() if name in shares}
            families[name] = {
                "rows": family.size(numbers.per),
                "share": sum(shares.values()),
                "templates": shares,
                **({"listed": listed} if listed else {}),
            }
        return {
            "prompts_an_epoch": total,
            "ids": {"users": self.writer.world.users.kind, "items": self.writer.world.items.kind},
            "sampling": numbers.model_dump(mode="json"),
            "ratings_and_reviews_from": self._drawn_from,
            "families": families,
            "left_out": self.left_out,
        }

    def _templates(self, training: Training, prompts: PromptCollection) -> dict[str, list[Template]]:
        """Templates to draw, by family; why others are not is noted."""
        if not self.settings.extra:
            prompts = prompts.without_extra()
        available = available_fields(self.writer.world, training)
        missing, usable = prompts.missing(available), prompts.usable(available)
        found: dict[str, list[Template]] = {}
        for family in sorted(set(self.settings.families or ()).difference(prompts.families)):
            self.left_out[family] = f"the prompts {prompts.name!r} have none of this family"
        for family in prompts.families:
            if family == ZERO_SHOT:
                continue
            if self.settings.families is not None and family not in self.settings.families:
                self.left_out[family] = "not among the setting `families`"
            elif getattr(self.settings.numbers, family) == 0:
                self.left_out[family] = "sampling number 0"
            elif family in missing:
                self.left_out[family] = missing[family]
            else:
                found[family] = list(usable.seen(family))
                for template in prompts.seen(family):
                    if template not in found[family]:
                        lacks = sorted((template.fields | template.target_fields) - available)
                        self.left_out[template.id] = f"the data lacks {', '.join(lacks)}"
        return found

    def _families(self, training: Training, templates: dict[str, list[Template]]) -> dict[str, Family]:
        """Make what draws each family."""
        writer, settings = self.writer, self.settings
        made: dict[str, Family] = {}
        if "rating" in templates:
            made["rating"] = Ratings(writer, templates["rating"], Events.rated(training, writer.world))
        if templates.keys() & {"sequential", "direct"}:
            interactions = Interactions.of(training, writer)
            for name, family in (("sequential", Sequential), ("direct", Direct)):
                if name in templates:
                    made[name] = family(writer, templates[name], interactions, settings)
        if templates.keys() & {"explanation", "review"}:
            events = Events.reviewed(training, writer.world)
            if "explanation" in templates:
                try:
                    triples = training_triples(training)
                except UsageError as error:
                    self.left_out["explanation"] = str(error)
                else:
                    made["explanation"] = Explanations(writer, templates["explanation"], events, triples)
            if "review" in templates:
                made["review"] = Reviews(writer, templates["review"], events)
        for name, family in list(made.items()):
            for template in set(templates[name]) - set(family.templates):
                self.left_out[template.id] = "no row of the training data can fill it in, or none within `max_input`"
            if not family.templates:
                self.left_out[name] = "the training data has no row for it"
                del made[name]
        return made

    def _numbered(self, name: str, numbers: Sampling) -> Iterator[_Entry]:
        """Divide the prompts of a family among its templates."""
        family, number = self.families[name], getattr(numbers, name)
        rows, groups = family.size(numbers.per), GROUPS.get(name, ())
        if not isinstance(number, tuple):
            for template in family.templates:
                yield _Entry(name, template, rows * number / len(family.templates))
            return
        for group, own_number in zip(groups, number, strict=True):
            own = [template for template in family.templates if group_of(template) == group]
            if own_number > 0 and not own:
                self.left_out[f"{name} ({group})"] = "no such template can be filled in"
            for template in own:
                if own_number > 0:
                    yield _Entry(name, template, rows * own_number / len(own))
                else:
                    self.left_out[template.id] = "sampling number 0"

    def _pool(self, number: int) -> list[Batch]:
        """Draw so many batches, each lane as often as its share of the prompts says, up to rounding by chance."""
        generator = np.random.default_rng([self.seed, 5, number])
        weights = np.cumsum([sum(entry.number for entry in lane) for lane in self._lanes])
        places = (generator.random() + np.arange(self._pool_size)) / self._pool_size * weights[-1]
        lanes, counts = np.unique(np.searchsorted(weights[:-1], places, side="right"), return_counts=True)
        batches: list[Batch] = []
        for lane, count in zip(lanes.tolist(), counts.tolist(), strict=True):
            batches += self._batched(self._draw(generator, self._lanes[lane], count * self.settings.batch))
        return [batches[place] for place in generator.permutation(self._pool_size).tolist()]

    def _draw(self, generator: np.random.Generator, entries: list[_Entry], number: int) -> dict[str, list[Prompt]]:
        """Draw prompts of one lane, by family."""
        weights = np.cumsum([entry.number for entry in entries])
        chosen = np.searchsorted(weights[:-1], generator.random(number) * weights[-1], side="right")
        templates = groupby((entries[place] for place in np.sort(chosen).tolist()), key=attrgetter("family"))
        return {name: self.families[name].draw(generator, [entry.template for entry in own]) for name, own in templates}

    def _batched(self, drawn: dict[str, list[Prompt]]) -> Iterator[Batch]:
        """Put prompts of about one length into one batch."""
        texts, answers = zip(*chain.from_iterable(drawn.values()), strict=True)
        names = list(self.families)
        family = np.repeat([names.index(name) for name in drawn], [len(own) for own in drawn.values()])
        ids, words = self.writer.encode(texts)
        lengths = (ids != PAD).sum(1)
        asked = np.array([sum(map(len, own)) for own in answers])
        order = np.argsort(lengths + 2 * asked, kind="stable")
        for rows in order.reshape(-1, self.settings.batch):
            width = lengths[rows].max()
            labels = self.writer.labels([answers[row] for row in rows.tolist()])
            yield Batch(ids[rows, :width], words[rows, :width], labels, family[rows])
