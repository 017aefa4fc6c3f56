"""What can be set about P5, and the size that follows from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from bench.models import Settings
from llm_models.indexing import ItemKind, UserKind

__all__ = ["WHOLE_WORDS", "P5Settings", "Sampling", "parameter_count"]

#: Rows of the whole-word embedding table; later words of a longer input share the last.
WHOLE_WORDS = 512
#: Rows of the embedding table T5 was published with.
T5_VOCABULARY = 32128
#: Learning rates of a network from scratch, and of one that brings weights along, as the original's do.
SCRATCH_RATE, TUNING_RATE = 3e-3, 1e-3
#: Buckets of T5's relative position bias.
POSITION_BUCKETS = 32


Number = Annotated[float, Field(ge=0)]
Family = Literal["rating", "sequential", "explanation", "review", "direct"]
Quirk = Literal["dropped-five", "first-816-rows", "unmasked-beams", "second-step", "fresh-negatives", "no-whole-words"]


class Sampling(BaseModel):
    """How many prompts a pass over the training data holds.

    Where a family has a number for each of its sub-groups, a sub-group's templates are drawn so many times; where it
    has one number, each prompt's template is any of the family's. A family at 0 is not drawn.

    Attributes
    ----------
    per : str
        What the numbers of ``sequential`` and ``direct`` count by: ``"user"``, as in the original, or training
        ``"event"``, which keeps the balance of the families whatever the length of the sequences.
    rating, explanation, review : float
        Prompts an event with stars, an explaining sentence, a review's text.
    sequential : float, or three
        Of templates that ask for an item, that list candidates, that ask yes or no.
    direct : float, or three
        Of templates that ask yes or no, that list candidates, that ask for an item.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    per: Literal["user", "event"] = "user"
    rating: Number = 0
    sequential: Number | tuple[Number, Number, Number] = 0
    explanation: Number = 0
    review: Number = 0
    direct: Number | tuple[Number, Number, Number] = 0


#: Sampling as P5's released code does it (the numbers of sub-groups, 5 + 5 + 10 and 10 + 5, only add up there: each
#: template is drawn from the whole family), and as the paper's appendix states it.
SAMPLING = {
    "released": Sampling(rating=1, sequential=20, explanation=1, review=1, direct=15),
    "paper": Sampling(rating=1, sequential=(5, 5, 10), explanation=1, review=1, direct=(10, 10, 0)),
}
DEFAULT_SAMPLING = Sampling(per="event", rating=1, sequential=(2, 0, 1), explanation=1, review=1, direct=(1, 0, 1))


