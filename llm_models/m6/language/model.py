"""A language model of several tasks: one stack, a tuning for each task, one head.

Imports torch: import this module inside a method.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.errors import UsageError
from llm_models.backbones.stack import Stack
from llm_models.m6.language.head import LanguageHead
from llm_models.m6.language.rows import Reading, Row, Rows, TextBatch, marks
from llm_models.m6.network import M6Network
from llm_models.m6.tuning import Method, Tuning

__all__ = ["TUNED", "LanguageModel", "Tuned"]

Tuned = Literal["zero-shot", "head", "prompt", "adapter", "prompt-adapter", "full"]
"""What learns: nothing; the language-model head alone (of a backbone without one); soft prompts; adapters; both; all
weights. A backbone without a head has its head trained with any of them but the first, which it cannot have."""

TUNED: tuple[Tuned, ...] = get_args(Tuned)

_METHODS: Mapping[Tuned, Method] = {
    "zero-shot": "head",
    "head": "head",
    "prompt": "prompt",
    "adapter": "adapter",
    "prompt-adapter": "option-adapter",  # without classes: soft prompts and adapters, and no option among them
    "full": "full",
}


class LanguageModel(nn.Module):
    """A stack with tunings and a language-model head.

    Parameters
    ----------
    stack : Stack
    tokenizer : transformers.PreTrainedTokenizerFast
    tasks : sequence of str
    tuned : str
        One of :data:`TUNED`.
    prompts, rank : int
        Soft prompts of each task, and rank of its adapters.
    reading : str
        ``"prefix"``, ``"causal"``, or ``"native"``: causal for decoders, prefix for encoders.
    max_source, max_target : int
        See :class:`~llm_models.m6.language.rows.Rows`.
    seed : int

    Raises
    ------
    UsageError
        Where the backbone has no head and none is trained, where there is nothing to train, and where a row may be
        longer than the backbone reads.
    """

    def __init__(
        self,
        stack: Stack,
        tokenizer: Any,
        tasks: Sequence[str],
        *,
        tuned: Tuned,
        prompts: int = 8,
        rank: int = 8,
        reading: Reading | Literal["native"] = "native",
        max_source: int = 128,
        max_target: int = 48,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if tuned == "zero-shot" and stack.head is None:
            raise UsageError(
                "this backbone was pre-trained without a language-model head, so it has no zero-shot likelihood: let "
                "one be trained (tuned: head, or another), or take a decoder (GPT-2, SmolLM, Qwen, Llama)"
            )
        if tuned == "head" and stack.head is not None:
            raise UsageError("this backbone brings its language-model head along: tuned: head would train nothing")
        self.tuned = tuned
        self.reading: Reading = reading if reading != "native" else ("causal" if stack.kind == "decoder" else "prefix")
        self.rows = Rows(
            tokenizer, reading=self.reading, max_source=max_source, max_target=max_target, device=str(stack.device)
        )
        generator = torch.Generator().manual_seed(seed)
        begin, end = marks(tokenizer)
        tunings = {
            task: Tuning(
                stack,
                _METHODS[tuned],
                classes=0,
                prompts=prompts,
                rank=rank,
                begin=begin,
                end=end,
                train_specials=self.reading == "prefix",
                generator=generator,
            )
            for task in tasks
        }
        self.network = M6Network(stack, tunings)
        self.head = LanguageHead(stack, generator=generator)
        if tuned == "full":
            stack.requires_grad_(True)
        longest = max(tuning.prompt_count for tuning in tunings.values()) + max_source + max_target + 4
        if stack.longest is not None and longest > stack.longest:
            raise UsageError(
                f"rows may have {longest} tokens, soft prompts included, and this backbone reads {stack.longest}: "
                "lower max_source, max_target or prompts"
            )
        self.to(stack.device)
        self.eval()

    @property
    def stack(self) -> Stack:
        """The backbone."""
        return self.network.stack

    @property
    def tokenizer(self) -> Any:
        """Its tokenizer."""
        return self.rows.tokenizer

    def trained(self) -> dict[str, nn.Parameter]:
        """The declared parameters, by name: what training may change."""
        if self.tuned == "zero-shot":
            return {}
        own = {f"network.{name}": weight for name, weight in self.network.trained().items()}
        # Adapters, prompts and special tokens of method "head" do not exist or rest.
        return own | {f"head.{name}": weight for name, weight in self.head.named_parameters()}

    @property
    def parameters_total(self) -> int:
        """Of everything, the backbone included."""
        return sum(weight.numel() for weight in self.parameters())

    def token_likelihoods(self, packed: TextBatch) -> tuple[Tensor, Tensor]:
        """Log-probabilities of the tokens that a batch foretells.

        Returns
        -------
        Tensor of float32, shape (labels,)
        Tensor of int64, shape (labels,)
            The row of each.
        """
        hidden, _ = self.network(packed.batch)
        hidden = hidden[:, hidden.shape[1] - packed.labels.shape[1] :]
        row, place = (packed.labels >= 0).nonzero(as_tuple=True)
        losses = functional.cross_entropy(self.head(hidden[row, place]), packed.labels[row, place], reduction="none")
        return -losses, row

    def mean_likelihoods(self, rows: Sequence[Row], *, tokens: int = 4096) -> Tensor:
        """Mean log-probability of each row's target and end mark, float32, shape (rows,), every row in full."""
        from llm_models.m6.language.training import batches_of

        found = torch.zeros(len(rows))
        with torch.inference_mode():
            for places in batches_of(self.rows, rows, tokens=tokens):
                packed = self.rows.pack([rows[place] for place in places])
                values, row = self.token_likelihoods(packed)
                sums = torch.zeros(len(places), device=values.device).index_add_(0, row, values)
                found[places] = (sums / torch.bincount(row, minlength=len(places)).clamp(min=1)).cpu()
        return found

    def weights(self) -> dict[str, Tensor]:
        """All that a saved model needs beside the backbone: trained weights, and the drawn ones that rest."""
        kept = {f"head.{name}": value for name, value in self.head.named_parameters()}
        kept |= {f"network.tunings.{name}": value for name, value in self.network.tunings.named_parameters()}
        kept |= self.trained()
        return {name: value.detach().cpu().contiguous() for name, value in kept.items()}

    def use(self, weights: Mapping[str, Tensor]) -> None:
        """Take up what :meth:`weights` gave."""
        own = dict(self.named_parameters())
        with torch.no_grad():
            for name, value in weights.items():
                own[name].copy_(value)
