"""What the models that read a stack as a language model have in common: loading, and what is kept of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from bench.errors import MissingInputError, ModelError
from bench.models import Recommender, Settings
from llm_models.backbones.locate import BackboneFiles, locate
from llm_models.m6.behaviour import Writer, load_behaviour
from llm_models.m6.language.phrases import phrases
from llm_models.m6.language.settings import LanguageSettings
from llm_models.m6.wording import writing_digest

if TYPE_CHECKING:
    from llm_models.m6.language.model import LanguageModel

__all__ = ["BEHAVIOUR", "LanguageRecommender", "backbone_files", "language_model", "tuning_name"]

_WITHOUT_HEAD = {"bert", "roberta", "xlm-roberta", "modernbert"}

BEHAVIOUR = "plain"
"""How users and items are written: as they are, without figures."""


def backbone_files(settings: LanguageSettings) -> BackboneFiles:
    """Find the backbone of the settings."""
    return locate(settings.backbone, revision=settings.backbone_revision, weights_sha256=settings.backbone_sha256)


def language_model(settings: LanguageSettings, tasks: Sequence[str], *, seed: int, device: str) -> LanguageModel:
    """Load a backbone and put tunings of these tasks, and a head where it lacks one, on it."""
    from llm_models.backbones.stack import load_stack, load_tokenizer
    from llm_models.m6.language.model import LanguageModel

    files = backbone_files(settings)
    return LanguageModel(
        load_stack(files, dtype=settings.dtype, device=device),
        load_tokenizer(files),
        tasks,
        tuned=settings.tuned,
        prompts=settings.prompts,
        rank=settings.rank,
        reading=settings.reading,
        max_source=settings.max_source,
        max_target=settings.max_target,
        seed=seed,
    )


def tuning_name(settings: LanguageSettings) -> str:
    """Backbone and what is trained, as a table prints them: says where a language-model head had to be."""
    parts = {"head": [], "full": ["all weights"]}.get(settings.tuned, [settings.tuned])
    if settings.tuned != "zero-shot":
        parts = [part.replace("-", "+") for part in parts]
        if settings.tuned == "head" or _lacks_head(settings):
            parts = [*parts, "trained LM head"]
    return ", ".join([settings.backbone_name, *parts])


def _lacks_head(settings: LanguageSettings) -> bool:
    """Whether the backbone is an encoder; of one that is not to be had nothing is said."""
    try:
        config = backbone_files(settings).folder / "config.json"
    except MissingInputError:
        return False
    return json.loads(config.read_text(encoding="utf-8")).get("model_type") in _WITHOUT_HEAD


class LanguageRecommender(Recommender):
    """A recommender around a :class:`~llm_models.m6.language.model.LanguageModel`."""

    version = "1"
    side: ClassVar[Literal["floor", "classic", "llm"]] = "llm"
    libraries = ("numpy", "tokenizers", "torch", "transformers")
    preload = ("llm_models.m6.language.generation", "llm_models.m6.language.scoring")

    settings: LanguageSettings

    def __init__(self, settings: Settings | None = None, *, device: str = "cpu") -> None:
        super().__init__(settings, device=device)
        self._model: LanguageModel | None = None

    @classmethod
    def identity(cls, settings: Settings) -> dict[str, str]:
        """Digests of the backbone, and of all that words users, items and questions."""
        assert isinstance(settings, LanguageSettings)
        return {
            **backbone_files(settings).digests,
            "behaviour": load_behaviour(BEHAVIOUR).digest,
            "writing": writing_digest(),
            "phrases": phrases().digest,
        }

    @property
    def behaviour(self) -> Writer:
        """Writes users and items."""
        return Writer(load_behaviour(BEHAVIOUR), None, window=self.settings.window)

    @property
    def language(self) -> LanguageModel:
        """The fitted model.

        Raises
        ------
        ModelError
            Before it is fitted or loaded.
        """
        if self._model is None:
            raise ModelError("fit or load this model before asking it anything")
        return self._model

    def notes(self) -> dict[str, Any]:
        """What a report says of every such model."""
        return {
            **self.identity(self.settings),
            "language_model_head": "pre-trained" if self.language.head.pretrained else "trained here",
            "reading": self.language.reading,
        }

    def save_language(self, folder: Path) -> None:
        """Write trained weights; the backbone is only referred to, by its digests, unless all of it was trained."""
        from safetensors.torch import save_file

        save_file(self.language.weights(), folder / "language.safetensors")
        kept = {"tasks": list(self.language.network.tunings), "identity": self.identity(self.settings)}
        (folder / "language.json").write_text(json.dumps(kept, indent=2), encoding="utf-8")

    def load_language(self, folder: Path) -> None:
        """Read what :meth:`save_language` wrote.

        Raises
        ------
        ModelError
            When the backbone, or the wording, is not the one it was fitted with.
        """
        from safetensors.torch import load_file

        kept = json.loads((folder / "language.json").read_text(encoding="utf-8"))
        for name, digest in self.identity(self.settings).items():
            if kept["identity"].get(name) != digest:
                raise ModelError(
                    f"{folder}: fitted with {name} {kept['identity'].get(name)}, but the settings give {digest}; "
                    "fit it again"
                )
        self._model = language_model(self.settings, kept["tasks"], seed=0, device=self.device)
        self._model.use(load_file(folder / "language.safetensors"))
