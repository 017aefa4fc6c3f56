"""Ids from texts: items whose texts say much the same share the beginning of their ids. Imports scipy: import late."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from bench.models import Training
from llm_models.indexing.codes import CodeWriter
from llm_models.indexing.embedding import Embedder, item_texts, learn_embedder, restore_embedder
from llm_models.indexing.ids import IdIndex
from llm_models.indexing.newcomers import free_places
from llm_models.indexing.quantise import Quantiser, residual_kmeans

__all__ = ["SemanticCodes", "semantic_ids"]

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, eq=False)
class SemanticCodes:
    """Gives words to items by their texts.

    An item has the codes of its text and the smallest last number that is free; where none is, or where its text says
    nothing, a random word that is free.
    """

    embedder: Embedder
    quantiser: Quantiser
    writer: CodeWriter
    seed: int
    name: ClassVar[str] = "semantic codes"

    def words(self, texts: pl.DataFrame, taken: frozenset[str]) -> list[str]:
        """Distinct words outside ``taken``, one a row."""
        return self.place(texts["item_id"], self.embedder.embed(item_texts(texts)), taken)

    def place(self, item_ids: pl.Series, vectors: NDArray[np.float32], taken: frozenset[str]) -> list[str]:
        """Do that for items whose texts are read already, shape (items, width); zeros: the text says nothing."""
        written = vectors.any(axis=1)
        codes = self.quantiser.encode(vectors)
        occupied = set(taken)
        words: list[str | None] = [None] * len(item_ids)
        for row in np.flatnonzero(written).tolist():
            free = (self.writer.write(codes[row].tolist(), last) for last in range(self.writer.last))
            words[row] = next((word for word in free if word not in occupied), None)
            occupied.add(words[row] or "")
        homeless = pl.Series([word is None for word in words])
        used = [self.writer.place(word) for word in occupied if word] if homeless.any() else ()
        free_ = iter(free_places(item_ids.filter(homeless), self.seed, self.writer.room, used))
        return [word or self.writer.at(next(free_)) for word in words]

    def state(self) -> tuple[dict[str, Any], Arrays]:
        """All it needs, as JSON and as arrays."""
        embedder, of_embedder = self.embedder.state()
        quantiser, of_quantiser = self.quantiser.state()
        settings = {
            "embedder": {"name": self.embedder.name, **embedder},
            "quantiser": quantiser,
            "sizes": list(self.writer.sizes),
            "last": self.writer.last,
            "seed": self.seed,
        }
        arrays = {f"embedder.{name}": array for name, array in of_embedder.items()}
        return settings, arrays | {f"quantiser.{name}": array for name, array in of_quantiser.items()}

    @classmethod
    def restore(cls, settings: dict[str, Any], arrays: Arrays) -> Self:
        """Undo :meth:`state`."""

        def below(part: str) -> dict[str, NDArray[Any]]:
            return {name.removeprefix(part): array for name, array in arrays.items() if name.startswith(part)}

        return cls(
            restore_embedder(settings["embedder"]["name"], settings["embedder"], below("embedder.")),
            Quantiser.restore(settings["quantiser"], below("quantiser.")),
            CodeWriter(tuple(settings["sizes"]), settings["last"]),
            settings["seed"],
        )


def semantic_ids(
    training: Training,
    *,
    seed: int,
    method: Literal["kmeans", "rq-vae"] = "kmeans",
    embedder: Literal["tfidf", "minilm"] = "tfidf",
    levels: int = 3,
    codebook: int = 256,
    device: str = "cpu",
) -> IdIndex:
    """Name every training item by the codes of its text, and a last number that tells items of the same codes apart.

    A word is ``a_12b_7c_30n_0``; all have as many pieces. Codes and vocabulary come from the texts of training items
    alone; an item met later gets its own from its text.

    Parameters
    ----------
    training : Training
    seed : int
    method : str
        ``"kmeans"``: each level clusters what the levels before left over; ``"rq-vae"``: the same in the latent space
        of an autoencoder that is trained along with the codes.
    embedder : str
        What is read of a text: ``"tfidf"`` (words of title and categories, reduced to 128 numbers) or ``"minilm"``.
    levels : int
        Codes of an id, the last number not counted.
    codebook : int
        Codes of a level (no more than there are items with text); there are as many last numbers, or
        twice the largest group of items of the same codes where that is more.
    device : str
        Where MiniLM computes.

    Raises
    ------
    MissingInputError
        When no item has text, or a package is missing.
    """
    items = training.items.sort("item")
    texts = item_texts(items)
    read, vectors = learn_embedder(embedder, texts, seed=seed, device=device)
    written = vectors.any(axis=1)
    notes: dict[str, Any] = {}
    if method == "kmeans":
        books = residual_kmeans(vectors[written], levels=levels, codebook=codebook, seed=seed)
        quantiser = Quantiser((), books)
    else:
        from llm_models.indexing.rqvae import train_rqvae

        quantiser, curve = train_rqvae(vectors[written], levels=levels, codebook=codebook, seed=seed)
        notes["reconstruction"] = [round(curve[0], 4), round(curve[-1], 4)]
    codes = quantiser.encode(vectors[written])
    sharing = Counter(map(tuple, codes.tolist()))
    largest = max(sharing.values())
    # Twice as many last numbers as training needs: items met later share codes too.
    writer = CodeWriter((quantiser.books.shape[1],) * levels, max(codebook, 2 * largest))
    coder = SemanticCodes(read, quantiser, writer, seed)
    # In random order, so that last numbers say nothing.
    order = np.random.default_rng([seed, 3]).permutation(len(items))
    drawn = coder.place(items["item_id"][order], vectors[order], frozenset())
    words = [""] * len(items)
    for at, word in zip(order.tolist(), drawn, strict=True):
        words[at] = word
    notes |= {
        "codes_used": [len(np.unique(codes[:, level])) for level in range(levels)],
        "largest_group": largest,
        "without_text": int((~written).sum()),
    }
    return IdIndex(
        items["item"].to_numpy(),
        tuple(words),
        kind="semantic",
        symbols=writer.symbols,
        collisions=sum(count for count in sharing.values() if count > 1),
        notes=notes,
        newcomers=coder,
    )
