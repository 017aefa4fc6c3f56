"""The settings of M6-Rec retrieval with a tuned backbone."""

from __future__ import annotations

from pathlib import PurePath
from typing import Literal

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    field_validator,
)

from bench.errors import UsageError
from bench.models import Settings
from llm_models.backbones.locate import PACKAGED_MINILM
from llm_models.m6.templates import load_template

__all__ = ["RetrievalSettings"]


class RetrievalSettings(Settings):
    """Settings of :class:`llm_models.m6.retrieval.Retrieval`.

    Attributes
    ----------
    backbone, backbone_revision, backbone_sha256, max_tokens
        As in :class:`llm_models.m6.settings.M6Settings`; ``max_tokens`` holds for one item's text.
    dtype : str
        Of the backbone; bfloat16 is twice as fast on CPUs that compute in it.
    template : str
        One of ``templates.yaml``: ``"plain"`` writes titles, ``"described"`` brands and categories too.
    method : str
        What is tuned of the backbone, beside the two projections: ``"head"`` nothing, ``"prompt"`` soft prompts,
        ``"adapter"`` adapters, ``"prompt-adapter"`` both, ``"full"`` all weights of the layers after ``late``.
    late : int
        L': so many layers read every item's text alone, once, untuned; the others are tuned and, for users
        ``"ordered"``, read the concatenation. Method ``"head"`` with users ``"mean"`` has nothing to do after the cut
        and does without it.
    prompts, rank : int
        Soft prompts; rank of the adapters.
    pooling : str
        Of the last hidden states: ``"mean"``, ``"last"`` (that of [EOS'], M6-Rec's own) or ``"attention"`` (a mean
        whose weights are the softmax of a trained linear function of the states; it starts as the mean).
    user : str
        ``"mean"``: the weighted mean of the items' vectors. ``"ordered"``: the last layers over the items shown, in
        order, with an embedding of how long ago each was.
    window, half_life, center
        As in :class:`llm_models.m6.settings.M6Settings`.
    dim, start
        Length of a projected vector; where the projections start.
    constants : bool
        Whether each projection adds a trained constant: what is asked for by everyone has a direction then.
    prior : bool
        Whether a linear function of an item's vector (and words), the same for all users, is added to the score: how
        much items of such a text are asked for.
    residual : float
        Weight of the frozen encoder's cosine beside the cosine of the projections.
    lexical : bool
        Whether TF-IDF rows of the texts (vocabulary from training items alone) are projected into the same space and
        added before normalisation; a user's row is the weighted mean of the items' rows.
    lexical_template : str or None
        Template of the lexical channel; ``None``: the same.
    ngram_max : int
        Longest word n-gram of the lexical channel.
    word_dropout : float
        Share of a row's words that the projections do not see in a step.
    lexical_residual : float
        Weight of the cosine of TF-IDF rows beside the cosine of the projections.
    temperature : float
        Divides the score in the loss.
    popularity_correction : float
        Share of the logQ correction in the loss; with 1 an item's popularity is learned, so far as its text tells it,
        with 0 it is not. Not used in scoring.
    hard_negatives : int
        For each pair so many are drawn from the ``hard_pool`` nearest neighbours of the item that followed.
    hard_from : str
        Whose neighbours: of the ``"frozen"`` encoder, or ``"lexical"``.
    targets_per_user : int or None
        Latest training targets of each user that are used; ``None``: all.
    learning_rate, tuning_rate : float
        Of the projections, and of what is tuned in the backbone (AdamW).
    frozen_epochs : float
        So long the projections learn alone, on the frozen vectors, which costs little; then all of ``method`` learns.
        Soft prompts come in at that moment, adapters start without effect.
    weight_decay, dropout, batch_size
        AdamW's decay; dropout before the projections; pairs a batch, about (whole users are put in it).
    """

    backbone: str = PACKAGED_MINILM
    backbone_revision: str | None = None
    backbone_sha256: str | None = None
    max_tokens: int = Field(64, ge=3)
    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    template: str = "described"
    method: Literal["head", "prompt", "adapter", "prompt-adapter", "full"] = "adapter"
    late: PositiveInt = 5
    prompts: PositiveInt = 8
    rank: PositiveInt = 32
    pooling: Literal["mean", "last", "attention"] = "mean"
    user: Literal["mean", "ordered"] = "mean"
    window: PositiveInt = 20
    half_life: PositiveFloat | None = 5.0
    center: bool = True
    dim: PositiveInt = 128
    start: Literal["principal", "random"] = "principal"
    constants: bool = True
    prior: bool = False
    residual: NonNegativeFloat = 0.0
    lexical: bool = False
    lexical_template: str | None = None
    ngram_max: PositiveInt = 2
    word_dropout: float = Field(0.5, ge=0, lt=1)
    lexical_residual: NonNegativeFloat = 0.0
    temperature: PositiveFloat = 0.07
    popularity_correction: float = Field(1.0, ge=0, le=1)
    hard_negatives: NonNegativeInt = 0
    hard_from: Literal["frozen", "lexical"] = "frozen"
    hard_pool: PositiveInt = 50
    targets_per_user: PositiveInt | None = 20
    learning_rate: PositiveFloat = 1e-3
    tuning_rate: PositiveFloat = 1e-3
    frozen_epochs: NonNegativeFloat = 0.0
    weight_decay: NonNegativeFloat = 0.01
    dropout: float = Field(0.2, ge=0, lt=1)
    batch_size: int = Field(1024, ge=2)

    @field_validator("template", "lexical_template")
    @classmethod
    def _template_is_known(cls, name: str | None) -> str | None:
        if name is not None:
            load_template(name)
        return name

    @property
    def backbone_name(self) -> str:
        """The backbone as a table prints it."""
        return "MiniLM" if self.backbone == PACKAGED_MINILM else PurePath(self.backbone).name

    @property
    def words_template(self) -> str:
        """Template of the lexical channel."""
        return self.lexical_template or self.template

    def must_agree(self) -> None:
        """Refuse settings that would do nothing beside the others.

        Raises
        ------
        UsageError
        """
        # Not when they are read: a search space names values one at a time.
        lexical = [name for name in ("lexical_residual", "lexical_template") if getattr(self, name)]
        if self.hard_negatives and self.hard_from == "lexical":
            lexical.append("hard_from: lexical")
        if lexical and not self.lexical:
            raise UsageError(f"m6-retrieval: {', '.join(lexical)} needs the lexical channel: set lexical to true")
        if self.frozen_epochs and self.user == "ordered":
            raise UsageError("m6-retrieval: frozen vectors have no order: frozen_epochs goes with user: mean")
        if self.frozen_epochs and not self.reads_states:
            raise UsageError("m6-retrieval: frozen_epochs goes with a method that tunes the backbone, not with head")

    @property
    def runs_late(self) -> bool:
        """Whether the layers after ``late`` are run anew whenever weights have changed."""
        return self.method != "head" or self.user == "ordered"

    @property
    def reads_states(self) -> bool:
        """Whether items are made of hidden states; otherwise their frozen vectors are all there is to know."""
        return self.runs_late or self.pooling != "mean"
