"""M6-Rec style writer: why somebody likes an item, and how a review is headed, by one tuned language model."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

import polars as pl

from bench.errors import MissingInputError
from bench.models import Budget, Capabilities, FitReport, Progress, Requests, Settings, Training, Validate
from bench.tasks.explanations import training_reviews
from bench.tasks.requests import TEXT_TASKS
from llm_models.m6.language.asked import prompts_of, training_prompts
from llm_models.m6.language.casing import Casing, forgets_case
from llm_models.m6.language.mentions import Mentions
from llm_models.m6.language.recommender import LanguageRecommender, language_model, tuning_name
from llm_models.m6.language.settings import WriterSettings

if TYPE_CHECKING:
    from llm_models.m6.language.generation import Decoding

__all__ = ["M6Writer"]


class M6Writer(LanguageRecommender):
    """Writes explanations and headlines after what is known of user and item, without ids.

    Where a catalogue has no titles, an item is told by words that training reviews mention. All tasks are tuned
    together, each with a prompt and adapters of its own, in mixed-task batches on one backbone.
    """

    Settings: ClassVar[type[Settings]] = WriterSettings
    capabilities = Capabilities(tasks=frozenset(TEXT_TASKS), cold_users="natively", cold_items="natively")
    settings: WriterSettings
    libraries = (*LanguageRecommender.libraries, "vaderSentiment", "yake")

    def __init__(self, settings: Settings | None = None, *, device: str = "cpu") -> None:
        super().__init__(settings, device=device)
        self._mentions = Mentions({"user": {}, "item": {}}, {})
        self._casings: dict[str, Casing] = {}

    @classmethod
    def label(cls, settings: Settings) -> str:
        """For example ``"M6-style writer (MiniLM, prompt+adapter, trained LM head)"``."""
        assert isinstance(settings, WriterSettings)
        how = [] if settings.decode == "beams" and settings.beams == 1 else [settings.decode]
        return f"M6-style writer ({', '.join([tuning_name(settings), *how])})"

    @classmethod
    def capable(cls, settings: Settings) -> Capabilities:
        """Writes what the settings name."""
        assert isinstance(settings, WriterSettings)
        return replace(cls.capabilities, tasks=frozenset(settings.tasks))

    def fit(
        self, training: Training, *, validate: Validate, budget: Budget, seed: int, progress: Progress
    ) -> FitReport:
        """Learn from the training reviews.

        Raises
        ------
        NoTexts
            When the data has no review texts.
        MissingInputError
            When no review has anything to learn from.
        """
        from llm_models.m6.language.texts import train_texts

        settings = self.settings
        reviews = training_reviews(training)
        self._mentions = Mentions({"user": {}, "item": {}}, {})
        if settings.mentions:
            who = (reviews["user"].to_numpy(), reviews["item"].to_numpy())
            self._mentions = Mentions.learn(*who, reviews["text"].to_list())
        prompts = training_prompts(
            training,
            self.behaviour,
            self._mentions,
            tasks=settings.tasks,
            most=settings.mentions,
            max_source=settings.max_source,
        )
        if not prompts:
            raise MissingInputError("no training review has an explaining sentence or a headline to learn from")
        self._model = language_model(settings, list(prompts), seed=seed, device=self.device)
        self._casings = {}
        if forgets_case(self._model.tokenizer):
            self._casings = {task: Casing.learn(prompt.target or "" for prompt in own) for task, own in prompts.items()}
        notes = {**self.notes(), "texts": {task: len(own) for task, own in prompts.items()}}
        total = self._model.parameters_total
        if settings.tuned == "zero-shot":
            return FitReport(parameters_total=total, notes=notes)
        selection = train_texts(
            self._model,
            prompts,
            learning_rate=settings.learning_rate,
            weight_decay=settings.weight_decay,
            batch_tokens=settings.batch_tokens,
            budget=budget,
            seed=seed,
            validate=lambda: validate(self),
            progress=progress,
        )
        return FitReport(
            parameters_trained=sum(weight.numel() for weight in self._model.trained().values()),
            parameters_total=total,
            notes=notes,
            **selection.report_fields(),
        )

    def write(self, requests: Requests) -> pl.Series:
        """Write one text each; null where training had nothing to learn the task from."""
        from llm_models.m6.language.texts import write_texts

        model = self.language
        if requests.task not in model.network.tunings:
            return pl.repeat(None, len(requests), dtype=pl.String, eager=True)
        prompts = prompts_of(
            requests,
            self.behaviour,
            self._mentions,
            most=self.settings.mentions,
            max_source=self.settings.max_source,
        )
        texts = write_texts(model, {requests.task: prompts}, self._decoding())[requests.task]
        if requests.task in self._casings:
            texts = [self._casings[requests.task].restore(text) for text in texts]
        return pl.Series(texts, dtype=pl.String)

    def _decoding(self) -> Decoding:
        from llm_models.m6.language.generation import Decoding

        settings = self.settings
        return Decoding(
            by=settings.decode,
            beams=settings.beams,
            top_p=settings.top_p,
            temperature=settings.temperature,
            no_repeat=settings.no_repeat,
            shortest=settings.shortest,
            longest=settings.longest,
            seed=settings.draw,
        )

    def save(self, folder: Path) -> None:
        """Write trained weights, words mentioned, and forms of words."""
        self.save_language(folder)
        self._mentions.save(folder / "mentions.json")
        forms = {task: {"first": casing.first, "later": casing.later} for task, casing in self._casings.items()}
        (folder / "casing.json").write_text(json.dumps(forms), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path, settings: Settings, *, device: str = "cpu") -> Self:
        """Read a saved model.

        Raises
        ------
        ModelError
            When the backbone, or the wording, is not the one it was fitted with.
        """
        model = cls(settings, device=device)
        model.load_language(folder)
        model._mentions = Mentions.load(folder / "mentions.json")
        forms = json.loads((folder / "casing.json").read_text(encoding="utf-8"))
        model._casings = {task: Casing(own["first"], own["later"]) for task, own in forms.items()}
        return model
