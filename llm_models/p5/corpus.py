"""Texts that a tokenizer from scratch is trained on: prompts, titles and reviews of the training data."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bench.models import Training
from bench.tasks.explanations import training_reviews
from llm_models.indexing import WordTokenizer, add_pieces, load_tokenizer, pieces, train_tokenizer
from llm_models.p5.artefacts import stars_of
from llm_models.p5.families import star_text
from llm_models.p5.settings import P5Settings
from llm_models.p5.world import World, available_fields
from llm_models.prompts import PromptCollection

__all__ = ["make_tokenizer", "training_texts"]

#: How often each template counts, so that its words become pieces beside those of the reviews.
REPEATS = 200
#: Titles and reviews that are read, drawn at random where there are more.
TITLES, REVIEWS = 50_000, 20_000
#: Separators of lists, each of them one piece.
MARKS = ("▁,", "▁->")
ANSWERS = ("yes", "no", "like", "dislike")
#: Share of the characters of the texts that can be spelled.
COVERAGE = 0.9999


def make_tokenizer(settings: P5Settings, prompts: PromptCollection, training: Training, world: World) -> WordTokenizer:
    """Load the tokenizer the settings name, or train one on what training prompts show.

    Words of the indexes split into their levels: into groups of digits in a tokenizer trained here (another splits
    numbers as it likes), into the pieces of the index where it has some.
    """
    symbols = list(dict.fromkeys([*pieces(world.items), *pieces(world.users)]))
    if source := settings.tokenizer_source:
        tokenizer = load_tokenizer(source)
        return add_pieces(tokenizer, symbols) if symbols else tokenizer
    return train_tokenizer(
        training_texts(settings, prompts, training, world),
        digits=settings.digits,
        size=settings.pieces - len(MARKS),
        symbols=[*MARKS, *symbols],
        coverage=COVERAGE,
    )


def training_texts(settings: P5Settings, prompts: PromptCollection, training: Training, world: World) -> Iterator[str]:
    """Give what training prompts show, and nothing else: templates seen in training, titles, the texts of reviews.

    Ids are left out, since they split by rule, and so are templates that are never trained on.
    """
    if not settings.extra:
        prompts = prompts.without_extra()
    available = available_fields(world, training)
    usable = prompts.usable(available)
    families = [name for name in usable.families if settings.families is None or name in settings.families]
    shown = [template for name in families for template in usable.seen(name)]
    fields = frozenset().union(*(template.fields | template.target_fields for template in shown))
    stars = [star_text(stars) for stars in stars_of(training)]
    for _ in range(REPEATS):
        for template in shown:
            blank = dict.fromkeys(template.fields | template.target_fields, "")
            yield f"{template.render(**blank)} {template.render_target(**blank)}"
        yield " ".join([*ANSWERS, *stars])
    generator = np.random.default_rng(0)
    if fields & {"title", "history_titles"}:
        yield from _some(generator, [text for text in world.title if text is not None], TITLES)
    if "brand" in fields:
        yield from _some(generator, sorted({text for text in world.brand if text is not None}), TITLES)
    if fields & {"body", "headline", "explanation"}:
        reviews = training_reviews(training).select("headline", "text")
        drawn = reviews[np.sort(generator.permutation(len(reviews))[:REVIEWS])]
        yield from (text for row in drawn.iter_rows() for text in row if text is not None)


def _some(generator: np.random.Generator, texts: list[str], most: int) -> Iterator[str]:
    return (texts[place] for place in np.sort(generator.permutation(len(texts))[:most]).tolist())
