from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import false_discovery_control

from bench.errors import UsageError
from bench.stats import correct

FIVE = [0.001, 0.021, 0.029, 0.039, 0.9]


def test_benjamini_hochberg_steps_up():
    # Row by row against its own threshold, .021 > .02 would be kept while .029 <= .03 is rejected.
    assert (correct(FIVE, "fdr_bh") <= 0.05).tolist() == [True, True, True, True, False]


def test_holm_steps_down():
    # By hand: 5 x .001, then 4 x .021; what follows is never below it (3 x .029, 2 x .039), then .9.
    np.testing.assert_allclose(correct(FIVE), [0.005, 0.084, 0.087, 0.087, 0.9])


def test_a_missing_comparison_does_not_count():
    np.testing.assert_allclose(correct([0.01, np.nan, 0.02]), [0.02, np.nan, 0.02])
    assert np.isnan(correct([np.nan])).all()
    assert correct([]).shape == (0,)


def test_none_leaves_p_alone_and_an_unknown_name_is_refused():
    np.testing.assert_array_equal(correct(FIVE, "none"), FIVE)
    with pytest.raises(UsageError, match="did you mean 'holm'"):
        correct(FIVE, "holmes")


def holm_by_definition(p: np.ndarray) -> np.ndarray:
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    return np.minimum(stepped, 1)[np.argsort(order)]


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(1e-6, 1), min_size=1, max_size=12))
def test_both_equal_an_independent_computation_and_never_lower_p(p):
    p = np.array(p)
    for method, independent in (("holm", holm_by_definition), ("fdr_bh", false_discovery_control)):
        corrected = correct(p, method)
        np.testing.assert_allclose(corrected, independent(p))
        assert (corrected >= p).all()
