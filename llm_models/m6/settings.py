"""The settings of the M6-Rec style model."""

from __future__ import annotations

from pathlib import PurePath
from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt, field_validator

from bench.models import Settings
from llm_models.backbones.locate import PACKAGED_MINILM
from llm_models.m6.templates import load_template

__all__ = ["M6Settings"]


class M6Settings(Settings):
    """Settings of :class:`llm_models.m6.model.M6`.

    Attributes
    ----------
    backbone : str
        ``"packaged-minilm"``, a local folder, or a hub name; always frozen.
    backbone_revision, backbone_sha256 : str or None
        Commit, tag or branch of a hub name; the digest its ``model.safetensors`` must have.
    max_tokens : int
        Longer texts are cut.
    dtype : str
        Of the backbone: ``"bfloat16"`` is twice as fast on CPUs that compute in it, but an embedding then depends
        on its batch in the third decimal.
    template : str
        One of ``templates.yaml``.
    user_text : str
        ``"segments"``: every shown item is encoded alone, once, and a user is their weighted mean. ``"joined"``: the
        shown items are written into one text, encoded in one pass (one pass for every history met, in training too).
    window : int
        Latest items of a history that are used.
    half_life : float or None
        Clicks after which a segment weighs half; ``None`` weighs all alike. Only for segments.
    center : bool
        Take the mean vector of the training items (and, for joined text, of the training users) off every vector:
        a sentence encoder gives all items of a shop much in common.
    heads : str
        ``"none"``: zero-shot, the cosine of frozen vectors. ``"contrastive"``: two trained projections.
    dim : int
        Length of a projected vector.
    start : str
        Where the heads start: ``"principal"`` directions of the training items (near zero-shot) or ``"random"``.
    temperature : float
        Divides the cosine in the loss.
    popularity_correction : float
        Share of the logQ correction in the loss: 1 makes the in-batch softmax an estimate of the full one, 0 leaves
        popular items punished for being drawn often. Not used in scoring, so cold items need no count.
    targets_per_user : int or None
        Latest training targets of each user that are used; ``None``: all.
    learning_rate, weight_decay, dropout, batch_size
        Of the heads (AdamW; dropout on the frozen vectors; pairs a batch).
    """

    backbone: str = PACKAGED_MINILM
    backbone_revision: str | None = None
    backbone_sha256: str | None = None
    max_tokens: PositiveInt = 128
    dtype: Literal["float32", "bfloat16"] = "float32"
    template: str = "described"
    user_text: Literal["segments", "joined"] = "segments"
    window: PositiveInt = 50
    half_life: PositiveFloat | None = 10.0
    center: bool = True
    heads: Literal["none", "contrastive"] = "contrastive"
    dim: PositiveInt = 128
    start: Literal["principal", "random"] = "principal"
    temperature: PositiveFloat = 0.2
    popularity_correction: float = Field(default=1.0, ge=0.0, le=1.0)
    targets_per_user: PositiveInt | None = 20
    learning_rate: PositiveFloat = 1e-3
    weight_decay: float = Field(default=0.01, ge=0.0)
    dropout: float = Field(default=0.2, ge=0.0, lt=1.0)
    batch_size: int = Field(default=512, ge=2)

    @field_validator("template")
    @classmethod
    def _template_is_known(cls, name: str) -> str:
        load_template(name)
        return name

    @property
    def backbone_name(self) -> str:
        """The backbone as a table prints it."""
        return "MiniLM" if self.backbone == PACKAGED_MINILM else PurePath(self.backbone).name
