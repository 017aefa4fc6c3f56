"""8-bit weights: every linear map and the word vectors of a stack as integers with a scale a row.

A row w of a matrix (the weights of one output) becomes q = round(w / s) with s = max |w| / 127, so that every weight is
off by at most s / 2. In the arithmetic ``"int8"`` the inputs become integers too, token by token and by the same rule,
the products are summed exactly in 32 bits, and both scales are put back: on a processor with 8-bit dot products a map
of MiniLM's sizes took a third to a quarter of its time in float32, the whole network about half. In ``"float"`` the
weights alone are rounded and multiplied as floats: nearer to the original, as small on disk, no faster.

torch's own dynamic quantisation (``torch.ao``, quantised tensors) warns that it is deprecated, and was measured to be
hardly faster than ``torch._int_mm``, which is used here; the kernel for weights in 8 bits alone
(``_weight_int8pack_mm``) was slower than float32.

Imports torch: import this module inside a method.
"""

from __future__ import annotations

import copy
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers.pytorch_utils import Conv1D

from llm_models.backbones.compact import Factorised
from llm_models.backbones.stack import Stack

__all__ = ["Arithmetic", "Int8Linear", "Int8Words", "quantise", "quantised"]

Arithmetic = Literal["int8", "float"]

_LARGEST = 127


def quantise(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Round each row to 8 bits, symmetrically.

    Parameters
    ----------
    matrix : Tensor of float, shape (rows, columns)

    Returns
    -------
    Tensor of int8, shape (rows, columns)
    Tensor of float32, shape (rows, 1)
        What a step is worth; 1 for a row of zeros.
    """
    matrix = matrix.float()
    scale = matrix.abs().amax(dim=1, keepdim=True) / _LARGEST
    scale = torch.where(scale > 0, scale, 1.0)
    return (matrix / scale).round_().to(torch.int8), scale


class Int8Linear(nn.Module):
    """A linear map with 8-bit weights.

    Attributes
    ----------
    numbers : Tensor of int8, shape (outputs, inputs)
    scale : Tensor of float32, shape (outputs, 1)
    bias : Tensor of float32, shape (outputs,), or None
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, arithmetic: Arithmetic = "int8") -> None:
        super().__init__()
        self.arithmetic = arithmetic
        numbers, scale = quantise(weight.detach())
        self.register_buffer("numbers", numbers)
        self.register_buffer("scale", scale)
        self.register_buffer("bias", None if bias is None else bias.detach().float().clone())

    def forward(self, x: Tensor) -> Tensor:
        """Map inputs, shape (..., inputs), to outputs, shape (..., outputs), in the same dtype."""
        if self.arithmetic == "float":
            bias = None if self.bias is None else self.bias.to(x.dtype)
            return functional.linear(x, (self.numbers * self.scale).to(x.dtype), bias)
        numbers, scale = quantise(x.flatten(0, -2))
        summed = torch._int_mm(numbers, self.numbers.t()).float().mul_(scale).mul_(self.scale.squeeze(1))
        if self.bias is not None:
            summed += self.bias
        return summed.unflatten(0, x.shape[:-1]).to(x.dtype)


class Int8Words(nn.Module):
    """Word vectors in 8 bits.

    Attributes
    ----------
    numbers : Tensor of int8, shape (words, width)
    scale : Tensor of float32, shape (words, 1)
    """

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        numbers, scale = quantise(weight.detach())
        self.register_buffer("numbers", numbers)
        self.register_buffer("scale", scale)
        self.kind = weight.dtype

    @property
    def embedding_dim(self) -> int:
        """Length of a word vector."""
        return self.numbers.shape[1]

    @property
    def weight(self) -> Tensor:
        """The whole table as floats."""
        return (self.numbers * self.scale).to(self.kind)

    def forward(self, tokens: Tensor) -> Tensor:
        """Look tokens up, shape (rows, tokens) to (rows, tokens, width)."""
        return (self.numbers[tokens] * self.scale[tokens]).to(self.kind)


def quantised(stack: Stack, arithmetic: Arithmetic = "int8") -> Stack:
    """A copy of a stack with 8-bit linear maps and word vectors; normalisations and positions stay as they are."""
    made = copy.deepcopy(stack)
    _replace(made.blocks, arithmetic)
    if isinstance(made.words, Factorised):
        made.words.table = Int8Words(made.words.table.weight)
        _replace(made.words, arithmetic)
    else:
        made.words = Int8Words(made.words.weight)
    if isinstance(made.head, nn.Linear):
        made.head = Int8Linear(made.head.weight, made.head.bias, arithmetic)
    return made.requires_grad_(False)


def _replace(module: nn.Module, arithmetic: Arithmetic) -> None:
    """Replace the linear maps below a module; one that several layers share is replaced by one."""
    for name, child in module.named_children():
        if isinstance(child, nn.Linear):
            setattr(module, name, Int8Linear(child.weight, child.bias, arithmetic))
        elif isinstance(child, Conv1D):  # GPT-2 keeps its matrices the other way round
            setattr(module, name, Int8Linear(child.weight.T, child.bias, arithmetic))
        else:
            _replace(child, arithmetic)
