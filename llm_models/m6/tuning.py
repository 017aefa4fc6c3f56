"""What is trained of one task on a shared, frozen backbone: prompt, option, adapter and full tuning as one thing.

A task brings a :class:`Tuning`; which of its parts exist is what a *method* is. With ``options`` the last C soft
prompts double as the rows of the classifier (M6-Rec's option tuning): ``logits_c = h[EOS] . o_c``. An adapter adds
``lambda_l (sigma(Z W1 + b1) W2 + b2)`` to the feed-forward network of layer l, whose input is Z.

Source: Cui et al., "M6-Rec: Generative Pretrained Language Models are Open-Ended Recommender Systems", 2022. Rank,
number of prompts, sigma and the starting values are not to be found there: the first two are settings, the others are
chosen here (tanh-approximated GELU; the adapter's last map at 0, lambda at 1; word vectors drawn at random).

Imports torch: import this module inside a method.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from llm_models.backbones.blocks import Extra
from llm_models.backbones.stack import Stack

__all__ = ["METHODS", "SPECIALS", "Adapter", "Method", "Tuning"]

Method = Literal["head", "adapter", "prompt", "option", "option-adapter", "full"]
"""What is trained: the linear classifier alone; adapters and classifier; soft prompts and classifier; soft prompts
whose last ones are the classifier; the same with adapters; all weights of the backbone and the classifier."""

METHODS: tuple[Method, ...] = get_args(Method)

SPECIALS = ("source begin", "source end", "target begin", "target end")
"""Rows of :attr:`Tuning.specials`: [BOS'], [EOS'], [BOS], [EOS]."""


class Adapter(nn.Module):
    """The low-rank term of one layer, which starts at 0.

    Attributes
    ----------
    scale : Parameter of float32, shape ()
        lambda_l. It starts at 1, and ``up`` at 0: with both at 0 nothing would ever move.
    """

    def __init__(self, width: int, rank: int) -> None:
        super().__init__()
        self.down = nn.Linear(width, rank)
        self.up = nn.Linear(rank, width)
        nn.init.normal_(self.down.weight, std=width**-0.5)
        nn.init.zeros_(self.down.bias)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, z: Tensor) -> Tensor:
        """The term for feed-forward inputs, shape (rows, tokens, width), in their dtype."""
        kind = z.dtype
        inner = functional.gelu(
            functional.linear(z, self.down.weight.to(kind), self.down.bias.to(kind)), approximate="tanh"
        )
        return self.scale.to(kind) * functional.linear(inner, self.up.weight.to(kind), self.up.bias.to(kind))


class Tuning(nn.Module):
    """The trained part of one task, in float32 whatever the backbone's dtype.

    Parameters
    ----------
    stack : Stack
    method : str
        One of :data:`METHODS`. ``"full"`` trains the stack's weights too, which are not part of this module.
    classes : int
        Rows of the classifier; 0 for a task that does not classify.
    prompts : int
        Soft prompts, of methods that have them; at least ``classes`` with options.
    rank : int
        Of the adapters.
    adapter_layers : sequence of int or None
        Layers with an adapter, from 0; ``None``: all.
    train_specials : bool
        Whether the four special tokens are trained (M6-Rec does). Where they are not, a segment's lower layers do not
        depend on the task.
    begin, end : int
        Tokens that begin and end a text for the backbone: where the special tokens start.
    generator : torch.Generator
        Soft prompts start at word vectors drawn at random.
    """

    def __init__(
        self,
        stack: Stack,
        method: Method,
        *,
        classes: int,
        prompts: int,
        rank: int,
        adapter_layers: Sequence[int] | None = None,
        train_specials: bool = True,
        begin: int,
        end: int,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.method: Method = method
        self.classes = classes
        words = stack.words.weight.detach().float().cpu()
        has_prompts = method in {"prompt", "option", "option-adapter"}
        self.options = method.startswith("option")
        if self.options and prompts < classes:
            raise ValueError(f"{prompts} soft prompts cannot hold {classes} options")
        drawn = torch.randint(len(words), (prompts if has_prompts else 0,), generator=generator)
        self.prompts = nn.Parameter(words[drawn].clone())
        self.specials = nn.Parameter(
            words[[begin, end, begin, end]].clone(), requires_grad=train_specials and method != "head"
        )
        layers = range(stack.depth) if adapter_layers is None else sorted(set(adapter_layers))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(torch.randint(2**31, (), generator=generator)))
            self.adapters = nn.ModuleDict(
                {str(layer): Adapter(stack.width, rank) for layer in layers} if method.endswith("adapter") else {}
            )
            self.head = nn.Linear(stack.width, classes) if classes and not self.options else None
            if self.head is not None:
                nn.init.normal_(self.head.weight, std=stack.width**-0.5)
                nn.init.zeros_(self.head.bias)
        # Hidden states of post-normalised stacks have a length of about the root of the width; without this factor the
        # logits of options start in the tens.
        self.bias = nn.Parameter(torch.zeros(classes if self.options else 0))
        self.option_scale = stack.width**-0.5

    @property
    def prompt_count(self) -> int:
        """How many soft prompts stand before each row."""
        return len(self.prompts)

    def adapter(self, layer: int) -> Extra | None:
        """The adapter of a layer, numbered from 0, where there is one."""
        key = str(layer)
        return self.adapters[key] if key in self.adapters else None  # noqa: SIM401 (a ModuleDict has no get)

    def classify(self, hidden: Tensor) -> Tensor:
        """Logits, float32, shape (rows, classes), of hidden states at [EOS], shape (rows, width)."""
        hidden = hidden.float()
        if self.options:
            return hidden @ self.prompts[len(self.prompts) - self.classes :].T * self.option_scale + self.bias
        if self.head is None:
            raise ValueError("this task does not classify")
        return self.head(hidden)
