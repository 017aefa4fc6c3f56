"""A trained P5 at work: requests to prompts, answers to lists, numbers and texts."""

from __future__ import annotations

from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from bench.models import Ragged, RankedLists, Requests
from bench.tasks import Catalogue
from llm_models.decoding import Trie
from llm_models.p5.asking import abilities, templates_for
from llm_models.p5.families import star_text
from llm_models.p5.known import Meetings, answer_trie
from llm_models.p5.network import P5Network
from llm_models.p5.phrasing import Phrasing
from llm_models.p5.settings import P5Settings
from llm_models.p5.speaking import Speaker
from llm_models.p5.writer import Writer
from llm_models.prompts import PromptCollection, Template

__all__ = ["Engine"]

#: Prompts about one item each that are made at a time.
PAIRS = 2**17
#: Requests of a set of preferences or headlines that the original scores.
ORIGINAL_ROWS = 816
#: Tokens that a number of stars may take when it is written freely.
STAR_TOKENS = 8


class Engine:
    """A network with the prompts that ask it and the words it answers in.

    Parameters
    ----------
    network : P5Network
    writer : Writer
    prompts : PromptCollection
        Those that the data can fill in.
    settings : P5Settings
    stars : tuple of float
        The ratings there are, ascending; empty where the data has none.
    """

    def __init__(
        self,
        network: P5Network,
        writer: Writer,
        prompts: PromptCollection,
        settings: P5Settings,
        stars: tuple[float, ...],
    ) -> None:
        self.network = network
        self.writer = writer
        self.prompts = prompts
        self.settings = settings
        self.stars = stars
        self._able = abilities(settings)
        self._meetings = Meetings(writer)
        self._speaker = Speaker(network, writer, settings)
        self._answered: WeakKeyDictionary[Catalogue, int] = WeakKeyDictionary()

    def phrase(self, requests: Requests) -> tuple[Phrasing, list[tuple[Template, NDArray[np.int64]]]]:
        """Put requests into words, and find the template that asks each."""
        phrasing = Phrasing(
            requests,
            self._meetings.meet(requests.text),
            max_history=self.settings.max_history,
            new_users=self._able.cold_users is not None,
            new_items=self._able.cold_items is not None,
        )
        return phrasing, phrasing.choose(templates_for(requests.task, self.prompts, self.settings))

    def rank(self, requests: Requests, k: int, exclude: Ragged) -> RankedLists:
        """List the best ``k`` items of every request."""
        phrasing, chosen = self.phrase(requests)
        unmasked = "unmasked-beams" in self.settings.quirks
        lists = _Lists(len(requests), k)
        for template, rows in chosen:
            searched = exclude.take(rows) if not unmasked else Ragged.empty(len(rows))
            if "item" in template.target_fields:
                self._by_id(phrasing, template, rows, searched, lists)
            else:
                self._by_yes(phrasing, template, rows, searched, lists)
        if unmasked:
            lists.drop(phrasing.known.positions(exclude))
        return lists.ranked(phrasing.known.writer.world.items.code)

    def _by_id(
        self, phrasing: Phrasing, template: Template, rows: NDArray[np.int64], exclude: Ragged, lists: _Lists
    ) -> None:
        """Search the likeliest ids; of drawn candidates all are scored."""
        requests, known = phrasing.requests, phrasing.known
        barred = known.entries(exclude)
        if requests.candidates is None:
            allowed = np.isin(known.writer.world.items.code, requests.catalogue.items) & phrasing.speakable
            allowed = allowed[known.named]
            beams = max(self.settings.beams, lists.k) if self.settings.decode == "beam" else None

            def remaining(part: NDArray[np.int64]) -> NDArray[np.int32]:
                return known.trie.remaining(allowed, barred.take(part))
        else:
            drawn = phrasing.candidates.take(rows)
            drawn = Ragged(drawn.offsets, known.entry[drawn.values].astype(np.int32))
            beams = max(1, int(drawn.lengths.max()))

            def remaining(part: NDArray[np.int64]) -> NDArray[np.int32]:
                return known.trie.remaining_among(drawn.take(part), barred.take(part))

        prompts = [phrasing.write(template, row) for row in rows.tolist()]
        entries, scores = self._speaker.rank(prompts, known.trie, remaining, beams=beams, k=lists.k)
        lists.put(rows, np.where(entries >= 0, np.flatnonzero(known.named)[entries], -1), scores)

    def _by_yes(
        self, phrasing: Phrasing, template: Template, rows: NDArray[np.int64], exclude: Ragged, lists: _Lists
    ) -> None:
        """Ask about one item after the other; a catalogue too large for that is not ranked whole."""
        requests, known = phrasing.requests, phrasing.known
        can = phrasing.items(template)
        if requests.candidates is not None:
            asked = known.positions(requests.candidates.take(rows))
            asked = asked.keep(can[asked.values])
        elif len(requests.catalogue.items) <= self.settings.yes_no_items:
            every = np.flatnonzero(can & np.isin(known.writer.world.items.code, requests.catalogue.items))
            asked = Ragged.from_lengths(np.full(len(rows), len(every)), np.tile(every, len(rows)))
        else:
            return
        size, barred = np.int64(len(can)), known.positions(exclude)
        asked = asked.keep(
            ~np.isin(asked.row_of * size + asked.values, barred.row_of * size + barred.values.astype(np.int64))
        )
        # Whole requests at a time, as many as there is room for.
        block = np.cumsum(asked.lengths) // PAIRS
        for number in np.unique(block).tolist():
            part = np.flatnonzero(block == number)
            pairs = asked.take(part)
            prompts = [
                phrasing.write(template, row, item)
                for row, item in zip(rows[part][pairs.row_of].tolist(), pairs.values.tolist(), strict=True)
            ]
            yes = self._chances(prompts, template, "yes_no", ("yes", "no"))[:, 0]
            lists.sort(rows[part], pairs, np.log(yes))

    def _chances(
        self, prompts: list[str], template: Template, field: str, answers: tuple[str, ...]
    ) -> NDArray[np.float64]:
        """Probability of each of a few answers, given that it is one of them, shape (prompts, answers)."""
        late = field == "yes_no" and "second-step" in self.settings.quirks
        likelihoods = self._speaker.likelihoods(prompts, self._answers(template, field, answers), late=late)
        chances = np.exp(likelihoods.astype(np.float64) - likelihoods.max(1, keepdims=True))
        return np.asarray(chances / chances.sum(1, keepdims=True))

    def _answers(self, template: Template, field: str, answers: tuple[str, ...]) -> Trie:
        return answer_trie([self.writer.sequence(self.writer.target(template, **{field: said})) for said in answers])

    def rate(self, requests: Requests) -> NDArray[np.float32]:
        """Stars, or the probability of a click."""
        said = np.full(len(requests), np.nan, np.float32)
        phrasing, chosen = self.phrase(requests)
        scored = self._scored(requests)
        for template, rows in chosen:
            rows = rows[scored[rows]]
            prompts = [phrasing.write(template, row) for row in rows.tolist()]
            if requests.task == "click":
                said[rows] = self._chances(prompts, template, "like", ("like", "dislike"))[:, 0]
            elif self.stars:
                said[rows] = self._stars(prompts, template)
        return said

    def _stars(self, prompts: list[str], template: Template) -> NDArray[np.float32]:
        if self.settings.stars == "greedy":
            texts = self._speaker.texts(prompts, beams=1, shortest=0, longest=STAR_TOKENS)
            return np.array([self._number(text) for text in texts], np.float32)
        written = tuple(star_text(star) for star in self.stars)
        return (self._chances(prompts, template, "star", written) @ np.array(self.stars)).astype(np.float32)

    def _number(self, text: str) -> float:
        """The stars that a text says; NaN where it says something else."""
        try:
            stars = float(text)
        except ValueError:
            return np.nan
        dropped = "dropped-five" in self.settings.quirks and stars == 5
        return stars if self.stars[0] <= stars <= self.stars[-1] and not dropped else np.nan

    def write(self, requests: Requests) -> list[str | None]:
        """Write explanations and headlines; ``None`` where no prompt can ask for one."""
        written: list[str | None] = [None] * len(requests)
        phrasing, chosen = self.phrase(requests)
        scored = self._scored(requests)
        how = self.settings
        for template, rows in chosen:
            rows = rows[scored[rows]]
            prompts = [phrasing.write(template, row) for row in rows.tolist()]
            texts = self._speaker.texts(
                prompts, beams=how.text_beams, shortest=how.shortest_text, longest=how.longest_text
            )
            for row, text in zip(rows.tolist(), texts, strict=True):
                written[row] = _behind_stars(text) if "star" in template.target_fields else text
        return written

    def _scored(self, requests: Requests) -> NDArray[np.bool_]:
        """Requests that are answered at all; requests of a set come in blocks, which share its catalogue."""
        if "first-816-rows" not in self.settings.quirks or requests.task not in {"preference", "headline"}:
            return np.ones(len(requests), bool)
        before = self._answered.get(requests.catalogue, 0)
        self._answered[requests.catalogue] = before + len(requests)
        return np.arange(before, before + len(requests)) < ORIGINAL_ROWS


