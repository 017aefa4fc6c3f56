"""What both caches of segments do, against plain dictionaries."""

from __future__ import annotations

import shutil
import tempfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from bench.errors import UsageError
from llm_models.backbones.segment_cache import MemorySegments, SegmentCache, states_of

NUMPY = {"float32": np.float32, "float16": np.float16, "bfloat16": np.uint16}
quick = settings(max_examples=12, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck))


def state(text: str, width: int = 3, dtype: str = "float32", tokens: int | None = None) -> np.ndarray:
    rng = np.random.default_rng(list(text.encode()))
    shape = rng.integers(1, 9) if tokens is None else tokens, width
    return rng.integers(1, 2**14, shape).astype(NUMPY[dtype])


@pytest.fixture(params=["folder", "memory"])
def cache(request, tmp_path):
    made = MemorySegments(width=3) if request.param == "memory" else SegmentCache(tmp_path, space="s", width=3)
    with made:
        yield made


def test_computes_what_is_missing_in_one_call(cache):
    asked = []

    def compute(texts):
        asked.append(texts)
        return [state(text) for text in texts]

    first = cache.states(["b", "a", "b"], compute)
    second = cache.states(["a", "c", "b", "c"], compute)
    third = cache.states(["c"], compute)
    assert asked == [["b", "a"], ["c"]]
    for packed, texts in [(first, "bab"), (second, "acbc"), (third, "c")]:
        assert len(packed) == len(texts)
        for row, text in zip(packed, texts, strict=True):
            np.testing.assert_array_equal(row, state(text))
        np.testing.assert_array_equal(packed.tokens, [len(state(text)) for text in texts])
    stats = cache.stats
    assert (stats.hits, stats.misses, stats.entries) == (3, 3, 3)


def test_looking_up(cache):
    cache.put(["one", "none"], [state("one"), np.empty((0, 3), np.float32)])
    found, packed = cache.get(["none", "two", "one", "one"])
    assert found.tolist() == [True, False, True, True]
    assert packed.offsets.tolist() == [0, 0, 0, *(np.arange(1, 3) * len(state("one")))]
    packed.values[:] = 0  # a copy: the cache keeps its own
    none, two, one = cache.views(["none", "two", "one"])
    assert two is None
    assert none.shape == (0, 3)
    np.testing.assert_array_equal(one, state("one"))
    with pytest.raises(ValueError, match="read-only"):
        one[0, 0] = 1
    found, packed = cache.get([])
    assert len(found) == len(packed) == 0
    assert packed.values.shape == (0, 3)


def test_states_of_the_wrong_kind_are_refused(cache):
    for wrong in (np.zeros((2, 4), np.float32), np.zeros((2, 3)), np.zeros(3, np.float32)):
        with pytest.raises(ValueError, match=r"this cache is of float32"):
            cache.put(["a"], [wrong])
    with pytest.raises(ValueError, match="0 states for 1 texts"):
        cache.states(["a"], lambda texts: [])
    assert cache.stats.entries == 0
    cache.close()
    with pytest.raises(ValueError, match="closed"):
        cache.get(["a"])


def test_settings_that_make_no_sense_are_refused(tmp_path):
    with pytest.raises(UsageError, match="did you mean 'bfloat16'"):
        MemorySegments(width=3, dtype="bfloat")
    with pytest.raises(UsageError, match="width is 0"):
        SegmentCache(tmp_path, space="s", width=0)
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="name a folder that can be written"):
        SegmentCache(tmp_path / "file" / "cache", space="s", width=3)


@pytest.mark.parametrize("dtype", NUMPY)
def test_tensors_come_back_bit_by_bit(tmp_path, dtype):
    tensors = [torch.randn(tokens, 5).to(getattr(torch, dtype)) for tokens in (3, 1)]
    with SegmentCache(tmp_path, space="s", width=5, dtype=dtype) as cache:
        cache.put(["a", "b"], [states_of(tensor) for tensor in tensors])
    with SegmentCache(tmp_path, space="s", width=5, dtype=dtype) as cache:
        packed = cache.get(["a", "b"])[1].tensor()
    assert packed.dtype == getattr(torch, dtype)
    assert torch.equal(packed, torch.cat(tensors))


