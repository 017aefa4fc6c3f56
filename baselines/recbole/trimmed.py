"""RecBole's sequential networks with the padding left out: the same loss and gradients from shorter rows.

RecBole pads every history to the longest allowed, 50 items, where the median of many data sets is below 10. Networks
that read from the left and mask what comes after (or stop at the last item) give the same answer whatever the
padding. So the rows of a batch, ordered by length, are split into parts, each as wide as its own longest history, and
the losses of the parts are put together with their weights.

Imported only inside the fence.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from recbole.data.interaction import Interaction
from recbole.model.layers import FeedForward
from torch.nn.functional import cross_entropy, gelu

from baselines.recbole.sequential_data import CATEGORIES

__all__ = ["MaskedItems", "PretrainedWithAttributes", "Trimmed"]

Fields = dict[str, NDArray[np.int64]]


class Trimmed:
    """To be mixed into a network of RecBole whose loss is the mean over the rows of a batch."""

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        for module in self.modules():
            # RecBole spells GELU out in five operations; torch has the same function as one.
            if isinstance(module, FeedForward) and config["hidden_act"] == "gelu":
                module.intermediate_act_fn = gelu

    @property
    def longest_history(self) -> int:
        """Items of a history that are read, the last ones."""
        return self.max_seq_length

    def calculate_loss(self, interaction: Interaction) -> torch.Tensor:
        """Give RecBole's loss of a batch whose rows are ordered by length."""
        lengths = interaction[self.ITEM_SEQ_LEN]
        losses, weights = [], []
        for rows in _parts(lengths):
            width = int(lengths[rows][-1])
            part = {
                name: values[rows, :width] if values.dim() == 2 else values[rows]
                for name, values in interaction.interaction.items()
            }
            losses.append(self.part_loss(Interaction(part)))
            weights.append(self.weight(part))
        weight = torch.as_tensor(weights, dtype=losses[0].dtype, device=losses[0].device)
        return (torch.stack(losses) * weight).sum() / self.normaliser(weight)

    def part_loss(self, part: Interaction) -> torch.Tensor:
        """Loss of a part."""
        return super().calculate_loss(part)  # type: ignore[misc]

    def weight(self, part: dict[str, torch.Tensor]) -> float:
        """Number of things that the loss of a part is the mean of."""
        return len(part[self.ITEM_SEQ_LEN])

    def normaliser(self, weight: torch.Tensor) -> torch.Tensor:
        """What the weighted sum of the parts is divided by."""
        return weight.sum()


class MaskedItems(Trimmed):
    """BERT4Rec: also, the softmax is taken at the masked items alone.

    RecBole takes it at ten places a row, real or not, and multiplies what was not masked by 0: 1 GB of logits for a
    batch of 2,048 rows and 12,000 items.
    """

    MASKED, LABEL = "masked", "label"

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.ft_ratio = config["ft_ratio"]

    @property
    def longest_history(self) -> int:
        """Items of a history that fit in beside the mask."""
        return self.max_seq_length - 1

    def corrupt(self, fields: Fields, rng: np.random.Generator) -> Fields:
        """Mask items as RecBole's ``MaskItemSequence`` does.

        A batch in ``ft_ratio`` has only its rows' last items masked, another each item with ``mask_ratio``. Not learnt
        are the first item of a history, and more than ``mask_ratio`` of the longest history (its last ones are).

        Returns
        -------
        dict
            The masked histories and, where an item is to be learnt, that item (otherwise 0), shape of the histories.
        """
        items, last = fields[self.ITEM_SEQ], fields[self.ITEM_SEQ_LEN][:, None] - 1
        column = np.arange(items.shape[1])
        hidden = (rng.random(items.shape) < self.mask_ratio) & (items > 0)
        learnt = hidden & (column > 0) & (hidden[:, ::-1].cumsum(axis=1)[:, ::-1] <= self.mask_item_length)
        # Without anything to learn the loss would be 0 / 0.
        if rng.random() < self.ft_ratio or not learnt.any():
            hidden = column == last
            learnt = hidden & (column > 0)
        return {self.MASKED: np.where(hidden, self.mask_token, items), self.LABEL: np.where(learnt, items, 0)}

    def part_loss(self, part: Interaction) -> torch.Tensor:
        """Cross-entropy at what is to be learnt."""
        label = part[self.LABEL]
        learnt = label > 0
        if not learnt.any():
            return self.output_bias.sum() * 0
        output = self.forward(part[self.MASKED])[learnt]
        return cross_entropy(output @ self.item_embedding.weight[: self.n_items].T + self.output_bias, label[learnt])

    def weight(self, part: dict[str, torch.Tensor]) -> float:
        """Number of items to be learnt."""
        return int((part[self.LABEL] > 0).sum())

    def full_sort_predict(self, interaction: Interaction) -> torch.Tensor:
        """Score with a padding item in front, which is what RecBole drops to make room for the mask.

        Left to itself it drops the first item of every history, however short.
        """
        items = interaction[self.ITEM_SEQ]
        shifted = torch.cat([torch.zeros_like(items[:, :1]), items], dim=1)
        lengths = interaction[self.ITEM_SEQ_LEN] + 1
        return super().full_sort_predict(  # type: ignore[misc]
            Interaction({self.ITEM_SEQ: shifted, self.ITEM_SEQ_LEN: lengths})
        )


