"""The network of the click model, and how rows of text go through it, in training and in serving alike.

Imports torch and transformers: import this module inside a method.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bench.data.ragged import Ragged
from bench.errors import UsageError
from llm_models.backbones.layout import Layout
from llm_models.backbones.locate import BackboneFiles
from llm_models.backbones.segment_cache import MemorySegments
from llm_models.backbones.stack import load_stack, load_tokenizer
from llm_models.m6.behaviour import Segments
from llm_models.m6.click_rows import Grouped, grouped, with_blank
from llm_models.m6.click_settings import CLASSES, ClickSettings
from llm_models.m6.network import Batch, M6Network
from llm_models.m6.packing import Packer, buckets, tokenise
from llm_models.m6.serving.segments import LowerStates
from llm_models.m6.tuning import Tuning

__all__ = ["Asked", "ClickScorer"]


@dataclass(frozen=True, eq=False)
class Asked:
    """Texts with what is needed to make rows of them.

    Attributes
    ----------
    packer : Packer
    user : Ragged
        Per request numbers of texts that fit beside its candidate.
    candidate : ndarray of int64, shape (requests,)
    lower : LowerStates or None
        Where states after L' are looked up; ``None``: they are computed in every pass.
    """

    packer: Packer
    user: Ragged
    candidate: NDArray[np.int64]
    lower: LowerStates | None

    def rows(self, requests: NDArray[np.integer], *, most: int) -> Grouped:
        """Rows of some requests; ``Grouped.of`` counts within ``requests``."""
        return grouped(self.user.take(requests), self.candidate[requests], most=most)

    def lengths(self, rows: Grouped) -> NDArray[np.int64]:
        """Tokens of each row, soft prompts left out."""
        return self.packer.lengths(rows.user, rows.target)


class ClickScorer:
    """A frozen stack, the tunings of all tasks, and a tokenizer.

    Parameters
    ----------
    settings : ClickSettings
    files : BackboneFiles
    seed : int
        Of what training starts from.
    device : str

    Raises
    ------
    UsageError
        When rows can be longer than the backbone has positions, or settings name layers that it lacks.
    """

    def __init__(self, settings: ClickSettings, files: BackboneFiles, *, seed: int, device: str) -> None:
        stack = load_stack(files, dtype=settings.resolved_dtype, device=device)
        if settings.late > stack.depth or max(settings.adapted(stack.depth), default=0) >= stack.depth:
            raise UsageError(f"{settings.backbone} has {stack.depth} layers: late or adapter_layers names others")
        if stack.longest is not None and settings.max_tokens + settings.prompts > stack.longest:
            raise UsageError(
                f"{settings.backbone} has {stack.longest} positions, fewer than max_tokens ({settings.max_tokens}) and "
                f"prompts ({settings.prompts}) together"
            )
        self.settings, self.device = settings, device
        self.tokenizer = load_tokenizer(files)
        self.begin, self.end = _ends_of(self.tokenizer)
        generator = torch.Generator().manual_seed(seed)
        tunings = {
            task: Tuning(
                stack,
                settings.method,
                classes=CLASSES[task],
                prompts=settings.prompts,
                rank=settings.rank,
                adapter_layers=settings.adapted(stack.depth),
                train_specials=settings.specials_trained,
                begin=self.begin,
                end=self.end,
                generator=generator,
            )
            for task in settings.tasks
        }
        self.network = M6Network(stack, tunings, late=settings.late, reading=settings.reading).to(device).eval()
        if settings.method == "full":
            stack.requires_grad_(True)
            if stack.head is not None and stack.head.weight is not stack.words.weight:
                stack.head.requires_grad_(False)

    @property
    def declared(self) -> dict[str, nn.Parameter]:
        """What training may change, by name."""
        return {name: weight for name, weight in self.network.trained().items() if weight.requires_grad}

    @property
    def tuned(self) -> dict[str, Tensor]:
        """All that is not the backbone as it was loaded: what is stored."""
        declared = self.declared
        return {
            name: weight.detach()
            for name, weight in self.network.named_parameters()
            if name in declared or not name.startswith("stack.")
        }

    def adopt(self, tensors: Mapping[str, Tensor]) -> None:
        """Take weights over, by name."""
        mine = dict(self.network.named_parameters())
        with torch.no_grad():
            for name, value in tensors.items():
                mine[name].copy_(value)

    @property
    def parameters(self) -> tuple[int, int]:
        """How many are trained, and how many there are."""
        total = sum(weight.numel() for weight in self.network.parameters())
        return sum(weight.numel() for weight in self.declared.values()), total

    @cached_property
    def fixed_lower(self) -> bool:
        """Whether states after L' depend on nothing trained, so that they are computed once for each text."""
        return self.settings.lower_is_fixed(self.network.stack.depth)

    @cached_property
    def _kept(self) -> MemorySegments:
        return self._memory(self.settings.cache_mib * 2**20)

    def _memory(self, size: int) -> MemorySegments:
        stack = self.network.stack
        return MemorySegments(width=stack.width, dtype=str(stack.dtype).removeprefix("torch."), max_bytes=size)

    def read(self, segments: Segments) -> Asked:
        """Tokenise the texts of requests, for serving."""
        asked = self._read(with_blank(segments))
        return self._with_lower(asked, self._kept) if self.fixed_lower else asked

    def read_all(self, segments: Segments, told: Callable[[int, int], None]) -> Asked:
        """The same for training: states after L' are kept for all texts, if they can be, and computed now.

        Then what a pass reads does not depend on which passes came before, and a run that is taken up again goes on
        to the very same numbers.
        """
        asked = self._read(with_blank(segments))
        if not self.fixed_lower:
            return asked
        uses = [(np.unique(values), target) for values, target in ((asked.user.values, False), (asked.candidate, True))]
        stack = self.network.stack
        tokens = sum(int((asked.packer.tokens.lengths[numbers] + 2).sum()) for numbers, _ in uses)
        size = tokens * stack.width * (2 if stack.dtype == torch.bfloat16 else 4)
        if size > self.settings.cache_mib * 2**20:
            return asked
        kept = self._with_lower(asked, self._memory(max(size, 1)))
        assert kept.lower is not None
        done, total = 0, sum(len(numbers) for numbers, _ in uses)
        with torch.inference_mode():
            for numbers, target in uses:
                for start in range(0, len(numbers), _AT_ONCE):
                    part = numbers[start : start + _AT_ONCE]
                    kept.lower.of(part, target=target)
                    done += len(part)
                    told(done, total)
        return kept

    def _read(self, segments: Segments) -> Asked:
        tokens = tokenise(self.tokenizer, segments.texts, longest=self.settings.item_tokens)
        packer = Packer(tokens, begin=self.begin, end=self.end, max_tokens=self.settings.max_tokens, device=self.device)
        one = Ragged.from_lengths(np.ones(len(segments), np.int64), segments.candidate)
        return Asked(packer, packer.fitting(segments.user, one), segments.candidate, None)

    def _with_lower(self, asked: Asked, kept: MemorySegments) -> Asked:
        lower = LowerStates(self.network, self.settings.tasks[0], asked.packer, kept, tokens=self.settings.batch_tokens)
        return Asked(asked.packer, asked.user, asked.candidate, lower)

    def logits(self, asked: Asked, parts: Sequence[tuple[str, Grouped]]) -> list[Tensor]:
        """Put rows of several tasks through the network in one batch.

        Parameters
        ----------
        parts : sequence of (str, Grouped)
            Rows of each task.

        Returns
        -------
        list of Tensor of float32, shape (candidates of the part's rows, classes)
        """
        tasks = tuple((task, len(rows)) for task, rows in parts)
        user, target = (_joined([getattr(rows, name) for _, rows in parts]) for name in ("user", "target"))
        batch = asked.packer.pack(user, target, tasks)
        if asked.lower is None:
            embedded = self.network.embed(batch)
            hidden, layout, prompts = self.network.lower(embedded, tasks), embedded.layout, embedded.prompts
        else:
            hidden, layout, prompts = self._looked_up(asked.lower, batch, user, target)
        at, real = _target_ends(layout)
        states = self.network.upper(hidden, layout, prompts, tasks, at=at)
        found, start = [], 0
        for task, rows in tasks:
            part = slice(start, start + rows)
            found.append(self.network.tuning(task).classify(states[part][real[part]]))
            start += rows
        return found

    def _looked_up(self, lower: LowerStates, batch: Batch, user: Ragged, target: Ragged) -> tuple[Tensor, Layout, int]:
        """States after L' of a batch, from those of its segments and of each task's soft prompts."""
        network, layout = self.network, batch.layout
        rows, width = layout.segment.shape
        body = torch.zeros(rows, width, network.stack.width, dtype=network.stack.dtype, device=self.device)
        # In each row sources stand before targets, so either kind fills its places in reading order.
        body[layout.real & ~layout.target] = lower.of(user.values, target=False).values
        body[layout.target] = lower.of(target.values, target=True).values
        heads = [_prompt_states(network, task).expand(count, -1, -1) for task, count in batch.tasks]
        prompts = heads[0].shape[1]
        return torch.cat([torch.cat(heads), body], dim=1), layout.prepended(prompts), prompts

    @torch.inference_mode()
    def predict(self, task: str, segments: Segments) -> NDArray[np.float32]:
        """Probabilities of the classes, shape (requests, classes)."""
        asked = self.read(segments)
        rows = asked.rows(np.arange(len(segments)), most=self.settings.targets_per_row)
        found = np.zeros((len(segments), CLASSES[task]), np.float32)
        for part in buckets(asked.lengths(rows), tokens=2 * self.settings.batch_tokens):
            chosen = rows.take(part)
            logits = self.logits(asked, [(task, chosen)])[0]
            found[chosen.of.values] = logits.softmax(dim=1).cpu().numpy()
        return found


