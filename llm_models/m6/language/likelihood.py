"""M6-Rec style scoring without a classifier: by how likely a sentence is that says a user chooses a candidate."""

from __future__ import annotations

import json
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from bench.errors import MissingInputError, ModelError
from bench.models import (
    Budget,
    Capabilities,
    FitReport,
    Progress,
    Ragged,
    Requests,
    Settings,
    Training,
    Validate,
)
from llm_models.m6.language.phrases import phrases
from llm_models.m6.language.recommender import LanguageRecommender, language_model, tuning_name
from llm_models.m6.language.settings import LikelihoodSettings
from llm_models.m6.model import _trained_on
from llm_models.m6.wording import WritingPrompt

__all__ = ["M6Likelihood"]

_TASK = "likelihood"


class M6Likelihood(LanguageRecommender):
    """Ranks candidates by the mean log-probability of a sentence about each, after the user's text.

    Nothing need be trained where the backbone brings a language-model head along (``tuned: zero-shot``); a few samples
    can tune it with the same loss. A click's probability is the sigmoid of ``scale * (l(user) - l(nobody)) + shift``, l
    being the mean log-probability: scale (at least 0) and shift are fitted to training pairs with click labels; without
    any they are 1 and 0. Where a request names candidates, those alone are scored.
    """

    Settings: ClassVar[type[Settings]] = LikelihoodSettings
    capabilities = Capabilities(
        tasks=frozenset({"sequential", "direct", "click"}),
        cold_users="natively",
        cold_items="natively",
        needs_text=True,
    )
    settings: LikelihoodSettings

    def __init__(self, settings: Settings | None = None, *, device: str = "cpu") -> None:
        super().__init__(settings, device=device)
        self._training: Training | None = None
        self._platt = (1.0, 0.0)

    @classmethod
    def label(cls, settings: Settings) -> str:
        """For example ``"M6-style likelihood (SmolLM2-135M, zero-shot)"``."""
        assert isinstance(settings, LikelihoodSettings)
        few = [] if settings.samples is None or settings.tuned == "zero-shot" else [f"{settings.samples} samples"]
        over = ["against nobody"] if settings.against_nobody else []
        return f"M6-style likelihood ({', '.join([tuning_name(settings), *few, *over])})"

    def fit(
        self, training: Training, *, validate: Validate, budget: Budget, seed: int, progress: Progress
    ) -> FitReport:
        """Tune the backbone on sentences about what users chose next (unless zero-shot), and calibrate clicks."""
        from llm_models.m6.language.texts import train_texts

        if not training.has_text:
            raise MissingInputError(
                "M6-style models read item titles, and this dataset has none here: add the file of items that its "
                "card names (`bench data show` prints where it is looked for), or leave this model out"
            )
        settings = self.settings
        self._training, self._platt = training, (1.0, 0.0)
        self._model = language_model(settings, [_TASK], seed=seed, device=self.device)
        notes, total = self.notes(), self._model.parameters_total
        if settings.tuned == "zero-shot":
            self._calibrate(training, seed)
            notes["click_calibration"] = dict(zip(("scale", "shift"), self._platt, strict=True))
            return FitReport(parameters_total=total, notes=notes)
        prompts = self._samples(training, seed)
        if not prompts:
            raise ModelError("no user has two training items with text: there is no sentence to learn from")
        selection = train_texts(
            self._model,
            {_TASK: prompts},
            learning_rate=settings.learning_rate,
            weight_decay=settings.weight_decay,
            batch_tokens=settings.batch_tokens,
            budget=budget,
            seed=seed,
            validate=lambda: validate(self),
            progress=progress,
        )
        self._calibrate(training, seed)
        notes["click_calibration"] = dict(zip(("scale", "shift"), self._platt, strict=True))
        return FitReport(
            parameters_trained=sum(weight.numel() for weight in self._model.trained().values()),
            parameters_total=total,
            notes={**notes, "samples": len(prompts)},
            **selection.report_fields(),
        )

    def score(self, requests: Requests) -> NDArray[np.float32]:
        """Mean log-probabilities, shape (requests, candidates).

        NaN for an item without text, for what no draw of the request names, and for a user of whom no text is known.
        """
        if self._training is None:
            raise ModelError("fit or load this model before asking it anything")
        items = requests.catalogue.items
        scores = np.full((len(requests), len(items)), np.nan, np.float32)
        if requests.candidates is None and not self.settings.whole_catalogue:
            return scores
        if requests.candidates is None:
            everything = np.tile(np.arange(len(items)), len(requests))
            asked = Ragged.from_lengths(np.full(len(requests), len(items)), everything)
        else:
            drawn = requests.candidates
            asked = Ragged(drawn.offsets, np.searchsorted(items, drawn.values).astype(np.int32))
        history, text = requests.history, requests.text
        if history is None:
            history, text = _trained_on(self._training, requests.user), self._training.items
        users = self._users(requests.user, history, text)
        asked = asked.keep(np.array([bool(user) for user in users])[asked.row_of])
        found = self._compare(users, requests.catalogue.text, asked)
        if self.settings.against_nobody:
            alone = self._compare([""], requests.catalogue.text, Ragged.from_lists([np.unique(asked.values)]))
            nobody = np.full(len(items), np.nan, np.float32)
            nobody[np.unique(asked.values)] = alone
            found = found - self.settings.against_nobody * nobody[asked.values]
        scores[asked.row_of, asked.values] = found
        return scores

    def rate(self, requests: Requests) -> NDArray[np.float32]:
        """Probabilities of a click; NaN for an item without text. Of a user without history: a click by anybody."""
        assert requests.item is not None
        history = requests.history if requests.history is not None else Ragged.empty(len(requests))
        ratio = self._ratio(requests.user, history, requests.item, requests.text)
        scale, shift = self._platt
        return (1 / (1 + np.exp(-(scale * ratio + shift)))).astype(np.float32)

    def save(self, folder: Path) -> None:
        """Write trained weights, what training users chose, and the calibration."""
        import torch
        from safetensors.torch import save_file

        assert self._training is not None
        self.save_language(folder)
        sequences = self._training.sequences
        arrays = {"user": self._training.user, "offsets": sequences.offsets, "values": sequences.values}
        tensors = {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}
        save_file(tensors, folder / "training.safetensors")
        self._training.items.write_parquet(folder / "items.parquet")
        (folder / "calibration.json").write_text(json.dumps(self._platt), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path, settings: Settings, *, device: str = "cpu") -> Self:
        """Read a saved model.

        Raises
        ------
        ModelError
            When the backbone, or the wording, is not the one it was fitted with.
        """
        from safetensors.torch import load_file

        model = cls(settings, device=device)
        model.load_language(folder)
        arrays = {name: tensor.numpy() for name, tensor in load_file(folder / "training.safetensors").items()}
        model._training = Training(
            user=arrays["user"],
            sequences=Ragged(arrays["offsets"], arrays["values"]),
            time=None,
            rating=None,
            items=pl.read_parquet(folder / "items.parquet"),
        )
        scale, shift = json.loads((folder / "calibration.json").read_text(encoding="utf-8"))
        model._platt = (scale, shift)
        return model

    def _users(self, user: NDArray[np.integer], history: Ragged, text: pl.DataFrame) -> list[str]:
        """What is read of each user; empty where nothing is known."""
        writer, asked = self.behaviour, phrases().likelihood
        nothing = np.full(len(user), -1, np.int32)
        told, _ = writer.joined(writer.click_rows(user, history, nothing, text))
        return [asked.source.format(user=one) if one else "" for one in told]

    def _sentences(self, items: pl.DataFrame) -> list[str]:
        """A sentence about each item of a text table; empty where it has no text."""
        asked = phrases().likelihood
        return [asked.sentence.format(item=text) if text else "" for text in self.behaviour.item_texts(items)]

    def _compare(self, users: list[str], items: pl.DataFrame, asked: Ragged) -> NDArray[np.float32]:
        """Scores of rows of a text table after users; an empty text of a user is nobody's."""
        from llm_models.m6.language.scoring import compare
        from llm_models.m6.language.texts import prompt_rows

        model, wording = self.language, phrases().likelihood
        read = [WritingPrompt(user or wording.nobody, wording.opening) for user in users]
        used, place = np.unique(asked.values, return_inverse=True)
        said = [WritingPrompt("", wording.opening, text) for text in self._sentences(items[used])]
        rows = [prompt_rows(model.rows, {_TASK: part}) for part in (read, said)]
        return compare(model, *rows, Ragged(asked.offsets, place.astype(np.int32)))

    def _ratio(
        self, user: NDArray[np.integer], history: Ragged, item: NDArray[np.integer], text: pl.DataFrame
    ) -> NDArray[np.float64]:
        """How much likelier a sentence about each item is after its user than after nobody."""
        codes = text["item"].to_numpy()
        order = np.argsort(codes)
        place = order[np.searchsorted(codes, item, sorter=order)]
        # Pairs of one moment of a user share what is read.
        users, which = np.unique(np.array(self._users(user, history, text), object).astype(str), return_inverse=True)
        by_user = np.argsort(which, kind="stable")
        asked = Ragged.from_lengths(np.bincount(which, minlength=len(users)), place[by_user])
        told = np.empty(len(item), np.float64)
        told[by_user] = self._compare(users.tolist(), text, asked)
        used, at = np.unique(place, return_inverse=True)
        return told - self._compare([""], text, Ragged.from_lists([used]))[at]

    def _samples(self, training: Training, seed: int) -> list[WritingPrompt]:
        """Histories with the sentence about what followed."""
        from llm_models.m6.training import training_pairs

        settings, wording = self.settings, phrases().likelihood
        pairs = training_pairs(training.sequences, window=settings.window, targets_per_user=settings.targets_per_user)
        rows = np.arange(len(pairs))
        if settings.samples is not None and settings.samples < len(rows):
            rows = np.sort(np.random.default_rng(seed).choice(len(rows), settings.samples, replace=False))
        users = self._users(training.user[pairs.user[rows]], pairs.history.take(rows), training.items)
        sentences = self._sentences(training.items)
        codes = np.searchsorted(training.item, pairs.item[rows])
        return [
            WritingPrompt(user, wording.opening, sentences[code])
            for user, code in zip(users, codes.tolist(), strict=True)
            if user and sentences[code]
        ]

    def _calibrate(self, training: Training, seed: int) -> None:
        """Fit scale and shift to labelled pairs, where there are any."""
        pairs = training.pairs
        if pairs is None or pairs.kind != "click" or not self.settings.calibrate:
            return
        most = min(self.settings.calibrate, len(pairs))
        some = pairs.take(np.sort(np.random.default_rng(seed).choice(len(pairs), most, replace=False)))
        known = np.isin(some.item, training.item)
        some = some.take(np.flatnonzero(known))
        ratio = self._ratio(some.user, some.history, some.item, training.items)
        kept = np.isfinite(ratio)
        if kept.any():
            self._platt = platt(ratio[kept], some.label[kept] > 0)


def platt(ratio: NDArray[np.float64], clicked: NDArray[np.bool_]) -> tuple[float, float]:
    """Fit P(click) = sigmoid(scale * ratio + shift) by maximum likelihood, scale at least 0.

    Labels are smoothed so that nothing becomes infinite. Source: Platt, "Probabilistic outputs for support vector
    machines", 1999.
    """
    from scipy.optimize import minimize

    yes, no = int(clicked.sum()), int((~clicked).sum())
    wanted = np.where(clicked, (yes + 1) / (yes + 2), 1 / (no + 2))

    def loss(parameters: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        logit = parameters[0] * ratio + parameters[1]
        wrong = 1 / (1 + np.exp(-logit)) - wanted
        return float(np.mean(np.logaddexp(0, logit) - wanted * logit)), np.array([np.mean(wrong * ratio), wrong.mean()])

    found = minimize(loss, np.array([1.0, 0.0]), jac=True, bounds=[(0, None), (None, None)], method="L-BFGS-B")
    return float(found.x[0]), float(found.x[1])
