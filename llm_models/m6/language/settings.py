"""Settings of the models that read a stack as a language model."""

from __future__ import annotations

from pathlib import PurePath
from typing import ClassVar, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from bench.models import Settings
from llm_models.backbones.locate import PACKAGED_MINILM

__all__ = ["LanguageSettings", "LikelihoodSettings", "WriterSettings"]


class LanguageSettings(Settings):
    """What the backbone is, and what of it is trained.

    Attributes
    ----------
    backbone, backbone_revision, backbone_sha256
        See :func:`llm_models.backbones.locate.locate`.
    dtype : str
        Of the backbone; what is trained stays in float32 (unless all is).
    tuned : str
        ``"zero-shot"`` (nothing is trained: only for backbones with a head), ``"head"`` (the language-model head of a
        backbone that has none), ``"prompt"``, ``"adapter"``, ``"prompt-adapter"`` or ``"full"``; a missing head is
        trained with each of these.
    prompts, rank : int
        Soft prompts of a task, and rank of its adapters. The sources give neither.
    reading : str
        ``"prefix"``: the source in both directions, then the text from left to right (M6-Rec's). ``"causal"``: both as
        one text from left to right. ``"native"``: what the backbone was pre-trained for, causal for decoders and prefix
        for encoders.
    max_source, max_target : int
        Tokens of a source (what is longer loses its beginning) and of a text with what it begins with.
    window : int
        Latest items of a history that are written.
    learning_rate, weight_decay
        Of AdamW; the rate rises over a twentieth of the steps and falls to 0 along a line.
    batch_tokens : int
        Padded tokens of a batch.
    """

    backbone: str = PACKAGED_MINILM
    backbone_revision: str | None = None
    backbone_sha256: str | None = None
    dtype: Literal["float32", "bfloat16"] = "float32"
    tuned: Literal["zero-shot", "head", "prompt", "adapter", "prompt-adapter", "full"] = "prompt-adapter"
    prompts: PositiveInt = 8
    rank: PositiveInt = 16
    reading: Literal["native", "prefix", "causal"] = "native"
    max_source: PositiveInt = 96
    max_target: PositiveInt = 48
    window: PositiveInt = 10
    learning_rate: PositiveFloat = 2e-3
    weight_decay: float = Field(default=0.01, ge=0.0)
    batch_tokens: PositiveInt = 2048

    @property
    def backbone_name(self) -> str:
        """The backbone as a table prints it."""
        return "MiniLM" if self.backbone == PACKAGED_MINILM else PurePath(self.backbone).name


class WriterSettings(LanguageSettings):
    """Settings of :class:`llm_models.m6.language.writer.M6Writer`.

    Attributes
    ----------
    tasks : tuple of str
        What is learned and written, of ``explanation``, ``feature-explanation``, ``rated-explanation`` and
        ``headline``: fewer tasks learn faster.
    mentions : int
        Words that training reviews mention, of the item and of the user each, beside what the catalogue says; 0: none.
    decode : str
        ``"beams"`` (1 beam is greedy) or ``"top-p"``.
    beams : int
    top_p, temperature : float
    no_repeat : int
        So many tokens in a row are not written twice in a text, as small models like to; 0: they may be.
    shortest, longest : int
        Tokens of a text without its end mark at the least, and with it at the most.
    draw : int
        Seed of what top-p draws.
    """

    asking: ClassVar[frozenset[str]] = frozenset(
        {"decode", "beams", "top_p", "temperature", "no_repeat", "shortest", "longest", "draw"}
    )

    reading: Literal["native", "prefix", "causal"] = "prefix"
    tasks: tuple[Literal["explanation", "feature-explanation", "rated-explanation", "headline"], ...] = Field(
        default=("explanation", "feature-explanation", "rated-explanation", "headline"), min_length=1
    )
    mentions: int = Field(default=6, ge=0)
    decode: Literal["beams", "top-p"] = "beams"
    beams: PositiveInt = 1
    top_p: float = Field(default=0.9, gt=0.0, le=1.0)
    temperature: PositiveFloat = 1.0
    no_repeat: int = Field(default=3, ge=0)
    shortest: int = Field(default=1, ge=0)
    longest: PositiveInt = 32
    draw: int = 0


class LikelihoodSettings(LanguageSettings):
    """Settings of :class:`llm_models.m6.language.likelihood.M6Likelihood`.

    Attributes
    ----------
    against_nobody : float
        How much of the sentence's likelihood after nobody in particular is taken off its likelihood after the user:
        0 ranks by likelihood alone, 1 by what the user adds to it.
    whole_catalogue : bool
        Whether requests without a draw of candidates are answered: all items are scored then, which is dear. Without,
        they count as not served.
    samples : int or None
        Training pairs (a history and the item that followed) that are learned from, drawn at random; ``None``: all.
    targets_per_user : int or None
        Latest items of each user that are learned from.
    calibrate : int
        Training pairs with click labels that scale and shift the log-likelihood ratio to a probability (Platt), drawn
        at random; 0, or where there are none: the ratio's sigmoid as it is.
    """

    asking: ClassVar[frozenset[str]] = frozenset({"against_nobody", "whole_catalogue"})

    against_nobody: float = Field(default=0.0, ge=0.0)
    whole_catalogue: bool = True
    samples: PositiveInt | None = None
    targets_per_user: PositiveInt | None = 20
    calibrate: int = Field(default=500, ge=0)
