"""The one door to all indexes: by name, from training data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

from bench.audit import refuse_moving
from bench.errors import nearest
from bench.models import Training
from llm_models.indexing.ids import IdIndex, random_ids
from llm_models.indexing.sequential import leaky_sequential_ids, sequential_ids, sequential_user_ids

__all__ = ["ITEM_KINDS", "USER_KINDS", "ItemKind", "UserKind", "extendable", "make_index", "make_user_index"]

ItemKind = Literal["random", "sequential", "sequential-original", "collaborative", "semantic"]
UserKind = Literal["random", "sequential"]

ITEM_KINDS: tuple[ItemKind, ...] = get_args(ItemKind)
USER_KINDS: tuple[UserKind, ...] = get_args(UserKind)

USER_PREFIX = "user_"


def extendable(name: str) -> bool:
    """Whether an index of this kind can give ids to items met after training (known before it is made)."""
    return name in {"sequential", "semantic"}


def make_index(
    name: str,
    training: Training,
    *,
    seed: int,
    digits: int | None = 2,
    clusters: int = 20,
    leaf: int = 100,
    method: Literal["kmeans", "rq-vae"] = "kmeans",
    embedder: Literal["tfidf", "minilm"] = "tfidf",
    levels: int = 3,
    codebook: int = 256,
    device: str = "cpu",
) -> IdIndex:
    """Give ids to the training items.

    Parameters
    ----------
    name : str
        ``"random"``, ``"sequential"`` (training events only), ``"sequential-original"`` (P5's own, held-out events
        included), ``"collaborative"`` (clusters of the co-occurrence graph) or ``"semantic"`` (clusters of texts).
    seed : int
    digits : int or None
        Random and sequential: digits to a group; ``None`` (sequential): plain numbers.
    clusters, leaf : int
        Collaborative: parts that a cluster is cut into, and the most items of a part that is not cut again.
    method, embedder, levels, codebook
        Semantic: see :func:`~llm_models.indexing.semantic.semantic_ids`.
    device : str
        Where RQ-VAE and MiniLM compute.

    Raises
    ------
    UsageError
        For an unknown name, or ``sequential-original`` where the suite does not allow it.
    MissingInputError
        For semantic ids of items without text.
    ModelError
        When an index that should not know held-out rows changes with them.
    """

    def random(data: Training) -> IdIndex:
        return random_ids(data.item, seed=seed, digits=digits or 2)

    def collaborative(data: Training) -> IdIndex:
        from llm_models.indexing.collaborative import collaborative_ids

        return collaborative_ids(data, seed=seed, clusters=clusters, leaf=leaf)

    def semantic(data: Training) -> IdIndex:
        from llm_models.indexing.semantic import semantic_ids

        return semantic_ids(
            data, seed=seed, method=method, embedder=embedder, levels=levels, codebook=codebook, device=device
        )

    makers: dict[str, Callable[[Training], IdIndex]] = {
        "random": random,
        "sequential": lambda data: sequential_ids(data, seed=seed, digits=digits),
        "sequential-original": lambda data: leaky_sequential_ids(data.leak, seed=seed, digits=digits),
        "collaborative": collaborative,
        "semantic": semantic,
    }
    if name not in makers:
        raise nearest("index", name, makers)
    index = makers[name](training)
    if name != "sequential-original":
        refuse_moving(name, index.digest, lambda data: makers[name](data).digest, training)
    return index


def make_user_index(name: str, training: Training, *, seed: int, digits: int | None = 2) -> IdIndex:
    """Give ids, ``user_`` and a number, to the training users: at random, or in the order of sequential items.

    Raises
    ------
    UsageError
        For an unknown name.
    """
    if name == "random":
        return random_ids(training.user, seed=seed, digits=digits or 2, prefix=USER_PREFIX)
    if name == "sequential":
        return sequential_user_ids(training.user, seed=seed, digits=digits, prefix=USER_PREFIX)
    raise nearest("index of users", name, USER_KINDS)
