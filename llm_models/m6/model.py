"""M6-Rec style retrieval: behaviour as text, a frozen language model, and at most two small trained projections.

No id is ever shown to the model, so users and items never seen in training are served like any other.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

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
    Recommender,
    Requests,
    Settings,
    Training,
    Validate,
)
from llm_models.backbones.locate import locate
from llm_models.m6.settings import M6Settings
from llm_models.m6.templates import load_template

if TYPE_CHECKING:
    from llm_models.backbones.encoder import TextEncoder
    from llm_models.m6.heads import Heads
    from llm_models.m6.vectors import ItemVectors, Vectors

__all__ = ["M6"]

_TABLES_KEPT = 64  # a cold-start validation asks from about thirty


class M6(Recommender):
    """Retrieval by text: cosine of a user's and an item's frozen vectors, or of their trained projections."""

    Settings: ClassVar[type[Settings]] = M6Settings
    capabilities = Capabilities(cold_users="natively", cold_items="natively", needs_text=True)
    version = "1"
    side = "llm"
    libraries = ("numpy", "scipy", "tokenizers", "torch", "transformers")
    preload = ("llm_models.backbones.encoder", "llm_models.m6.training", "llm_models.m6.vectors")

    settings: M6Settings

    def __init__(self, settings: Settings | None = None, *, device: str = "cpu") -> None:
        super().__init__(settings, device=device)
        self._training: Training | None = None
        self._vectors: Vectors | None = None
        self._heads: Heads | None = None
        self._tables: list[tuple[pl.DataFrame, ItemVectors]] = []

    @classmethod
    def label(cls, settings: Settings) -> str:
        """For example ``"M6-style heads (MiniLM frozen, 128-d)"``."""
        assert isinstance(settings, M6Settings)
        parts = [f"{settings.backbone_name} frozen"]
        if settings.heads == "contrastive":
            parts.append(f"{settings.dim}-d")
        if settings.center:
            parts.append("centred")
        if settings.user_text == "joined":
            parts.append("joined text")
        kind = "heads" if settings.heads == "contrastive" else "zero-shot"
        return f"M6-style {kind} ({', '.join(parts)})"

    @classmethod
    def identity(cls, settings: Settings) -> dict[str, str]:
        """Digests of the backbone's weights, tokenizer and configuration, and of the template."""
        assert isinstance(settings, M6Settings)
        files = locate(settings.backbone, revision=settings.backbone_revision, weights_sha256=settings.backbone_sha256)
        return {**files.digests, "template": load_template(settings.template).digest}

    def fit(
        self, training: Training, *, validate: Validate, budget: Budget, seed: int, progress: Progress
    ) -> FitReport:
        """Encode the training items; with heads, train those on pairs of a history and the item that followed."""
        from llm_models.m6.heads import Heads
        from llm_models.m6.training import train_heads, training_pairs

        if not training.has_text:
            raise MissingInputError(
                "M6-style models read item titles, and this dataset has none here: add the file of items that its "
                "card names (`bench data show` prints where it is looked for), or leave this model out"
            )
        settings = self.settings
        self._training, self._heads, self._tables = training, None, []
        encoder = self._encoder()
        read_before = encoder.tokens_read
        self._use(np.zeros(encoder.width, np.float32), np.zeros(encoder.width, np.float32))
        table = self._table(training.items, progress)
        sequences = table.rows_of(training.sequences)
        if settings.center:
            self._center(table, sequences, progress)

        def notes() -> dict[str, Any]:
            return {**self.identity(settings), "tokens_read": encoder.tokens_read - read_before}

        if settings.heads == "none":
            return FitReport(parameters_total=encoder.parameters, notes=notes())

        assert self._vectors is not None
        pairs = training_pairs(sequences, window=settings.window, targets_per_user=settings.targets_per_user)
        if not len(pairs):
            raise ModelError("M6-style heads need a user with two training items that have text; there is none")
        items = self._vectors.items(table)
        users = self._vectors.users(table, pairs.history, _told(progress, "encoding histories"))
        start = (
            Heads.principal(items[table.has_text], settings.dim)
            if settings.start == "principal"
            else Heads.random(encoder.width, settings.dim, seed)
        )
        self._heads = start.to(self.device)
        selection = train_heads(
            self._heads,
            users,
            items,
            pairs,
            settings,
            budget=budget,
            seed=seed,
            validate=lambda: validate(self),
            told=progress,
        )
        return FitReport(
            parameters_trained=self._heads.parameters,
            parameters_total=self._heads.parameters + encoder.parameters,
            notes={**notes(), "pairs": len(pairs)},
            **selection.report_fields(),
        )

    def score(self, requests: Requests) -> NDArray[np.float32]:
        """Cosines, shape (requests, candidates); NaN for an item without text and for a user of whom none is known.

        A sequential request is answered from the items it shows, a direct one from the user's training items.
        """
        training, vectors = self._fitted()
        candidates = self._table(requests.catalogue.text)
        if requests.history is not None:
            shown, history = self._table(requests.text), requests.history
        else:
            shown, history = self._table(training.items), _trained_on(training, requests.user)
        histories = shown.rows_of(history)
        users, items = vectors.users(shown, histories), vectors.items(candidates)
        if self._heads is not None:
            users, items = self._heads.project_users(users), self._heads.project_items(items)
        scores = users @ items.T
        scores[histories.lengths == 0] = np.nan
        scores[:, ~candidates.has_text] = np.nan
        return scores

    def save(self, folder: Path) -> None:
        """Write what training gave; the backbone is only referred to, by its digests."""
        import torch
        from safetensors.torch import save_file

        training, vectors = self._fitted()
        arrays = {
            "training.user": training.user,
            "training.offsets": training.sequences.offsets,
            "training.values": training.sequences.values,
            "mean.item": vectors.item_mean,
            "mean.user": vectors.user_mean,
        }
        tensors = {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}
        if self._heads is not None:
            tensors |= {"head.user": self._heads.user.detach(), "head.item": self._heads.item.detach()}
        save_file({name: tensor.cpu().contiguous() for name, tensor in tensors.items()}, folder / "m6.safetensors")
        training.items.write_parquet(folder / "items.parquet")
        (folder / "identity.json").write_text(json.dumps(self.identity(self.settings), indent=2), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path, settings: Settings, *, device: str = "cpu") -> Self:
        """Read a saved model.

        Raises
        ------
        ModelError
            When the backbone or the template is not the one it was fitted with.
        """
        from safetensors.torch import load_file

        from llm_models.m6.heads import Heads

        model = cls(settings, device=device)
        saved, now = json.loads((folder / "identity.json").read_text(encoding="utf-8")), cls.identity(settings)
        for name, digest in now.items():
            if saved.get(name) != digest:
                raise ModelError(
                    f"{folder}: fitted with {name} {saved.get(name)}, but the settings give {digest}; fit it again"
                )
        tensors = load_file(folder / "m6.safetensors")
        arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
        model._training = Training(
            user=arrays["training.user"],
            sequences=Ragged(arrays["training.offsets"], arrays["training.values"]),
            time=None,
            rating=None,
            items=pl.read_parquet(folder / "items.parquet"),
        )
        model._use(arrays["mean.item"], arrays["mean.user"])
        if "head.user" in tensors:
            model._heads = Heads(tensors["head.user"], tensors["head.item"]).to(device)
        return model

    def _encoder(self) -> TextEncoder:
        from llm_models.backbones.encoder import shared_encoder

        settings = self.settings
        files = locate(settings.backbone, revision=settings.backbone_revision, weights_sha256=settings.backbone_sha256)
        return shared_encoder(files, settings.max_tokens, settings.dtype, self.device)

    def _use(self, item_mean: NDArray[np.float32], user_mean: NDArray[np.float32]) -> None:
        """Set up the frozen side with these means."""
        from llm_models.m6.vectors import Vectors

        settings = self.settings
        self._vectors = Vectors(
            self._encoder(),
            load_template(settings.template),
            joined=settings.user_text == "joined",
            window=settings.window,
            half_life=settings.half_life,
            item_mean=item_mean,
            user_mean=user_mean,
        )

    def _center(self, table: ItemVectors, sequences: Ragged, progress: Progress) -> None:
        """Take the training means off all vectors from here on."""
        assert self._vectors is not None
        user_mean = np.zeros_like(self._vectors.user_mean)
        if self._vectors.joined:
            users = self._vectors.users(table, sequences, _told(progress, "encoding users"))
            user_mean = users[sequences.lengths > 0].mean(axis=0)
        self._use(table.raw().mean(axis=0), user_mean)

    def _fitted(self) -> tuple[Training, Vectors]:
        if self._training is None or self._vectors is None:
            raise ModelError("fit or load this model before asking it anything")
        return self._training, self._vectors

    def _table(self, rows: pl.DataFrame, progress: Progress | None = None) -> ItemVectors:
        """The vectors of a text table; tables met lately are kept, since requests come back with the same ones."""
        from llm_models.m6.vectors import ItemVectors

        for known, table in self._tables:
            if known is rows:
                return table
        assert self._vectors is not None
        told = None if progress is None else _told(progress, "encoding items")
        table = ItemVectors(rows, self._vectors.template, self._vectors.encoder, told)
        self._tables = [(rows, table), *self._tables[: _TABLES_KEPT - 1]]
        return table


def _trained_on(training: Training, users: NDArray[np.int32]) -> Ragged:
    """Training items of users, as item codes; empty for a user never seen."""
    place = np.searchsorted(training.user, users).clip(max=len(training.user) - 1)
    rows = training.sequences.take(place)
    return rows.keep((training.user[place] == users)[rows.row_of])


def _told(progress: Progress, note: str) -> Any:
    return lambda done, total: progress(done, total, note)
