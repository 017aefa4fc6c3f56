"""P5 as the harness sees it."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from bench.audit import INDEX_FILE
from bench.errors import DataError
from bench.models import (
    Budget,
    Capabilities,
    FitReport,
    Progress,
    Ragged,
    RankedLists,
    Recommender,
    Requests,
    Training,
    Validate,
)
from llm_models.p5.asking import abilities, collection, tasks_of, variants
from llm_models.p5.labels import label
from llm_models.p5.settings import P5Settings
from llm_models.prompts import words

if TYPE_CHECKING:
    from llm_models.p5.mixture import Mixture

__all__ = ["P5"]

FORMAT = 1


class P5(Recommender):
    """Asks a T5 in words and reads ids, stars, yes or no, and sentences from its answers.

    One network learns all the families of prompts that the data allows. A user never seen is asked for without a name.
    An item never seen has an id only if ids come from texts; without one it can be asked about by its title.
    """

    Settings = P5Settings
    capabilities = abilities(P5Settings())
    version = "2"
    side = "llm"
    libraries: ClassVar[tuple[str, ...]] = (
        "torch",
        "transformers",
        "sentencepiece",
        "numpy",
        "scipy",
        "scikit-learn",
        "yake",
        "vaderSentiment",
    )
    preload: ClassVar[tuple[str, ...]] = ("llm_models.p5.training", "sentencepiece")

    settings: P5Settings

    @classmethod
    def capable(cls, settings: P5Settings) -> Capabilities:
        """Tasks follow from the families, the prompt and how answers are read; newcomers also from the ids."""
        return abilities(settings)

    @classmethod
    def expand(cls, settings: P5Settings, tasks: Collection[str]) -> dict[str, P5Settings]:
        """``prompt: each``: one entry for every prompt, seen or not, that can serve one of the tasks."""
        return variants(settings, tasks) if settings.prompt == "each" else {"": settings}

    @classmethod
    def label(cls, settings: P5Settings) -> str:
        """``P5 (T5-scratch 0.9 M, random ids)`` or ``P5 (t5-small, pretrained, random ids, greedy stars)``."""
        return label(settings)

    @classmethod
    def identity(cls, settings: P5Settings) -> dict[str, str]:
        """Digests of the prompts and of what is brought along: tokenizer, checkpoint, embedder of texts."""
        from llm_models.p5.artefacts import brought_along

        return {"prompts": collection(settings.prompts, settings.extra).digest, **brought_along(settings)}

    def fit(
        self, training: Training, *, validate: Validate, budget: Budget, seed: int, progress: Progress
    ) -> FitReport:
        """Train on a mixture of the families' prompts; the best weights by validation are kept."""
        import torch

        from llm_models.p5 import artefacts
        from llm_models.p5.corpus import make_tokenizer
        from llm_models.p5.engine import Engine
        from llm_models.p5.mixture import Mixture
        from llm_models.p5.training import train
        from llm_models.p5.writer import World, Writer, available_fields

        torch.manual_seed(seed)
        settings = self.settings
        prompts = collection(settings.prompts, settings.extra)
        users, items = artefacts.make_indexes(settings, training, seed=seed, device=self.device)
        world = World.of(training, users, items)
        tokenizer = make_tokenizer(settings, prompts, training, world)
        network = artefacts.make_network(settings, tokenizer).to(self.device)
        writer = Writer(tokenizer, world, max_input=settings.max_input, max_target=settings.max_target)
        mixture = Mixture(training, writer, prompts, settings, seed)
        self._fields = available_fields(world, training)
        self._engine = Engine(network, writer, prompts.usable(self._fields), settings, artefacts.stars_of(training))
        course = train(
            network,
            mixture,
            settings,
            budget=budget,
            seed=seed,
            validate=lambda: validate(self),
            progress=progress,
            scratch=self.scratch,
        )
        size = sum(parameter.numel() for parameter in network.parameters())
        notes = {
            "item_index": {"kind": items.kind, "digest": items.digest, "collisions": items.collisions, **items.notes},
            "user_index": {"kind": users.kind, "digest": users.digest},
            "tokenizer": tokenizer.digest,
            "mixture": mixture.describe(),
            "prompts": self._prompts(mixture),
            **course.notes(),
        }
        return FitReport(
            parameters_trained=size, parameters_total=size, notes=notes, **course.selection.report_fields()
        )

    def _prompts(self, mixture: Mixture) -> dict[str, dict[str, Any]]:
        """Say of each prompt what it asks and whether training knows it, and which of its words training never showed.

        A pretrained network has met all words.
        """
        trained = mixture.trained_words()
        knows_words = self.settings.pretrained or self.settings.published
        drawn = {name for family in mixture.describe()["families"].values() for name in family["templates"]}
        return {
            template.id: {
                "task": task,
                "group": "held-out" if template.group == "seen" and template.id not in drawn else template.group,
                "of": template.of,
                "untrained_words": [] if knows_words else sorted(words(template) - trained),
            }
            for template in self._engine.prompts.templates
            for task in tasks_of(template)
        }

    def rank(self, requests: Requests, k: int, *, exclude: Ragged) -> RankedLists:
        """Search lists of ``k`` items; the excluded ones are closed inside the search."""
        return self._engine.rank(requests, k, exclude)

    def rate(self, requests: Requests) -> NDArray[np.float32]:
        """Stars as they are expected, or as they are written; for clicks the probability of "like"."""
        return self._engine.rate(requests)

    def write(self, requests: Requests) -> pl.Series:
        """Sentences and headlines, greedily or by beams."""
        return pl.Series("text", self._engine.write(requests), dtype=pl.String)

    def save(self, folder: Path) -> None:
        """Write indexes, texts, tokenizer (SentencePiece), config (JSON) and weights (safetensors)."""
        from llm_models.p5.artefacts import USERS, save_network

        engine = self._engine
        world = engine.writer.world
        world.items.save(folder / INDEX_FILE)
        world.users.save(folder / USERS)
        world.save(folder)
        (folder / "spiece.model").write_bytes(engine.writer.tokenizer.model)
        known = {"format": FORMAT, "stars": engine.stars, "fields": sorted(self._fields)}
        (folder / "answers.json").write_text(json.dumps(known), encoding="utf-8")
        save_network(engine.network, folder)

    @classmethod
    def load(cls, folder: Path, settings: P5Settings, *, device: str = "cpu") -> Self:
        """Read a model written by :meth:`save`.

        Raises
        ------
        DataError
            When it was written by another version.
        """
        from llm_models.indexing import IdIndex, load_tokenizer
        from llm_models.p5.artefacts import USERS, load_network
        from llm_models.p5.engine import Engine
        from llm_models.p5.writer import World, Writer

        known = json.loads((folder / "answers.json").read_text(encoding="utf-8"))
        if known["format"] != FORMAT:
            raise DataError(f"{folder}: model format {known['format']}, this version reads {FORMAT}; fit again")
        model = cls(settings, device=device)
        items, users = (IdIndex.load(folder / name) for name in (INDEX_FILE, USERS))
        world = World.load(folder, users, items)
        tokenizer = load_tokenizer(str(folder / "spiece.model"))
        writer = Writer(tokenizer, world, max_input=settings.max_input, max_target=settings.max_target)
        model._fields = frozenset(known["fields"])
        prompts = collection(settings.prompts, settings.extra).usable(model._fields)
        network = load_network(folder).eval().to(device)
        model._engine = Engine(network, writer, prompts, settings, tuple(known["stars"]))
        return model
