"""P5 as the harness sees it."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Self

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
from llm_models.indexing import IdIndex, random_ids
from llm_models.p5.settings import P5Settings, parameter_count
from llm_models.prompts import PromptCollection, load_prompts

__all__ = ["P5"]

PROMPTS = Path(__file__).parent.parent / "prompts" / "p5.yaml"


class P5(Recommender):
    """Asks a T5 in words which item comes next and reads an item's id from its answer.

    Items and users are random numbers, given to those of the training set. A user never seen is asked for without a
    name, from the shown history alone; an item never seen has no id: it is left out of the history and of the answer.
    """

    Settings = P5Settings
    capabilities = Capabilities(cold_users="prompt without the user", answers_with="lists")
    version = "1"
    side = "llm"
    libraries: ClassVar[tuple[str, ...]] = ("torch", "transformers", "sentencepiece", "numpy")
    preload: ClassVar[tuple[str, ...]] = ("llm_models.p5.training", "sentencepiece")

    settings: P5Settings

    @classmethod
    def label(cls, settings: P5Settings) -> str:
        """``P5 (T5-scratch 1.1 M, random ids)`` or ``P5 (t5-small, pretrained, random ids)``."""
        unseen = ", unseen prompt" if settings.prompt == "unseen" else ""
        if settings.pretrained:
            return f"P5 ({Path(settings.pretrained).name}, pretrained, random ids{unseen})"
        return f"P5 (T5-scratch {parameter_count(settings) / 1e6:.1f} M, random ids{unseen})"

    @classmethod
    def identity(cls, settings: P5Settings) -> dict[str, str]:
        """Digests of the prompts and of what is brought along: tokenizer and checkpoint."""
        from llm_models.p5.artefacts import brought_along

        return {"prompts": cls.prompts().digest, **brought_along(settings)}

    @staticmethod
    def prompts() -> PromptCollection:
        """The prompts it trains on and asks with."""
        return load_prompts(PROMPTS)

    def fit(
        self, training: Training, *, validate: Validate, budget: Budget, seed: int, progress: Progress
    ) -> FitReport:
        """Train on a mixture of sequential and direct prompts; the best weights by validation are kept."""
        import torch

        from llm_models.p5 import artefacts
        from llm_models.p5.engine import Engine
        from llm_models.p5.prompting import Mixture, Writer
        from llm_models.p5.training import label_table, train

        torch.manual_seed(seed)
        digits = self.settings.digits
        items = random_ids(training.item, seed=seed, digits=digits)
        users = random_ids(training.user, seed=seed + 1, digits=digits, prefix="user_")
        tokenizer = artefacts.make_tokenizer(self.settings, self.prompts(), users, items)
        network = artefacts.make_network(self.settings, tokenizer).to(self.device)
        writer = Writer(tokenizer, users, items)
        self._engine = Engine(network, writer, self.prompts(), self.settings)
        selection, tokens = train(
            network,
            Mixture(training, writer, self.prompts(), self.settings, seed),
            label_table(self._engine.sequences).to(self.device),
            self.settings,
            budget=budget,
            validate=lambda: validate(self),
            progress=progress,
        )
        size = sum(parameter.numel() for parameter in network.parameters())
        notes = {
            "item_index": items.digest,
            "user_index": users.digest,
            "tokenizer": tokenizer.digest,
            "prompt_tokens_read": tokens,
        }
        return FitReport(parameters_trained=size, parameters_total=size, notes=notes, **selection.report_fields())

    def rank(self, requests: Requests, k: int, *, exclude: Ragged) -> RankedLists:
        """Search lists of ``k`` items; the excluded ones are closed inside the search."""
        return self._engine.rank(requests, k, exclude)

    def save(self, folder: Path) -> None:
        """Write indexes and config (JSON), tokenizer (SentencePiece) and weights (safetensors)."""
        from safetensors.torch import save_model

        engine = self._engine
        engine.writer.items.save(folder / "items.json")
        engine.writer.users.save(folder / "users.json")
        (folder / "spiece.model").write_bytes(engine.writer.tokenizer.model)
        (folder / "config.json").write_text(engine.network.t5.config.to_json_string(use_diff=False), encoding="utf-8")
        save_model(engine.network, str(folder / "model.safetensors"))

    @classmethod
    def load(cls, folder: Path, settings: P5Settings, *, device: str = "cpu") -> Self:
        """Read a model written by :meth:`save`."""
        from safetensors.torch import load_model
        from transformers import T5Config, T5ForConditionalGeneration

        from llm_models.indexing import load_tokenizer
        from llm_models.p5.engine import Engine
        from llm_models.p5.network import P5Network
        from llm_models.p5.prompting import Writer

        model = cls(settings, device=device)
        network = P5Network(T5ForConditionalGeneration(T5Config.from_json_file(str(folder / "config.json"))))
        load_model(network, str(folder / "model.safetensors"))
        items, users = (IdIndex.load(folder / name) for name in ("items.json", "users.json"))
        writer = Writer(load_tokenizer(str(folder / "spiece.model")), users, items)
        model._engine = Engine(network.eval().to(device), writer, cls.prompts(), settings)
        return model
