"""Requests as prompts: which template can ask each of them, and what it then says."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from bench.models import Ragged, Requests
from llm_models.p5.families import star_text
from llm_models.p5.known import Known
from llm_models.prompts import WHO, Template

__all__ = ["Phrasing"]


class Phrasing:
    """Requests in the words of a known world.

    Parameters
    ----------
    requests : Requests
    known : Known
        Holds all items of the requests that have an id or a text.
    max_history : int
        The most recent items shown.
    new_users, new_items : bool
        Whether users and items that training never saw are served.
    """

    def __init__(self, requests: Requests, known: Known, *, max_history: int, new_users: bool, new_items: bool) -> None:
        self.requests = requests
        self.known = known
        self.max_history = max_history
        self.speakable = known.trained | (known.named | known.has["title"] if new_items else False)
        world = known.writer.world
        self.user = world.users.rows(requests.user)
        self.served = (self.user >= 0) | new_users
        asked = np.full(len(requests), -1) if requests.item is None else world.items.rows(requests.item)
        self.item = np.where((asked >= 0) & self.speakable[asked], asked, -1)
        given = requests.given
        self.feature, self.body, stars = (
            [None] * len(requests) if given is None or column not in given.columns else given[column].to_list()
            for column in ("feature", "body", "rating")
        )
        self.star = ["" if star is None or math.isnan(star) else star_text(star) for star in stars]

    @cached_property
    def _shown(self) -> dict[frozenset[str], Ragged]:
        return {}

    def history(self, template: Template) -> Ragged:
        """Positions of the items that a template shows: those that have what it says of them."""
        fields = template.fields & {"history", "history_titles"}
        if fields not in self._shown:
            requests, known = self.requests, self.known
            met = Ragged.empty(len(requests)) if requests.history is None else known.positions(requests.history)
            can = np.ones(len(known.named), bool)
            if "history" in fields:
                can &= known.named
            if "history_titles" in fields:
                can &= known.has["title"]
            self._shown[fields] = met.keep(can[met.values]).last(self.max_history)
        return self._shown[fields]

    @cached_property
    def candidates(self) -> Ragged:
        """Positions of the items that are drawn for each request, as far as they have an id."""
        drawn = self.requests.candidates
        if drawn is None:
            return Ragged.empty(len(self.requests))
        places = self.known.positions(drawn)
        return places.keep((self.known.named & self.speakable)[places.values])

    def items(self, template: Template, *, well: bool = False) -> NDArray[np.bool_]:
        """Items that a template can name, shape (items,); ``well``: it then says nothing of them that is unknown."""
        known = self.known
        can = self.speakable.copy()
        if "item" in template.fields:
            can &= known.named
        for field in template.fields & known.has.keys():
            if well:
                can &= known.has[field]
            elif field == "title":
                # Training says of some of its items that they have no title; of others that would say nothing.
                can &= known.trained | known.has[field]
        return can

    def can(self, template: Template, *, well: bool = False) -> NDArray[np.bool_]:
        """Requests that a template can ask, shape (requests,); where items are ranked, they are not looked at."""
        fields, requests = template.fields, self.requests
        can = self.served.copy()
        if fields & WHO:
            can &= self.user >= 0
        if fields & {"history", "history_titles"}:
            can &= self.history(template).lengths > 0
        if "candidates" in fields:
            history = self.max_history if "history" in fields else 0
            room = self.known.writer.candidates_that_fit(template, history)
            can &= (self.candidates.lengths > 0) & (self.candidates.lengths <= room)
        if requests.item is not None:
            can &= (self.item >= 0) & self.items(template, well=well)[self.item]
        for field, values in (("feature", self.feature), ("star", self.star)):
            if field in fields:
                can &= np.array([bool(value) for value in values], bool)
        return can

    def choose(self, templates: Sequence[Template]) -> list[tuple[Template, NDArray[np.int64]]]:
        """Give each request to the first template that can ask it.

        Where candidates are drawn, templates that list them come first. A template that would call a title unknown
        comes after all that need not.

        Returns
        -------
        list of (Template, ndarray of int64)
            Templates with the positions of their requests; a request that none can ask is in no list.
        """
        drawn = self.requests.candidates is not None
        ordered = sorted(templates, key=lambda template: drawn and "candidates" not in template.fields)
        chosen = np.full(len(self.requests), -1)
        for well in (True, False):
            for number, template in enumerate(ordered):
                chosen[(chosen < 0) & self.can(template, well=well)] = number
        return [(ordered[number], np.flatnonzero(chosen == number)) for number in np.unique(chosen[chosen >= 0])]

    def write(self, template: Template, row: int, item: int | None = None) -> str:
        """Ask a request with a template; ``item`` is the position of one to be asked about in its place."""
        return self.known.writer.fill(
            template,
            user=int(self.user[row]),
            item=int(self.item[row]) if item is None else item,
            history=self.history(template)[row],
            candidates=self.candidates[row] if "candidates" in template.fields else (),
            star=self.star[row],
            feature=self.feature[row] or "",
            body=self.body[row] or "",
        )
