from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.cluster import SpectralClustering
from sklearn.metrics import adjusted_rand_score

from bench.models import Training
from llm_models.indexing import IdIndex, make_index, pieces
from llm_models.indexing.spectral import cluster_paths, spectral_clusters

MakeTraining = Callable[..., Training]


def planted(blocks: int, size: int, users: int, seed: int = 0) -> tuple[list[list[int]], np.ndarray]:
    """Users who meet six items of one block and one of any; items are numbered in no order of blocks."""
    rng = np.random.default_rng(seed)
    block = rng.permutation(np.repeat(np.arange(blocks), size))
    sequences = []
    for user in range(users):
        own = rng.choice(np.flatnonzero(block == user % blocks), 6, replace=False)
        other = rng.choice(np.setdiff1d(np.arange(len(block)), own))
        sequences.append([*own.tolist(), int(other)])
    # Every item is met by somebody.
    sequences += [[*rng.choice(np.flatnonzero(block == block[item]), 3).tolist(), item] for item in range(len(block))]
    return [list(dict.fromkeys(row)) for row in sequences], block


def graph(sequences: list[list[int]], items: int) -> csr_array:
    rows = np.repeat(np.arange(len(sequences)), [len(row) for row in sequences])
    columns = np.concatenate([np.array(row) for row in sequences])
    return csr_array((np.ones(len(rows)), (rows, columns)), shape=(len(sequences), items))


@pytest.mark.parametrize(("blocks", "size"), [(4, 60), (8, 100)], ids=["dense", "iterative"])
def test_planted_blocks_are_found(blocks: int, size: int, make_training: MakeTraining) -> None:
    sequences, block = planted(blocks, size, users=15 * blocks * 10)
    index = make_index("collaborative", make_training(sequences), seed=0, clusters=blocks, leaf=size)
    assert index.code.tolist() == list(range(blocks * size))
    first = [word.split("b_")[0].split("n_")[0] for word in index.word]
    assert adjusted_rand_score(block, first) > 0.97


def test_as_good_as_scikit_learn_on_a_noisy_graph() -> None:
    sequences, block = planted(5, 40, users=200, seed=3)
    met = graph(sequences, 200)
    edges = (met.T @ met).toarray()
    np.fill_diagonal(edges, 0)
    theirs = SpectralClustering(5, affinity="precomputed", random_state=0).fit_predict(edges)
    ours = spectral_clusters(met, clusters=5, seed=0)
    assert adjusted_rand_score(block, ours) >= adjusted_rand_score(block, theirs) - 0.02


def test_iterations_and_the_whole_matrix_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    sequences, _ = planted(4, 60, users=400, seed=1)
    met = graph(sequences, 240)
    dense = spectral_clusters(met, clusters=4, seed=0)
    monkeypatch.setattr("llm_models.indexing.spectral.DENSE", 0)
    assert adjusted_rand_score(dense, spectral_clusters(met, clusters=4, seed=0)) == 1


def test_loose_ends_do_not_become_the_clusters() -> None:
    # Two blocks, and 30 pairs of items that only one user met: unregularised, each pair would be a cluster.
    sequences, block = planted(2, 50, users=300, seed=2)
    sequences += [[100 + 2 * pair, 101 + 2 * pair] for pair in range(30)]
    label = spectral_clusters(graph(sequences, 160), clusters=2, seed=0)[:100]
    assert adjusted_rand_score(block, label) > 0.9


def test_words_are_paths(make_training: MakeTraining, tmp_path: Path) -> None:
    sequences, _ = planted(6, 50, users=400)
    index = make_index("collaborative", make_training(sequences), seed=0, clusters=4, leaf=20)
    assert len(set(index.word)) == 300
    assert not any(character.isspace() for word in index.word for character in word)
    sizes = Counter(word.rpartition("n_")[0] for word in index.word)
    assert max(sizes.values()) <= 20
    assert index.notes["leaves"] == len(sizes)
    leaves = sorted(path for path in sizes)
    assert not any(other.startswith(path) for path in leaves for other in leaves if other != path)
    assert not index.can_extend
    assert set(index.symbols) >= {"▁a_0", "b_0", "n_0"}
    assert pieces(index) == list(index.symbols)
    index.save(tmp_path / "items.json")
    read = IdIndex.load(tmp_path / "items.json")
    assert (read.kind, read.word, read.symbols, read.digest) == (
        "collaborative",
        index.word,
        index.symbols,
        index.digest,
    )
    assert make_index("collaborative", make_training(sequences), seed=1, clusters=4, leaf=20).digest != index.digest


def test_users_may_come_in_any_order_and_meet_an_item_twice(make_training: MakeTraining) -> None:
    sequences, _ = planted(3, 40, users=200)
    settings = {"seed": 0, "clusters": 3, "leaf": 40}
    reference = make_index("collaborative", make_training(sequences), **settings)
    again = make_index("collaborative", make_training([[*row, row[0]] for row in reversed(sequences)]), **settings)
    assert (
        adjusted_rand_score(
            [word.partition("n_")[0] for word in reference.word], [word.partition("n_")[0] for word in again.word]
        )
        > 0.97
    )


def test_items_that_nobody_met_with_another_are_dealt_out(make_training: MakeTraining) -> None:
    index = make_index("collaborative", make_training([[item] for item in range(50)]), seed=0, clusters=4, leaf=10)
    sizes = Counter(word.rpartition("n_")[0] for word in index.word)
    assert max(sizes.values()) <= 10
    assert len(set(index.word)) == 50


def test_few_items_need_no_cluster(make_training: MakeTraining) -> None:
    index = make_index("collaborative", make_training([[0, 1], [1, 2]]), seed=0)
    assert sorted(index.word) == ["n_0", "n_1", "n_2"]
    assert index.symbols == ("▁n_0", "▁n_1", "▁n_2")


def test_small_leaves_end() -> None:
    sequences, _ = planted(2, 30, users=50)
    paths = cluster_paths(graph(sequences, 60), clusters=2, leaf=1, seed=0)
    assert len(set(paths)) == 60
