"""Vectors of items' texts, learned from training items and computable for any other. Imports what it needs late."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from bench.errors import MissingInputError

__all__ = ["Embedder", "MiniLM", "Tfidf", "item_texts", "learn_embedder", "restore_embedder"]

Floats = NDArray[np.float32]

#: Length of TF-IDF vectors after reduction.
WIDTH = 128
#: Tokens of a text that MiniLM reads.
TOKENS = 64


class Embedder(Protocol):
    """Texts to vectors."""

    name: ClassVar[str]

    def embed(self, texts: list[str]) -> Floats:
        """Unit vectors, shape (texts, width); zeros for a text that says nothing."""

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """All it needs, as JSON and as arrays."""


def item_texts(items: pl.DataFrame) -> list[str]:
    """Title and categories of each item (columns as in ``Catalogue.text``), empty where it has neither."""
    titles = items["title"].to_list() if "title" in items.columns else [None] * len(items)
    lists = items["categories"].to_list() if "categories" in items.columns else [None] * len(items)
    written = (
        ". ".join(part for part in (title, ", ".join(filter(None, categories or []))) if part)
        for title, categories in zip(titles, lists, strict=True)
    )
    return [" ".join(html.unescape(text).split()) for text in written]


@dataclass(frozen=True, eq=False)
class Tfidf:
    """TF-IDF of words with sublinear counts, reduced by a truncated singular value decomposition.

    Attributes
    ----------
    terms : tuple of str
        Words that occur in two training texts at least.
    weight : ndarray of float64, shape (terms,)
        Inverse document frequencies.
    axes : ndarray of float32, shape (terms, width)
        Leading right singular vectors.
    """

    terms: tuple[str, ...]
    weight: NDArray[np.float64]
    axes: Floats
    name: ClassVar[str] = "tfidf"

    @classmethod
    def learn(cls, texts: list[str], seed: int) -> Self:
        """Learn words, weights and axes from texts that are not empty."""
        from sklearn.decomposition import TruncatedSVD
        from sklearn.feature_extraction.text import TfidfVectorizer

        counter = TfidfVectorizer(sublinear_tf=True, min_df=2 if len(texts) > WIDTH else 1)
        try:
            rows = counter.fit_transform(texts)
        except ValueError as error:
            raise MissingInputError(f"semantic ids: no word in the {len(texts):,} texts of training items") from error
        width = min(WIDTH, min(rows.shape) - 1)
        # So few texts or words need no reduction.
        axes = np.eye(rows.shape[1]) if width < 2 else TruncatedSVD(width, random_state=seed).fit(rows).components_.T
        return cls(tuple(counter.get_feature_names_out().tolist()), counter.idf_, axes.astype(np.float32))

    def embed(self, texts: list[str]) -> Floats:
        """Unit vectors; words that were not learned count for nothing."""
        from sklearn.feature_extraction.text import TfidfVectorizer

        counter = TfidfVectorizer(sublinear_tf=True, vocabulary=list(self.terms))
        counter.idf_ = self.weight
        return _unit(np.asarray(counter.transform(texts) @ self.axes, np.float32))

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Words as JSON, weights and axes as arrays."""
        return {"terms": list(self.terms)}, {"weight": self.weight, "axes": self.axes}


@dataclass(frozen=True, eq=False)
class MiniLM:
    """all-MiniLM-L6-v2, frozen, as it comes inside an installed package; around the mean of training texts.

    Attributes
    ----------
    weights_sha256 : str
        Of the weights that the mean belongs to.
    mean : ndarray of float32, shape (width,)
    device : str
        Where it computes.
    """

    weights_sha256: str
    mean: Floats
    device: str = "cpu"
    name: ClassVar[str] = "minilm"

    @classmethod
    def learn(cls, texts: list[str], device: str) -> tuple[Self, Floats]:
        """Take the mean of texts that are not empty; their unit vectors come with it (they are dear)."""
        from llm_models.backbones.locate import PACKAGED_MINILM, locate

        sha = locate(PACKAGED_MINILM).weights_sha256
        encoded = _encode(texts, sha, device)
        learned = cls(sha, encoded.mean(axis=0), device)
        return learned, _unit(encoded - learned.mean)

    def embed(self, texts: list[str]) -> Floats:
        """Unit vectors."""
        vectors = np.zeros((len(texts), len(self.mean)), np.float32)
        written = [text for text in texts if text]
        if written:
            vectors[[bool(text) for text in texts]] = _encode(written, self.weights_sha256, self.device) - self.mean
        return _unit(vectors)

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """The digest of the weights as JSON, the mean as an array."""
        return {"weights_sha256": self.weights_sha256}, {"mean": self.mean}


def _encode(texts: list[str], weights_sha256: str, device: str) -> Floats:
    from llm_models.backbones.encoder import TextEncoder
    from llm_models.backbones.locate import PACKAGED_MINILM, locate

    # An encoder of its own, not the process's: batches, and with them the last bits, must depend on these texts alone.
    files = locate(PACKAGED_MINILM, weights_sha256=weights_sha256)
    return TextEncoder(files, max_tokens=TOKENS, device=device).encode(texts)


def _unit(vectors: Floats) -> Floats:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, 1e-12), np.float32)


def learn_embedder(name: str, texts: list[str], *, seed: int, device: str = "cpu") -> tuple[Embedder, Floats]:
    """Make the embedder of that name (``"tfidf"`` or ``"minilm"``) from the texts of training items.

    Returns
    -------
    embedder : Embedder
    vectors : ndarray of float32, shape (texts, width)
        What it makes of ``texts``.

    Raises
    ------
    MissingInputError
        When no item has a text, or MiniLM is not installed.
    """
    written = [text for text in texts if text]
    if not written:
        raise MissingInputError(
            "semantic ids are made from titles and categories, and no training item has either; use another index "
            "(random, sequential, collaborative), or get the items' texts (`bench data show` says where)"
        )
    if name == Tfidf.name:
        words = Tfidf.learn(written, seed)
        return words, words.embed(texts)
    model, encoded = MiniLM.learn(written, device)
    vectors = np.zeros((len(texts), encoded.shape[1]), np.float32)
    vectors[[bool(text) for text in texts]] = encoded
    return model, vectors


def restore_embedder(name: str, settings: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Embedder:
    """Undo ``state``."""
    if name == Tfidf.name:
        return Tfidf(tuple(settings["terms"]), arrays["weight"], arrays["axes"])
    return MiniLM(settings["weights_sha256"], arrays["mean"])
