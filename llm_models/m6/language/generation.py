"""Texts, written a batch of mixed tasks at a time. Imports torch: import this module inside a method."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt

from llm_models.decoding import sample, write
from llm_models.m6.language.cached import TextStepper, read
from llm_models.m6.language.model import LanguageModel
from llm_models.m6.language.rows import Row
from llm_models.m6.language.training import batches_of

__all__ = ["Decoding", "generate"]


class Decoding(BaseModel):
    """How a text is chosen.

    Attributes
    ----------
    by : str
        ``"beams"`` (one beam is greedy) or ``"top-p"``: drawn from the likeliest tokens that have ``top_p`` of the
        probability together.
    beams : int
    top_p, temperature : float
    no_repeat : int
        So many tokens in a row are not written twice in a text; 0: they may be.
    shortest, longest : int
        Tokens before the end mark at the least; tokens with it at the most.
    seed : int
        Of the draws. What is drawn for a row depends on that row alone.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    by: Literal["beams", "top-p"] = "beams"
    beams: PositiveInt = 1
    top_p: float = Field(default=0.9, gt=0.0, le=1.0)
    temperature: PositiveFloat = 1.0
    no_repeat: int = Field(default=0, ge=0)
    shortest: int = Field(default=0, ge=0)
    longest: PositiveInt = 32
    seed: int = 0


def generate(model: LanguageModel, rows: Sequence[Row], decoding: Decoding, *, tokens: int = 4096) -> list[list[int]]:
    """Go on from rows, whatever their tasks.

    Parameters
    ----------
    rows : sequence of Row
        Their targets are not looked at.
    tokens : int
        Padded tokens read at a time, beams counted: bounds the memory; results do not depend on it.

    Returns
    -------
    list of list of int
        Tokens of each text, the end mark left out.
    """
    written: list[list[int]] = [[] for _ in rows]
    asked = [row._replace(target=[]) for row in rows]
    end = model.rows.end
    special = sorted(set(model.tokenizer.all_special_ids) - {end})
    barred = torch.tensor(special, dtype=torch.int64, device=model.stack.device)
    shape = {"end": end, "pad": end, "shortest": decoding.shortest, "longest": decoding.longest}
    width = decoding.beams if decoding.by == "beams" else 1
    with torch.inference_mode():
        for places in batches_of(model.rows, asked, tokens=max(1, tokens // width)):
            batch = [asked[place] for place in places]
            step = TextStepper(model, read(model, batch), barred, no_repeat=decoding.no_repeat)
            if decoding.by == "beams":
                found = write(step, beams=width, **shape)
            else:
                draws = np.stack([_draws(row, decoding) for row in batch])
                found = sample(step, draws, top_p=decoding.top_p, temperature=decoding.temperature, **shape)
            for place, text in zip(places, found.tolist(), strict=True):
                written[place] = text[: text.index(end)] if end in text else text
    return written


def _draws(row: Row, decoding: Decoding) -> NDArray[np.float64]:
    """Numbers between 0 and 1, one a token, that belong to the row and the seed, shape (longest,)."""
    named = hashlib.sha256(repr((decoding.seed, *row)).encode()).digest()
    return np.random.default_rng(list(named)).random(decoding.longest)
