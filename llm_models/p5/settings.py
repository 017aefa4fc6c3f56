"""What can be set about P5, and the size that follows from it."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from bench.models import Settings

__all__ = ["WHOLE_WORDS", "P5Settings", "Sampling", "parameter_count"]

#: Rows of the whole-word embedding table; later words of a longer input share the last.
WHOLE_WORDS = 512
#: Rows of the embedding table T5 was published with.
T5_VOCABULARY = 32128
#: Buckets of T5's relative position bias.
POSITION_BUCKETS = 32


Family = Literal["rating", "sequential", "explanation", "review", "direct"]


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
    rating: float = Field(0, ge=0)
    sequential: float | tuple[float, float, float] = 0
    explanation: float = Field(0, ge=0)
    review: float = Field(0, ge=0)
    direct: float | tuple[float, float, float] = 0


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
    tokenizer : str or None
        A SentencePiece model: file, folder with ``spiece.model``, or Hugging Face name. ``None``: the checkpoint's
        own, or, from scratch, one trained on the prompts.
    d_model, d_ff, d_kv, heads, layers : int
        Size of the T5, ``layers`` each in encoder and decoder (a checkpoint has its own).
    dropout : float
    digits : int
        Digits to a piece of an id (used by the trained tokenizer; another splits numbers as it likes).
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
        random, then one of the last three items, the history starting at one of the first three. In the same
        way ``"original"`` draws direct prompts by user, never the first item.
    candidates : int
        Items listed by a prompt that lists candidates, the right one among them.
    max_input, max_target : int
        Longest input and answer, in tokens.
    word_pieces : int
        Pieces of a trained tokenizer for words, beside the groups of digits.
    sequential_share : float
        Share of the training prompts that show a history; the others name the user only.
    batch : int
        Prompts to an optimiser step.
    steps : int
        Optimiser steps when the budget limits neither steps nor epochs.
    learning_rate, weight_decay, warm_up, clip : float
        AdamW; linear rise over the share ``warm_up`` of all steps, then linear fall to 0; gradient norm cut
        at ``clip``.
    dtype : str
        ``"bfloat16"`` computes under autocast.
    prompt : str
        Which prompt asks: the first ``"seen"`` one of the family, or the ``"unseen"`` one.
    decode : str
        ``"beam"``, or ``"exhaustive"``: beams enough to score the whole catalogue exactly.
    beams : int
        Beams of the search (more if a longer list is asked for).
    """

    pretrained: str | None = None
    tokenizer: str | None = None
    d_model: int = Field(64, ge=1)
    d_ff: int = Field(256, ge=1)
    d_kv: int = Field(16, ge=1)
    heads: int = Field(4, ge=1)
    layers: int = Field(2, ge=1)
    dropout: float = Field(0.1, ge=0, lt=1)
    digits: Literal[2, 3] = 2
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
    word_pieces: int = Field(312, ge=200)
    sequential_share: float = Field(0.7, gt=0, le=1)
    batch: int = Field(32, ge=1)
    steps: int = Field(8_000, ge=1)
    learning_rate: float = Field(3e-3, gt=0)
    weight_decay: float = Field(0.01, ge=0)
    warm_up: float = Field(0.05, ge=0, le=1)
    clip: float = Field(1.0, gt=0)
    dtype: Literal["float32", "bfloat16"] = "float32"
    prompt: Literal["seen", "unseen"] = "seen"
    decode: Literal["beam", "exhaustive"] = "beam"
    beams: int = Field(20, ge=1)

    @property
    def vocabulary(self) -> int:
        """Rows of the embedding table of a T5 from scratch."""
        return T5_VOCABULARY if self.tokenizer else 2 * 10**self.digits + self.word_pieces

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
