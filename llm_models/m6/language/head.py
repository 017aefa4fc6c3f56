"""Next-token logits of a stack: its pre-trained head, or one that is trained.

Decoders bring a head along. Encoders (MiniLM, BERT) have none: here one is put on top, shaped like BERT's own for
masked words and tied to the frozen word vectors, and trained with the causal loss. Nothing it says is "zero-shot".

Imports torch: import this module inside a method.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from llm_models.backbones.stack import Stack

__all__ = ["LanguageHead"]

_UNSEEN = 0.5
"""How often a token that training texts lack is taken to have been seen."""


class LanguageHead(nn.Module):
    """Logits over the vocabulary.

    Parameters
    ----------
    stack : Stack
        Its words, and its head where it has one, are referred to and not owned: they are not among the parameters.
    generator : torch.Generator
        Draws the weights of a head that must be trained.

    Attributes
    ----------
    pretrained : bool
        Whether the backbone brought its head along; then there is nothing to train here.
    """

    def __init__(self, stack: Stack, *, generator: torch.Generator) -> None:
        super().__init__()
        self._stack = [stack]  # in a list: not a module of this one
        self.pretrained = stack.head is not None
        if self.pretrained:
            return
        width = stack.width
        self.dense = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)
        with torch.no_grad():
            self.dense.weight.copy_(torch.randn(width, width, generator=generator) * width**-0.5)
        nn.init.zeros_(self.dense.bias)
        self.bias = nn.Parameter(torch.zeros(len(stack.words.weight)))

    def start_at(self, counts: Tensor) -> None:
        """Let a trained head begin at how often each token occurs, shape (vocabulary,), in the texts to learn."""
        if self.pretrained:
            return
        shares = counts.double().clamp(min=_UNSEEN)
        with torch.no_grad():
            self.bias.copy_((shares / shares.sum()).log())

    def forward(self, hidden: Tensor) -> Tensor:
        """Logits, float32, shape (..., vocabulary), of hidden states, shape (..., width)."""
        (stack,) = self._stack
        if stack.head is not None:
            return stack.head(hidden).float()
        states = self.norm(functional.gelu(self.dense(hidden.float())))
        words = stack.words.weight
        return functional.linear(states.to(words.dtype), words).float() + self.bias