@quick
@given(shapes=st.lists(st.integers(0, 40), max_size=6), width=st.integers(1, 9), dtype=st.sampled_from(sorted(NUMPY)))
def test_any_shape_survives_reopening(shapes, width, dtype):
    texts = [f"{number}é\ud800" for number in range(len(shapes))]
    states = [state(str(tokens), width, dtype, tokens) for tokens in shapes]
    with tempfile.TemporaryDirectory() as folder:
        with SegmentCache(Path(folder), space="s", width=width, dtype=dtype) as cache:
            cache.put(texts, states)
        with SegmentCache(Path(folder), space="s", width=width, dtype=dtype) as cache:
            assert cache.get(texts)[0].all()
            for view, expected in zip(cache.views(texts), states, strict=True):
                np.testing.assert_array_equal(view, expected)


names = st.lists(st.integers(0, 40).map(str), max_size=8)


class InMemory(RuleBasedStateMachine):
    """Exactly the segments used last, as many as fit."""

    def __init__(self):
        super().__init__()
        self.bound = 600
        self.cache = MemorySegments(width=3, max_bytes=self.bound)
        self.model = OrderedDict()

    def used(self, text, add):
        if text in self.model:
            self.model.move_to_end(text)
        elif add:
            self.model[text] = state(text)

    @rule(texts=names)
    def get(self, texts):
        found, _ = self.cache.get(texts)
        assert found.tolist() == [text in self.model for text in texts]
        for text in dict.fromkeys(texts):
            self.used(text, add=False)

    @rule(text=st.integers(0, 40).map(str))
    def states(self, text):
        np.testing.assert_array_equal(self.cache.states([text], lambda texts: [state(text)])[0], state(text))
        self.used(text, add=True)
        while sum(values.nbytes for values in self.model.values()) > self.bound:
            self.model.popitem(last=False)

    @invariant()
    def same(self):
        assert self.cache.stats.entries == len(self.model)
        assert self.cache.stats.bytes == sum(values.nbytes for values in self.model.values())


class InFolder(RuleBasedStateMachine):
    """Two objects on one folder, closed and opened at will; nothing wrong is found, nothing is lost without need."""

    @initialize(bound=st.sampled_from([700, 3000, 10**6]))
    def begin(self, bound):
        self.bound = bound
        self.folder = Path(tempfile.mkdtemp())
        self.model = set()
        self.caches = [self.open(), self.open()]

    def open(self):
        return SegmentCache(self.folder, space="s", width=3, max_bytes=self.bound)

    def check(self, texts, rows):
        for text, row in zip(texts, rows, strict=True):
            assert row is None or text in self.model
            if row is not None:
                np.testing.assert_array_equal(row, state(text))
            elif self.bound == 10**6:
                assert text not in self.model

    @rule(which=st.integers(0, 1), texts=names)
    def get(self, which, texts):
        self.check(texts, self.caches[which].views(texts))

    @rule(which=st.integers(0, 1), texts=names)
    def put(self, which, texts):
        self.caches[which].put(texts, [state(text) for text in texts])
        self.model |= set(texts)
        if texts:
            assert self.caches[1 - which].get(texts[-1:])[0].all()

    @rule(which=st.integers(0, 1), texts=names)
    def states(self, which, texts):
        packed = self.caches[which].states(texts, lambda missing: [state(text) for text in missing])
        self.model |= set(texts)
        self.check(texts, list(packed))

    @rule(which=st.integers(0, 1))
    def reopen(self, which):
        self.caches[which].close()
        self.caches[which] = self.open()

    @rule()
    def other_space(self):
        with SegmentCache(self.folder, space="other", width=3, max_bytes=self.bound) as cache:
            assert not cache.get(list(self.model))[0].any()

    @invariant()
    def within_bound(self):
        if hasattr(self, "folder"):
            assert sum(path.stat().st_size for path in self.folder.iterdir()) <= self.bound
            assert self.caches[0].stats.damaged == 0

    def teardown(self):
        if hasattr(self, "folder"):
            shutil.rmtree(self.folder)


TestInMemory = InMemory.TestCase
TestInFolder = InFolder.TestCase
TestInMemory.settings = TestInFolder.settings = quick
