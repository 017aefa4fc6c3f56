from __future__ import annotations

import hashlib
import struct
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.data.hashing import canonical_json, digest, digest_frame, file_sha256, mix64, stable_hash64

UINT64 = st.integers(0, 2**64 - 1)


def test_canonical_json_has_one_spelling():
    assert canonical_json({"b": (1, 2.5), "a": "é", "c": None}) == '{"a":"é","b":[1,2.5],"c":null}'.encode()
    assert canonical_json({"x": 1, "y": 2}) == canonical_json({"y": 2, "x": 1})


@pytest.mark.parametrize("value", [{1, 2}, np.int64(1), b"bytes", float("nan"), float("inf")])
def test_canonical_json_refuses_what_has_no_single_spelling(value):
    with pytest.raises((TypeError, ValueError)):
        canonical_json([value])


def test_digest_is_sha256_of_the_json():
    # sha256 of the two bytes {}, a value published in many places.
    assert digest({}) == "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"


def test_file_sha256_of_the_empty_file_and_beyond_one_chunk(tmp_path: Path):
    empty, big = tmp_path / "empty", tmp_path / "big"
    empty.touch()
    content = bytes(range(256)) * 5000
    big.write_bytes(content)
    assert file_sha256(empty) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert file_sha256(big) == hashlib.sha256(content).hexdigest()


def test_digest_frame_is_the_documented_bytes():
    frame = pl.DataFrame({"n": [1, None, -3], "t": ["ab", None, "é"]}, schema={"n": pl.Int64, "t": pl.String})
    nulls = bytes([0b01000000])
    expected = b'[3,["n","t"]]'
    expected += b"int_" + nulls + struct.pack("<3q", 1, 0, -3)
    expected += b"text" + nulls + struct.pack("<3q", 2, 0, 2) + "abé".encode()
    assert digest_frame(frame) == hashlib.sha256(expected).hexdigest()


def test_digest_frame_tells_apart_what_differs():
    schema = {"a": pl.String, "b": pl.List(pl.String), "c": pl.Float32}
    rows = {
        "base": {"a": ["xy", "z"], "b": [["p"], ["q", "r"]], "c": [1.0, 2.0]},
        "letter moved to the next cell": {"a": ["x", "yz"], "b": [["p"], ["q", "r"]], "c": [1.0, 2.0]},
        "name moved to the next list": {"a": ["xy", "z"], "b": [["p", "q"], ["r"]], "c": [1.0, 2.0]},
        "null list": {"a": ["xy", "z"], "b": [None, ["q", "r"]], "c": [1.0, 2.0]},
        "empty list": {"a": ["xy", "z"], "b": [[], ["q", "r"]], "c": [1.0, 2.0]},
        "null in a list": {"a": ["xy", "z"], "b": [[None], ["q", "r"]], "c": [1.0, 2.0]},
        "null text": {"a": [None, "z"], "b": [["p"], ["q", "r"]], "c": [1.0, 2.0]},
        "empty text": {"a": ["", "z"], "b": [["p"], ["q", "r"]], "c": [1.0, 2.0]},
        "null number": {"a": ["xy", "z"], "b": [["p"], ["q", "r"]], "c": [None, 2.0]},
        "zero": {"a": ["xy", "z"], "b": [["p"], ["q", "r"]], "c": [0.0, 2.0]},
        "rows swapped": {"a": ["z", "xy"], "b": [["q", "r"], ["p"]], "c": [2.0, 1.0]},
    }
    frames = {name: pl.DataFrame(content, schema=schema) for name, content in rows.items()}
    frames["column renamed"] = frames["base"].rename({"a": "d"})
    frames["columns swapped"] = frames["base"].select("b", "a", "c")
    frames["wider float"] = frames["base"].with_columns(pl.col("c").cast(pl.Float64))
    frames["no rows"] = frames["base"].clear()
    digests = {name: digest_frame(frame) for name, frame in frames.items()}
    assert len(set(digests.values())) == len(frames), digests


def test_digest_frame_overlooks_what_does_not_differ():
    frame = pl.DataFrame({"a": ["x", "y", "z"], "b": [0.0, 1.0, 2.0], "n": [1, 2, 3]})
    pieces = pl.concat([frame.head(1), frame.tail(2)], rechunk=False)
    other = pieces.with_columns(pl.col("n").cast(pl.Int16), b=pl.Series([-0.0, 1.0, 2.0]))
    assert digest_frame(other) == digest_frame(frame)


def test_digest_frame_refuses_types_without_canonical_bytes():
    with pytest.raises(TypeError, match="'when'"):
        digest_frame(pl.DataFrame({"when": [None]}, schema={"when": pl.Datetime}))


@given(st.lists(st.text(max_size=8), max_size=30))
def test_stable_hash64_is_blake2b_of_each_string(strings):
    expected = [int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") for text in strings]
    hashes = stable_hash64(strings)
    assert hashes.dtype == np.uint64
    assert hashes.tolist() == expected
    assert stable_hash64(pl.Series(strings, dtype=pl.String)).tolist() == expected


def test_mix64_is_splitmix64():
    # The first five outputs of SplitMix64 for the seed 1234567, as given with several published implementations.
    published = [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]
    states = [(1234567 + step * 0x9E3779B97F4A7C15) % 2**64 for step in range(5)]
    assert mix64(np.array(states, np.uint64)).tolist() == published


@given(st.lists(UINT64, min_size=2, max_size=50, unique=True), UINT64)
def test_mix64_never_collides_in_one_argument(values, seed):
    values = np.array(values, np.uint64)
    assert len(set(mix64(values).tolist())) == len(values)
    assert len(set(mix64(seed, values).tolist())) == len(values)


def test_mix64_depends_on_the_order_of_its_arguments_and_broadcasts():
    events = np.arange(100, 1100, dtype=np.uint64)
    assert not np.any(mix64(events, 7) == mix64(7, events))
    assert mix64(7, events).shape == (1000,)
    assert mix64(7, 8).shape == ()
    assert mix64(7, events)[8] == mix64(7, 108)


def test_mix64_spreads_one_bit_over_all():
    values = np.arange(2000, dtype=np.uint64)
    for bit in (0, 17, 63):
        flipped = mix64(3, values) ^ mix64(3, values ^ np.uint64(1 << bit))
        changed = np.unpackbits(flipped.view(np.uint8)).reshape(2000, 64)
        # 2,000 draws of a fair coin: standard deviation .011 per output bit.
        assert np.all(np.abs(changed.mean(axis=0) - 0.5) < 0.06)


def test_mix64_draws_are_uniform_and_seeds_independent():
    values = np.arange(20000, dtype=np.uint64)
    draws = [mix64(seed, values) / 2.0**64 for seed in (0, 1)]
    for draw in draws:
        counts = np.histogram(draw, bins=20, range=(0, 1))[0]
        assert np.all(np.abs(counts - 1000) < 5 * np.sqrt(1000))
    assert abs(np.corrcoef(*draws)[0, 1]) < 0.03
