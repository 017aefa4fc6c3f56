"""What the prompts of each task family may show, must show and may ask for."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ALWAYS", "FAMILIES", "FIELDS", "FOLLOWS", "ID_FIELDS", "WHO", "Question"]

#: Every field, and what stands in its place.
FIELDS = {
    "user": "the user's id",
    "name": "the user's name, or the id where there is none",
    "item": "an item's id",
    "title": "an item's title",
    "history": "ids of the items the user chose before, oldest first",
    "history_titles": "titles of the items the user chose before, oldest first",
    "candidates": "ids of the items to choose from",
    "star": "the stars of a rating",
    "feature": "the word for the feature that a review speaks of",
    "headline": "a review's headline",
    "body": "a review's text",
    "brand": "an item's brand",
    "price": "an item's price",
    "yes_no": "yes or no",
    "like": "like (4 or 5 stars) or dislike",
    "explanation": "the sentence of a review that speaks of a feature",
}
#: Fields that become ids, each of them one word between spaces.
ID_FIELDS = frozenset({"user", "name", "item", "history", "candidates"})
#: Fields that any interactions can fill in.
ALWAYS = frozenset({"user", "name", "item", "history", "candidates", "yes_no"})
#: Fields that are made from another one.
FOLLOWS = {"like": "star", "history_titles": "title"}
#: Fields that name the user.
WHO = frozenset({"user", "name"})

_ITEM = frozenset({"item", "title"})
_HISTORY = frozenset({"history", "history_titles"})


@dataclass(frozen=True)
class Question:
    """What an input with a given target shows.

    Attributes
    ----------
    needs : tuple of frozenset of str
        Of each set the input shows at least one field.
    allows : frozenset of str
        What it may show besides; anything else the model is not given in that task, or it would be the answer.
    """

    needs: tuple[frozenset[str], ...]
    allows: frozenset[str] = frozenset()

    @property
    def fields(self) -> frozenset[str]:
        """All fields an input may show."""
        return self.allows.union(*self.needs)


#: By family and target. A target is one of these texts and no other, so that an answer can be read.
FAMILIES: dict[str, dict[str, Question]] = {
    "rating": {
        "{star}": Question((_ITEM,), WHO),
        "{yes_no}": Question((_ITEM, frozenset({"star"})), WHO),
        "{like}": Question((_ITEM,), WHO),
    },
    "sequential": {
        "{item}": Question((_HISTORY,), WHO | {"candidates"}),
        "{yes_no}": Question((_HISTORY, _ITEM), WHO),
    },
    "explanation": {
        "{explanation}": Question((_ITEM,), WHO | {"star", "feature", "headline"}),
        "{star} , {explanation}": Question((_ITEM,), WHO | {"feature", "headline"}),
    },
    "review": {
        "{headline}": Question((frozenset({"body"}),), WHO),
        "{star}": Question((frozenset({"body"}),), WHO),
    },
    "direct": {
        "{item}": Question((WHO,), frozenset({"candidates"})),
        "{yes_no}": Question((WHO, _ITEM)),
    },
    "cross-domain": {
        "{like}": Question((WHO, frozenset({"title"})), frozenset({"brand", "price"})),
        "{star}": Question((WHO, frozenset({"title"})), frozenset({"brand", "price"})),
        "{explanation}": Question((WHO, frozenset({"title"})), frozenset({"brand", "price", "star", "feature"})),
    },
}