class PretrainedWithAttributes(Trimmed):
    """S3Rec: also, its pre-training data are made from arrays, not from nested lists of every item's attributes."""

    HIDDEN, NEGATIVE, SEGMENT, INSIDE, OTHER = "hidden", "negative", "segment", "inside", "other"

    def attributes(self) -> torch.Tensor:
        """Which item has which attribute, shape (ids with the mask's, attributes)."""
        if not hasattr(self, "_attributes"):
            lists = self.item_feat[CATEGORIES]
            table = torch.zeros(self.n_items, self.n_features + 1, device=self.position_embedding.weight.device)
            table[: len(lists)].scatter_(1, lists.to(table.device), 1.0)
            self._attributes = table[:, 1:]
        return self._attributes

    def corrupt(self, fields: Fields, rng: np.random.Generator) -> Fields:
        """Hide single items and a segment, and draw what else might have stood there, as RecBole does.

        A hidden item's negative is no item of the history; the negative of a segment is cut out of the histories of the
        batch, written one after the other.

        Returns
        -------
        dict
            Each of the shape of the histories: with single items hidden, their negatives, with a segment hidden, and
            hidden but for the segment, with the right and with the wrong items in it.
        """
        items, lengths = fields[self.ITEM_SEQ], fields[self.ITEM_SEQ_LEN]
        column, real = np.arange(items.shape[1]), items > 0
        hidden = (rng.random(items.shape) < self.mask_ratio) & real
        drawn = rng.integers(1, self.mask_token, items.shape)
        for _ in range(20):  # A history may hold every item there is.
            met = (drawn[:, :, None] == items[:, None, :]).any(axis=2) & hidden
            if not met.any():
                break
            drawn[met] = rng.integers(1, self.mask_token, int(met.sum()))
        size = rng.integers(1, lengths // 2 + 1)
        start = rng.integers(0, lengths - size + 1)
        inside = (column >= start[:, None]) & (column < (start + size)[:, None])
        stream = items[real]
        other = stream[
            rng.integers(0, len(stream) - size + 1)[:, None] + np.clip(column - start[:, None], 0, None) * inside
        ]
        blank = np.where(real, self.mask_token, 0)
        return {
            self.HIDDEN: np.where(hidden, self.mask_token, items),
            self.NEGATIVE: np.where(hidden, drawn, items),
            self.SEGMENT: np.where(inside, self.mask_token, items),
            self.INSIDE: np.where(inside, items, blank),
            self.OTHER: np.where(inside, other, blank),
        }

    def part_loss(self, part: Interaction) -> torch.Tensor:
        """Loss of the stage the network is in."""
        if self.train_stage == "finetune":
            return super().part_loss(part)
        lengths = part[self.ITEM_SEQ_LEN]
        names = self.HIDDEN, self.ITEM_SEQ, self.NEGATIVE, self.SEGMENT, self.INSIDE, self.OTHER
        rows = [_to_the_right(part[name], lengths) for name in names]
        return self.pretrain(self.attributes()[rows[1]], *rows)

    def normaliser(self, weight: torch.Tensor) -> torch.Tensor:
        """In pre-training losses are sums."""
        return super().normaliser(weight) if self.train_stage == "finetune" else weight.new_ones(())

    def weight(self, part: dict[str, torch.Tensor]) -> float:
        """In pre-training losses are sums."""
        return super().weight(part) if self.train_stage == "finetune" else 1

    def forward(self, item_seq: torch.Tensor, bidirectional: bool = True) -> torch.Tensor:
        """RecBole's forward pass, but positions in pre-training, where the padding is on the left, end at the last."""
        width = item_seq.size(1)
        first = self.max_seq_length - width if bidirectional else 0
        position = torch.arange(first, first + width, device=item_seq.device)
        embedded = self.item_embedding(item_seq) + self.position_embedding(position)
        mask = self.get_attention_mask(item_seq, bidirectional=bidirectional)
        return self.trm_encoder(self.dropout(self.LayerNorm(embedded)), mask, output_all_encoded_layers=True)[-1]


def _parts(lengths: torch.Tensor) -> Iterator[slice]:
    """Cut where the length passes 4, 8, 16, ...: few parts, and from there on no row more than half padding."""
    start, reach = 0, 4
    while start < len(lengths):
        stop = int(torch.searchsorted(lengths, reach, right=True))
        if stop > start:
            yield slice(start, stop)
        start, reach = max(start, stop), 2 * reach


def _to_the_right(rows: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """Move the padding from the right of each row to its left."""
    width = rows.size(1)
    return rows.gather(1, (torch.arange(width, device=rows.device) + lengths[:, None]) % width)