_AT_ONCE = 2048


def _ends_of(tokenizer: Any) -> tuple[int, int]:
    """Tokens that begin and end a text, of an encoder's tokenizer or of a decoder's."""
    begin = next(
        token for token in (tokenizer.cls_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id) if token is not None
    )
    end = next(token for token in (tokenizer.sep_token_id, tokenizer.eos_token_id, begin) if token is not None)
    return int(begin), int(end)


def _prompt_states(network: M6Network, task: str) -> Tensor:
    """States of a task's soft prompts after L', a segment of their own, shape (1, prompts, width)."""
    prompts = network.tuning(task).prompts
    places = torch.arange(len(prompts), device=prompts.device)[None]
    hidden = network.stack.begin(prompts.to(network.stack.dtype)[None], places)
    return network.stack.run(hidden, None, places, last=network.late).hidden if len(prompts) else hidden


def _joined(parts: Sequence[Ragged]) -> Ragged:
    if len(parts) == 1:
        return parts[0]
    return Ragged.from_lengths(
        np.concatenate([part.lengths for part in parts]), np.concatenate([part.values for part in parts])
    )


def _target_ends(layout: Layout) -> tuple[Tensor, Tensor]:
    """Places of the [EOS] of each row's targets: int64 and which of them are real, each of shape (rows, most)."""
    ends = layout.ends
    counts = ends.sum(dim=1)
    row, place = ends.nonzero(as_tuple=True)
    within = torch.arange(len(row), device=row.device) - (counts.cumsum(0) - counts)[row]
    at = torch.zeros(len(counts), int(counts.max()), dtype=torch.int64, device=row.device)
    at[row, within] = place
    return at, torch.arange(at.shape[1], device=row.device) < counts.unsqueeze(1)
