"""A frozen text encoder: a bidirectional transformer, mean pooling over real tokens, unit length.

This is how all-MiniLM-L6-v2 is defined (transformer, mean pooling, normalisation), and a fair default for other
encoders. The module imports torch: import it inside a method.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModel, AutoTokenizer
from transformers.utils import logging as transformers_logging

from llm_models.backbones.locate import BackboneFiles

Told = Callable[[int, int], None]

__all__ = ["TextEncoder", "shared_encoder"]

# Padded tokens a batch. On CPUs small batches stay in cache: 1,024 was 1.3 times as fast as 4,096 (2 cores).
_BATCH_TOKENS = {"cpu": 1024, "cuda": 65536}


class TextEncoder:
    """Turns texts into unit vectors; each distinct text is encoded once in the life of the object.

    Parameters
    ----------
    files : BackboneFiles
    max_tokens : int
        Longer texts are cut (special tokens included).
    dtype : {"float32", "bfloat16"}
        bfloat16 halves the time on CPUs that compute in it (2.0 times as fast, measured on one core), but moves
        an embedding's entries by up to .004, and not always by the same: they then depend on the batch.
    device : str

    Attributes
    ----------
    tokens_read : int
        Tokens encoded so far, padding not counted.
    """

    def __init__(
        self, files: BackboneFiles, *, max_tokens: int = 64, dtype: str = "float32", device: str = "cpu"
    ) -> None:
        shown = transformers_logging.is_progress_bar_enabled()
        transformers_logging.disable_progress_bar()
        try:
            self.tokenizer = AutoTokenizer.from_pretrained(files.folder, local_files_only=True)
            model = AutoModel.from_pretrained(files.folder, local_files_only=True, use_safetensors=True)
        finally:
            if shown:
                transformers_logging.enable_progress_bar()
        self.model = model.to(device=device, dtype=getattr(torch, dtype)).eval().requires_grad_(False)
        limit = int(getattr(model.config, "max_position_embeddings", max_tokens))
        self.max_tokens = min(max_tokens, limit)
        self.device = device
        self.tokens_read = 0
        self._row: dict[str, int] = {}
        self._matrix = np.empty((0, self.width), np.float32)

    @property
    def width(self) -> int:
        """Length of an embedding."""
        return int(self.model.config.hidden_size)

    @property
    def parameters(self) -> int:
        """Number of weights, all frozen."""
        return sum(weight.numel() for weight in self.model.parameters())

    def encode(self, texts: Sequence[str], *, progress: Told | None = None) -> NDArray[np.float32]:
        """Embed texts: unit rows, float32, shape (texts, width), in the order given."""
        return self.take(self.index(texts, progress=progress))

    def index(self, texts: Sequence[str], *, progress: Told | None = None) -> NDArray[np.int64]:
        """Encode those texts that were not met before; return the row of each, for :meth:`take`.

        Parameters
        ----------
        texts : sequence of str
            May repeat.
        progress : callable or None
            Told how many of the new texts are done, and how many there are, after each batch.

        Returns
        -------
        ndarray of int64, shape (texts,)
            Valid for the life of the encoder.
        """
        fresh = [text for text in dict.fromkeys(texts) if text not in self._row]
        if fresh:
            vectors = np.empty((len(fresh), self.width), np.float32)
            done = 0
            for batch, encoded in self._batches(fresh):
                vectors[batch] = encoded
                done += len(batch)
                if progress is not None:
                    progress(done, len(fresh))
            self._row.update({text: row for row, text in enumerate(fresh, start=len(self._matrix))})
            self._matrix = np.concatenate([self._matrix, vectors])
        return np.array([self._row[text] for text in texts], dtype=np.int64)

    def take(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Embeddings by row (see :meth:`index`), shape (rows, width)."""
        return self._matrix[rows]

    def _batches(self, texts: list[str]) -> Iterator[tuple[list[int], NDArray[np.float32]]]:
        """Encode texts in batches of like length: positions and their vectors, shape (batch, width)."""
        tokens = self.tokenizer(texts, truncation=True, max_length=self.max_tokens)["input_ids"]
        lengths = np.array([len(row) for row in tokens])
        self.tokens_read += int(lengths.sum())
        room = _BATCH_TOKENS["cpu" if self.device == "cpu" else "cuda"]
        order = np.argsort(-lengths, kind="stable")  # longest first: the first batch shows the peak of memory
        start = 0
        while start < len(order):
            size = max(1, room // int(lengths[order[start]]))
            batch = order[start : start + size].tolist()
            yield batch, self._embed([tokens[position] for position in batch])
            start += size

    def _embed(self, tokens: list[list[int]]) -> NDArray[np.float32]:
        """Pool the last layer: token ids of a batch -> unit vectors, shape (batch, width)."""
        padded = self.tokenizer.pad({"input_ids": tokens}, return_tensors="pt").to(self.device)
        with torch.inference_mode():
            states = self.model(input_ids=padded["input_ids"], attention_mask=padded["attention_mask"])
            hidden = states.last_hidden_state.float()  # (batch, tokens, width)
            real = padded["attention_mask"].unsqueeze(-1).float()
            pooled = (hidden * real).sum(dim=1) / real.sum(dim=1).clamp(min=1.0)
            return torch.nn.functional.normalize(pooled, dim=1).cpu().numpy()


@cache
def shared_encoder(files: BackboneFiles, max_tokens: int, dtype: str, device: str) -> TextEncoder:
    """The process's encoder of these files: loaded once, and its embeddings shared by all models that use it."""
    return TextEncoder(files, max_tokens=max_tokens, dtype=dtype, device=device)
