from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from sklearn.cluster import KMeans

from llm_models.indexing.kmeans import kmeans, nearest_centre


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 60), st.integers(1, 8), st.integers(1, 5), st.integers(0, 100))
def test_the_nearest_centre_is_that_of_scipy(points: int, centres: int, width: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    one, other = (rng.standard_normal((count, width)).astype(np.float32) for count in (points, centres))
    label, distance = nearest_centre(one, other)
    expected = cdist(one, other, "sqeuclidean")
    np.testing.assert_allclose(distance, expected.min(axis=1), atol=1e-4)
    np.testing.assert_allclose(expected[np.arange(points), label], expected.min(axis=1), atol=1e-4)


@pytest.mark.parametrize("clusters", [5, 40])
def test_as_good_as_scikit_learn(clusters: int) -> None:
    rng = np.random.default_rng(1)
    points = (rng.standard_normal((30, 6))[rng.integers(0, 30, 900)] * 3 + rng.standard_normal((900, 6))).astype(
        np.float32
    )
    ours = nearest_centre(points, kmeans(points, clusters, seed=0, tries=3))[1].sum()
    theirs = KMeans(clusters, n_init=3, random_state=0).fit(points).inertia_
    assert ours < 1.05 * theirs


def test_the_seed_decides() -> None:
    points = np.random.default_rng(0).standard_normal((300, 4)).astype(np.float32)
    np.testing.assert_array_equal(kmeans(points, 10, seed=0), kmeans(points, 10, seed=0))
    assert (kmeans(points, 10, seed=0) != kmeans(points, 10, seed=1)).any()


def test_points_that_are_all_alike() -> None:
    points = np.ones((20, 3), np.float32)
    centres = kmeans(points, 4, seed=0)
    np.testing.assert_array_equal(centres, np.ones((4, 3), np.float32))
    with pytest.raises(ValueError, match="21 clusters of 20 points"):
        kmeans(points, 21, seed=0)


def test_every_centre_has_points_where_there_are_enough_of_them() -> None:
    # Two far heaps and twelve centres: a centre that loses its points must find others.
    rng = np.random.default_rng(3)
    points = np.concatenate([rng.standard_normal((100, 2)), 50 + rng.standard_normal((4, 2))]).astype(np.float32)
    for seed in range(10):
        label, _ = nearest_centre(points, kmeans(points, 12, seed=seed))
        assert len(np.unique(label)) == 12