class P5Settings(Settings):
    """Settings of P5; the defaults are a small T5 trained from scratch.

    Attributes
    ----------
    pretrained : str or None
        A T5 checkpoint, folder or Hugging Face name (``t5-small``); ``None``: the size below, trained from scratch.
    checkpoint : str or None
        A P5 to start from, or with a budget of 0 steps to be used as it is: a ``.pth`` file as the original publishes
        them (with ``tokenizer`` set to T5's), or the folder of a stored model. Ids must be those it was trained on.
    tokenizer : str or None
        A SentencePiece model: file, folder with ``spiece.model``, or Hugging Face name. ``None``: the checkpoint's
        own, or, from scratch, one trained on the prompts.
    d_model, d_ff, d_kv, heads, layers : int
        Size of the T5, ``layers`` each in encoder and decoder (a checkpoint has its own).
    dropout : float
    index, user_index : str
        How items and users are numbered (:func:`llm_models.indexing.make_index`, which also says what ``clusters``,
        ``leaf``, ``method``, ``embedder``, ``levels`` and ``codebook`` are).
    digits : int
        Digits to a piece of an id (used by the trained tokenizer; another splits numbers as it likes).
    padded : bool
        Whether sequential numbers are filled up with zeros to one width; P5's own are not.
    max_history : int
        The most recent items shown in a prompt.
    targets : int
        Items asked for by one encoded prompt in training: the next so many of the sequence, or random ones of the
        user in a direct prompt. 1 is P5's own way; more of them share the cost of the encoder.
    prompts : str
        The collection of prompts: ``"amazon"``, ``"yelp"``, ``"movielens"``, or a YAML file.
    extra : bool
        Train on the collection's extra prompts too, which the original has no counterpart of: they name no user, or
        ask for any item of the catalogue.
    families : tuple of str or None
        Families to train on; ``None``: all that the data allows.
    sampling : str or Sampling
        Prompts to a pass over the training data, family by family: ``"released"`` and ``"paper"`` are P5's.
    windows : str
        Where sequential prompts end: ``"all"``, at any item but the first, each as likely; ``"original"``: a user at
        random, then one of the last three training items, the history starting at one of the first three. Direct
        prompts are drawn in the same way, any event as likely or any user.
    candidates : int
        Items listed by a prompt that lists candidates, the right one among them.
    max_input, max_target : int
        Longest input and answer, in tokens.
    word_pieces : int
        Pieces of a trained tokenizer for words, beside the groups of digits.
    batch, accumulate : int
        Prompts to a batch, and batches to an optimiser step.
    processes : int
        Processes, each on a graphics card of its own, that share the batches of a step (through accelerate).
    steps : int
        Optimiser steps when the budget limits neither steps nor epochs.
    learning_rate, weight_decay, adam_epsilon, warm_up, clip : float
        AdamW; linear rise over the share ``warm_up`` of all steps, then linear fall to 0; gradient norm cut
        at ``clip``. All as the original trains T5 checkpoints: a ``learning_rate`` that is not given is its 0.001
        where weights are brought along (``pretrained`` or ``checkpoint``), and 0.003 from scratch.
    dtype : str
        ``"bfloat16"`` computes under autocast.
    prompt : str or None
        Which prompt asks: the first seen one of the family that a request can fill in (``None``), its ``"held-out"``
        one, the one of an id; ``"each"``: an entry of a suite is asked with each of them (see :meth:`P5.expand`).
    sequential, direct : str
        How items are ranked: ``"item"``, by the likelihood of their ids as an answer; ``"yes-no"``, by that of
        yes when a prompt asks about one of them. A prompt that is named decides for itself.
    yes_no_items : int
        Largest catalogue that yes or no ranks whole (a prompt an item); of a larger one only drawn candidates are.
    decode : str
        ``"beam"``, or ``"exhaustive"``: the likeliest items of the whole catalogue, found exactly.
    beams : int
        Beams of the search (more if a longer list is asked for).
    stars : str
        ``"expected"``: the mean of the stars under the likelihoods of writing each; ``"greedy"``: the likeliest text,
        where it is a number of stars.
    text_beams : int
        Beams of texts; 1: greedy.
    shortest_text, longest_text : int
        Tokens of a text, at the least and at the most.
    quirks : tuple of str
        What the original does when it answers, one by one, for reproductions only: ``"dropped-five"`` (of ratings read
        greedily, 5 is not answered either), ``"first-816-rows"`` (of a set of preferences or headlines, the others are
        not answered), ``"unmasked-beams"`` (items met before take up beams and places of the list), ``"second-step"``
        (yes and no are compared one token too late), ``"fresh-negatives"`` (candidates are drawn anew for each row of
        a table) and ``"no-whole-words"`` (which piece belongs to which word is told in training alone).
    """

    asking: ClassVar[frozenset[str]] = frozenset(
        {
            "prompt",
            "sequential",
            "direct",
            "yes_no_items",
            "decode",
            "beams",
            "stars",
            "text_beams",
            "shortest_text",
            "longest_text",
            "quirks",
        }
    )

    #: ``direct`` and ``yes_no_items`` stand in every prediction's key, as they always did.
    asking_of: ClassVar[Mapping[str, frozenset[str]]] = {
        "sequential": frozenset({"sequential"}),
        **dict.fromkeys(("decode", "beams"), frozenset({"sequential", "direct"})),
        "stars": frozenset({"rating", "preference"}),
        **dict.fromkeys(
            ("text_beams", "shortest_text", "longest_text"),
            frozenset({"explanation", "feature-explanation", "rated-explanation", "headline"}),
        ),
    }

    pretrained: str | None = None
    checkpoint: str | None = None
    tokenizer: str | None = None
    d_model: int = Field(64, ge=1)
    d_ff: int = Field(256, ge=1)
    d_kv: int = Field(16, ge=1)
    heads: int = Field(4, ge=1)
    layers: int = Field(2, ge=1)
    dropout: float = Field(0.1, ge=0, lt=1)
    index: ItemKind = "random"
    user_index: UserKind = "random"
    digits: Literal[2, 3, 4] = 2
    padded: bool = True
    clusters: int = Field(20, ge=2)
    leaf: int = Field(100, ge=2)
    method: Literal["kmeans", "rq-vae"] = "kmeans"
    embedder: Literal["tfidf", "minilm"] = "tfidf"
    levels: int = Field(3, ge=1)
    codebook: int = Field(256, ge=2)
    max_history: int = Field(20, ge=1)
    targets: int = Field(12, ge=1)
    prompts: str = "amazon"
    extra: bool = True
    families: tuple[Family, ...] | None = None
    sampling: Literal["released", "paper"] | Sampling = DEFAULT_SAMPLING
    windows: Literal["all", "original"] = "all"
    candidates: int = Field(100, ge=2)
    max_input: int = Field(512, ge=32)
    max_target: int = Field(64, ge=4)
    word_pieces: int = Field(1800, ge=200)
    batch: int = Field(32, ge=1)
    accumulate: int = Field(1, ge=1)
    processes: int = Field(1, ge=1)
    steps: int = Field(8_000, ge=1)
    learning_rate: float = Field(SCRATCH_RATE, gt=0)
    weight_decay: float = Field(0.01, ge=0)
    adam_epsilon: float = Field(1e-6, gt=0)
    warm_up: float = Field(0.05, ge=0, le=1)
    clip: float = Field(1.0, gt=0)
    dtype: Literal["float32", "bfloat16"] = "float32"
    prompt: str | None = None
    sequential: Literal["item", "yes-no"] = "item"
    direct: Literal["item", "yes-no"] = "item"
    yes_no_items: int = Field(2_000, ge=0)
    decode: Literal["beam", "exhaustive"] = "beam"
    beams: int = Field(20, ge=1)
    stars: Literal["expected", "greedy"] = "expected"
    text_beams: int = Field(1, ge=1)
    shortest_text: int = Field(1, ge=0)
    longest_text: int = Field(64, ge=1)
    quirks: tuple[Quirk, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _rate_follows_the_start(cls, given: Any) -> Any:
        if isinstance(given, dict) and (given.get("pretrained") or given.get("checkpoint")):
            return {"learning_rate": TUNING_RATE, **given}
        return given

    @model_validator(mode="after")
    def _one_start(self) -> P5Settings:
        if self.pretrained and self.checkpoint:
            raise ValueError("a network starts from `pretrained` or from `checkpoint`, not from both")
        if self.published and not self.tokenizer:
            raise ValueError("a .pth file brings no tokenizer: set `tokenizer` to the one it was trained with (T5's)")
        return self

    @model_validator(mode="after")
    def _batches_are_shared(self) -> P5Settings:
        if self.accumulate % self.processes:
            raise ValueError(f"{self.processes} processes cannot share {self.accumulate} batches: raise accumulate")
        return self

    @model_validator(mode="after")
    def _quirks_apply(self) -> P5Settings:
        if len(set(self.quirks)) < len(self.quirks):
            raise ValueError("quirks: one is named twice")
        if "dropped-five" in self.quirks and self.stars != "greedy":
            raise ValueError("the quirk 'dropped-five' is one of ratings read greedily: set stars: greedy")
        if self.shortest_text >= self.longest_text:
            raise ValueError("shortest_text must be below longest_text, which counts the end mark")
        return self

    @property
    def pieces(self) -> int:
        """Pieces of a trained tokenizer, beside those of semantic and collaborative ids."""
        return 2 * 10**self.digits + self.word_pieces

    @property
    def published(self) -> bool:
        """Whether ``checkpoint`` is a file as the original publishes them."""
        return self.checkpoint is not None and self.checkpoint.endswith((".pth", ".pt"))

    @property
    def tokenizer_source(self) -> str | None:
        """Where the tokenizer comes from; ``None``: it is trained."""
        return self.tokenizer or self.pretrained or self.checkpoint

    @property
    def vocabulary(self) -> int:
        """Rows of the embedding table of a T5 from scratch (more where a tokenizer has more pieces)."""
        codes = (self.levels + 1) * self.codebook if self.index == "semantic" else 0
        return codes + (T5_VOCABULARY if self.tokenizer else self.pieces)

    @property
    def numbers(self) -> Sampling:
        """The sampling numbers, named ones looked up."""
        return SAMPLING[self.sampling] if isinstance(self.sampling, str) else self.sampling


def parameter_count(settings: P5Settings) -> int:
    """Parameters of a T5 from scratch with its whole-word table, by arithmetic."""
    attention = 4 * settings.d_model * settings.heads * settings.d_kv
    feed_forward = 2 * settings.d_model * settings.d_ff
    encoder_block = attention + feed_forward + 2 * settings.d_model
    decoder_block = 2 * attention + feed_forward + 3 * settings.d_model
    tables = (settings.vocabulary + WHOLE_WORDS) * settings.d_model
    position = 2 * POSITION_BUCKETS * settings.heads
    return settings.layers * (encoder_block + decoder_block) + tables + position + 2 * settings.d_model
