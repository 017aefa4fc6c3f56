"""M6-Rec style click model: user, clicks and candidate as text through a frozen language model, tuned a little.

No id is ever shown to the model, so users and items never seen in training are served like any other.
"""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from bench.errors import MissingInputError, ModelError
from bench.models import (
    Budget,
    Capabilities,
    FitReport,
    Progress,
    Ragged,
    Recommender,
    Requests,
    Settings,
    Training,
    Validate,
)
from llm_models.backbones.locate import BackboneFiles, locate
from llm_models.m6.behaviour import Writer, load_behaviour
from llm_models.m6.click_rows import Examples
from llm_models.m6.click_settings import ClickSettings
from llm_models.m6.statistics import Statistics

if TYPE_CHECKING:
    from bench.tasks.requests import TaskName
    from llm_models.m6.click_scoring import ClickScorer

__all__ = ["M6Click"]

_ANSWERS: dict[str, TaskName] = {"click": "click", "stars": "rating"}
"""Task of a network -> task of the harness."""


class M6Click(Recommender):
    """Click probabilities, and stars, by prompt, option or adapter tuning of a frozen language model.

    Source: Cui et al., "M6-Rec: Generative Pretrained Language Models are Open-Ended Recommender Systems", 2022
    (scoring tasks, option tuning, option-adapter tuning, multi-segment late interaction).
    """

    Settings: ClassVar[type[Settings]] = ClickSettings
    capabilities = Capabilities(
        tasks=frozenset({"click"}), cold_users="natively", cold_items="natively", needs_text=True
    )
    version = "1"
    side = "llm"
    libraries = ("numpy", "safetensors", "tokenizers", "torch", "transformers")
    preload = ("llm_models.m6.click_scoring", "llm_models.m6.click_training")

    settings: ClickSettings

    def __init__(self, settings: Settings | None = None, *, device: str = "cpu") -> None:
        super().__init__(settings, device=device)
        self._scorer: ClickScorer | None = None
        self._statistics: Statistics | None = None

    @classmethod
    def capable(cls, settings: Settings) -> Capabilities:
        """The tasks that the settings train."""
        assert isinstance(settings, ClickSettings)
        return Capabilities(
            tasks=frozenset(_ANSWERS[task] for task in settings.tasks),
            cold_users=cls.capabilities.cold_users,
            cold_items=cls.capabilities.cold_items,
            needs_text=True,
        )

    @classmethod
    def label(cls, settings: Settings) -> str:
        """For example ``"M6-style click (MiniLM frozen, option-adapter, L'=4, 1.0% trained)"``."""
        assert isinstance(settings, ClickSettings)
        parts = [f"{settings.backbone_name}{'' if settings.method == 'full' else ' frozen'}", settings.method]
        if settings.late:
            parts.append(f"L'={settings.late}" + (", read by [EOS]" if settings.reading == "end" else ""))
        if settings.behaviour != "crossed" or not settings.statistics:
            parts.append(settings.behaviour if settings.statistics else "no figures")
        with suppress(MissingInputError, OSError, KeyError, ValueError):  # the backbone is not there
            parts.append(f"{settings.share_trained(_files(settings).folder):.1%} trained")
        return f"M6-style {' and '.join(settings.tasks)} ({', '.join(parts)})"

    @classmethod
    def identity(cls, settings: Settings) -> dict[str, str]:
        """Digests of the backbone's weights, tokenizer and configuration and of the templates, and its dtype here."""
        assert isinstance(settings, ClickSettings)
        behaviour = load_behaviour(settings.behaviour).digest
        return {**_files(settings).digests, "behaviour": behaviour, "dtype": settings.resolved_dtype}

    def fit(
        self, training: Training, *, validate: Validate, budget: Budget, seed: int, progress: Progress
    ) -> FitReport:
        """Write the training pairs as text and train what the method declares.

        Raises
        ------
        MissingInputError
            When items have no text, or training has neither clicks nor ratings.
        """
        from llm_models.m6.click_training import train

        if not training.has_text:
            raise MissingInputError(
                "M6-style models read item titles, and this dataset has none here: add the file of items that its "
                "card names (`bench data show` prints where it is looked for), or leave this model out"
            )
        settings = self.settings
        examples = Examples.of(training, settings, seed)
        if not all(len(labelled.row) for labelled in examples.tasks.values()):
            raise ModelError(f"M6-style click models need labelled pairs for each of {', '.join(settings.tasks)}")
        self._statistics = Statistics.of(training) if self._counts else None
        self._scorer = scorer = self._scorer_of(seed)
        segments = self._writer().click_rows(
            examples.user, examples.history, examples.item, training.items, pairs=examples.pairs
        )
        asked = scorer.read_all(segments, lambda done, total: progress(done, total, "reading segments"))
        course = train(
            scorer,
            asked,
            examples,
            budget=budget,
            seed=seed,
            validate=lambda: validate(self),
            progress=progress,
            scratch=self.scratch,
        )
        trained, total = scorer.parameters
        notes = {
            **self.identity(settings),
            **course.notes(),
            "share_trained": trained / total,
            "pairs": len(examples),
            "distinct_texts": len(segments.texts),
            "lower_states_kept": asked.lower is not None,
        }
        return FitReport(
            parameters_trained=trained, parameters_total=total, notes=notes, **course.selection.report_fields()
        )

    def rate(self, requests: Requests) -> NDArray[np.float32]:
        """Probability of a click, or expected stars."""
        if self._scorer is None:
            raise ModelError("fit or load this model before asking it anything")
        assert requests.item is not None
        task = next(name for name, answer in _ANSWERS.items() if answer == requests.task)
        history = Ragged.empty(len(requests)) if requests.history is None else requests.history
        segments = self._writer().click_rows(requests.user, history, requests.item, requests.text)
        shares = self._scorer.predict(task, segments)
        if task == "click":
            return shares[:, 1]
        return (shares @ np.arange(1, shares.shape[1] + 1)).astype(np.float32)

    def save(self, folder: Path) -> None:
        """Write what training gave; a frozen backbone is only referred to, by its digests."""
        from safetensors.torch import save_file

        if self._scorer is None:
            raise ModelError("fit or load this model before saving it")
        tensors = {name: weight.cpu().contiguous() for name, weight in self._scorer.tuned.items()}
        save_file(tensors, folder / "click.safetensors")
        if self._statistics is not None:
            self._statistics.save(folder)
        (folder / "identity.json").write_text(json.dumps(self.identity(self.settings), indent=2), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path, settings: Settings, *, device: str = "cpu") -> Self:
        """Read a saved model.

        Raises
        ------
        ModelError
            When the backbone, its dtype or the templates are not those it was fitted with.
        """
        from safetensors.torch import load_file

        model = cls(settings, device=device)
        saved, now = json.loads((folder / "identity.json").read_text(encoding="utf-8")), cls.identity(settings)
        for name, digest in now.items():
            if saved.get(name) != digest:
                raise ModelError(
                    f"{folder}: fitted with {name} {saved.get(name)}, but the settings give {digest}; fit it again"
                )
        if model._counts:
            model._statistics = Statistics.load(folder)
        model._scorer = model._scorer_of(seed=0)  # where it starts from is overwritten at once
        model._scorer.adopt(load_file(folder / "click.safetensors"))
        return model

    @property
    def _counts(self) -> bool:
        return self.settings.statistics and load_behaviour(self.settings.behaviour).counts

    def _scorer_of(self, seed: int) -> ClickScorer:
        from llm_models.m6.click_scoring import ClickScorer

        return ClickScorer(self.settings, _files(self.settings), seed=seed, device=self.device)

    def _writer(self) -> Writer:
        return Writer(load_behaviour(self.settings.behaviour), self._statistics, window=self.settings.window)


def _files(settings: ClickSettings) -> BackboneFiles:
    return locate(settings.backbone, revision=settings.backbone_revision, weights_sha256=settings.backbone_sha256)