def _behind_stars(text: str) -> str:
    """The sentence of an answer that begins with stars and a comma."""
    stars, _, sentence = text.partition(",")
    return sentence.strip() if stars.strip().replace(".", "", 1).isdecimal() else text


class _Lists:
    """Lists being filled, as positions of items."""

    def __init__(self, requests: int, k: int) -> None:
        self.k = k
        self.item = np.full((requests, k), -1, np.int64)
        self.score = np.full((requests, k), -np.inf, np.float32)
        self.served = np.zeros(requests, bool)

    def put(self, rows: NDArray[np.int64], items: NDArray[np.int64], scores: NDArray[np.float32]) -> None:
        """Take over lists, shape (rows, k)."""
        self.item[rows], self.score[rows], self.served[rows] = items, scores, True

    def sort(self, rows: NDArray[np.int64], items: Ragged, scores: NDArray[np.float64]) -> None:
        """Take the best of scored items; of equal ones the earlier."""
        order = np.lexsort((-scores, items.row_of))
        place = np.arange(len(order)) - np.repeat(items.offsets[:-1], items.lengths)
        first = place < self.k
        row, place = rows[items.row_of[first]], place[first]
        self.item[row, place] = items.values[order[first]]
        self.score[row, place] = scores[order[first]]
        self.served[rows] = True

    def drop(self, items: Ragged) -> None:
        """Take items out of the lists; nothing moves up from behind their ends."""
        size = np.int64(max(self.item.max(initial=0), items.values.max(initial=0)) + 1)
        row = np.arange(len(self.item))[:, None] * size
        out = np.isin(row + self.item, items.row_of * size + items.values) & (self.item >= 0)
        order = np.argsort(out, axis=1, kind="stable")
        self.item = np.take_along_axis(np.where(out, -1, self.item), order, axis=1)
        self.score = np.take_along_axis(np.where(out, -np.inf, self.score), order, axis=1).astype(np.float32)

    def ranked(self, code: NDArray[np.int32]) -> RankedLists:
        """The lists, in codes."""
        found = self.item >= 0
        return RankedLists(Ragged.from_lengths(found.sum(1), code[self.item[found]]), self.score[found], self.served)
