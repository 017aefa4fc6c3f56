from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.data import Dataset, Ragged, load_dataset
from bench.data.hashing import file_sha256
from bench.data.reviews import Reviews
from bench.errors import DataError, UsageError
from bench.splits import (
    Clicks,
    ColdStart,
    CrossDomain,
    LeaveOneOut,
    Protocol,
    RandomReviews,
    Split,
    Temporal,
    make_split,
)
from bench.splits.exchange.export import export_split
from bench.splits.exchange.published import Published

MakeDataset = Callable[..., Dataset]


def assert_equal(one: object, other: object, where: str = "") -> None:
    """The same types, arrays and tables, all the way down."""
    assert type(one) is type(other), where
    if isinstance(one, np.ndarray):
        assert one.dtype == other.dtype, where
        np.testing.assert_array_equal(one, other, err_msg=where)
    elif isinstance(one, pl.DataFrame):
        assert one.equals(other), where
        assert one.schema == other.schema, where
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), where
        for at, (left, right) in enumerate(zip(one, other, strict=True)):
            assert_equal(left, right, f"{where}[{at}]")
    elif hasattr(one, "__dataclass_fields__"):
        for field in fields(one):
            assert_equal(getattr(one, field.name), getattr(other, field.name), f"{where}.{field.name}")
    else:
        assert one == other, where


def assert_same_split(one: Split, other: Split) -> None:
    for name in ("dataset", "training", "held_out", "pairs", "users", "items"):
        assert_equal(getattr(one, name), getattr(other, name), name)


def round_trip(data: Dataset, protocol: Protocol, folder: Path, *, seed: int = 0) -> Split:
    """Export, import, and compare everything but the words; also refitted on validation."""
    original = export_split(data, protocol, folder, seed=seed).split
    rule = Published(folder=str(folder))
    back = make_split(data, rule)
    assert_same_split(original, back)
    assert back.notes == original.notes
    assert_same_split(
        make_split(data, protocol, seed=seed, refit=True), make_split(data, rule, seed=seed + 1, refit=True)
    )
    return back


users = st.sampled_from(["u1", "u2", "ü 3", 'u"4', "NA", "", "u\t5", "🦊"])
items = st.sampled_from(["a", "b", "c d", "e\nf", "null", "g'", "007", "7", "ß"])
events = st.tuples(users, items, st.sampled_from([1.0, 2.5, 5.0]), st.integers(0, 5))
PROTOCOLS = [
    LeaveOneOut(),
    LeaveOneOut(sampled=2),
    ColdStart(test_users=0.3, test_items=0.2, shots=(0, 2)),
    Temporal(validation=0.2, test=0.3, target="every"),
    Temporal(clicks=Clicks(at_least=4)),
    Temporal(clicks=Clicks(negatives=2)),
    RandomReviews(sampled=3),
]


@settings(deadline=None, max_examples=25)
@given(
    rows=st.lists(events, min_size=8, max_size=40, unique_by=lambda row: row[:2]),
    protocol=st.sampled_from(PROTOCOLS),
    seed=st.integers(0, 3),
)
def test_an_import_gives_the_exported_sets(
    dataset: MakeDataset, rows: list[tuple[str, str, float, int]], protocol: Protocol, seed: int
) -> None:
    data = dataset(rows)
    try:
        make_split(data, protocol, seed=seed)
    except DataError:  # Too little to hold anything out.
        return
    with TemporaryDirectory() as folder:
        round_trip(data, protocol, Path(folder) / "split", seed=seed)


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda protocol: protocol.describe())
def test_round_trip(dataset: MakeDataset, random_rows: list, protocol: Protocol, tmp_path: Path) -> None:
    back = round_trip(dataset(random_rows), protocol, tmp_path / "split", seed=5)
    assert "split seed 5" in back.protocol


@pytest.mark.parametrize("kind", [{"sequence": True}, {"rated": False}, {"titles": False}])
def test_round_trip_of_data_that_lacks_something(
    dataset: MakeDataset, random_rows: list, kind: dict[str, bool], tmp_path: Path
) -> None:
    round_trip(dataset(random_rows, **kind), LeaveOneOut(), tmp_path / "split")


def test_round_trip_with_repeated_pairs(dataset: MakeDataset, random_rows: list, tmp_path: Path) -> None:
    again = [(user, item, 3.0, time + 7) for user, item, _, time in random_rows[::2]]
    data = dataset([*random_rows, *again])
    assert data.repeats
    back = round_trip(data, LeaveOneOut(), tmp_path / "split")
    assert not len(back.held_out[0].exclude.values)


@pytest.mark.parametrize("protocol", [LeaveOneOut(), RandomReviews()])
def test_review_texts_come_back_from_the_data(
    dataset: MakeDataset, random_rows: list, protocol: Protocol, tmp_path: Path
) -> None:
    rows = np.random.default_rng(0).permutation(len(random_rows)).astype(np.uint32)
    data = replace(dataset(random_rows), reviews=Reviews(tmp_path / "texts.parquet", rows, ("text",)))
    back = round_trip(data, protocol, tmp_path / "split")
    assert all(held.pairs.reviews is not None for held in back.pairs)
    silent = make_split(replace(data, reviews=None), Published(folder=str(tmp_path / "split")))
    assert any("texts of reviews" in note for note in silent.notes)


def test_events_of_two_data_sets_come_back_too(
    make_card: Callable[..., Path], random_rows: list, tmp_path: Path
) -> None:
    others = [(user, f"other {item}", rating, time + 500) for user, item, rating, time in random_rows]
    source = make_card(others, name="source")
    target = load_dataset(make_card(random_rows, name="target"))
    protocol = CrossDomain(source=str(source), shots=(0, 2))
    back = round_trip(target, protocol, tmp_path / "split", seed=2)
    assert set(back.training.items["item_id"]) == {row[1] for row in others}
    assert str(tmp_path) not in (tmp_path / "split" / "split.json").read_text()
    later = load_dataset(make_card(random_rows[:-4], name="target"))
    with pytest.raises(DataError, match=r"events: .* then, .* now"):
        make_split(later, Published(folder=str(tmp_path / "split")))


def test_an_import_can_be_exported_again(dataset: MakeDataset, random_rows: list, tmp_path: Path) -> None:
    data = dataset(random_rows)
    original = export_split(data, ColdStart(), tmp_path / "one", seed=3).split
    export_split(data, Published(folder=str(tmp_path / "one")), tmp_path / "two")
    assert str(tmp_path) not in (tmp_path / "two" / "split.json").read_text()
    assert_same_split(original, make_split(data, Published(folder=str(tmp_path / "two"))))


def test_the_same_split_gives_the_same_bytes(dataset: MakeDataset, random_rows: list, tmp_path: Path) -> None:
    for name, rows in (("one", random_rows), ("two", random_rows[::-1])):
        export_split(dataset(rows), ColdStart(), tmp_path / name, formats=("parquet", "recbole", "trec"))
    files = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*") if path.is_file())
    assert len(files) > 20
    for path in files:
        assert (tmp_path / "one" / path).read_bytes() == (tmp_path / "two" / path).read_bytes(), path


def test_the_identity_follows_the_files_not_the_folder(dataset: MakeDataset, random_rows: list, tmp_path: Path) -> None:
    data = dataset(random_rows)
    export_split(data, LeaveOneOut(), tmp_path / "one")
    export_split(data, LeaveOneOut(), tmp_path / "other", seed=1)
    shutil.copytree(tmp_path / "one", tmp_path / "copy")
    one, copy, other = (make_split(data, Published(folder=str(tmp_path / name))) for name in ("one", "copy", "other"))
    assert one.identity == copy.identity
    assert one.identity != other.identity


def test_known_content(dataset: MakeDataset, tmp_path: Path) -> None:
    data = dataset([("u 1", f"i{at}", float(at), at) for at in range(1, 5)])
    export_split(data, LeaveOneOut(), tmp_path / "split")
    training = pl.read_parquet(tmp_path / "split" / "training.parquet")
    assert training.rows() == [("u 1", "i1", 1.0, 1, 0), ("u 1", "i2", 2.0, 2, 1)]
    held = pl.read_parquet(tmp_path / "split" / "held_out.parquet")
    assert held.select("part", "quadrant", "user_id", "item_id", "history").rows() == [
        ("valid", "warm-warm", "u 1", "i3", ["i1", "i2"]),
        ("test", "warm-warm", "u 1", "i4", ["i1", "i2", "i3"]),
    ]
    said = json.loads((tmp_path / "split" / "split.json").read_text())
    assert said["dataset"]["identity"] == data.identity
    assert said["settings"] == {"name": "leave-one-out", "version": LeaveOneOut.version}
    assert said["files"]["training.parquet"] == file_sha256(tmp_path / "split" / "training.parquet")


def test_nothing_is_overwritten_or_left_half_done(dataset: MakeDataset, random_rows: list, tmp_path: Path) -> None:
    data, full = dataset(random_rows), tmp_path / "full"
    full.mkdir()
    (full / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="not an empty folder"):
        export_split(data, LeaveOneOut(), full)
    with pytest.raises(UsageError, match="did you mean 'recbole'"):
        export_split(data, LeaveOneOut(), tmp_path / "new", formats=("recbol",))
    spaced = dataset([(user, f"item {item}", rating, time) for user, item, rating, time in random_rows])
    for form in ("recbole", "trec"):
        with pytest.raises(DataError, match=r"30 item ids.*'item i0'"):
            export_split(spaced, LeaveOneOut(), tmp_path / "new", formats=("parquet", form))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["full"]
    (tmp_path / "empty").mkdir()
    export_split(data, LeaveOneOut(), tmp_path / "empty")
    assert (tmp_path / "empty" / "split.json").is_file()


def test_other_data_is_refused_and_says_what_differs(dataset: MakeDataset, random_rows: list, tmp_path: Path) -> None:
    export_split(dataset(random_rows), LeaveOneOut(), tmp_path / "split")
    rule = Published(folder=str(tmp_path / "split"))
    fewer = dataset([row for row in random_rows if row[0] != "u7"], name="fewer")
    with pytest.raises(DataError, match=r"users: 40 then, 39 now.*1 users are in the split but not in the data.*'u7'"):
        make_split(fewer, rule)
    user, item, rating, time = random_rows[0]
    with pytest.raises(DataError, match="not all pairs, ratings, times"):
        make_split(dataset([(user, item, rating, time + 1), *random_rows[1:]]), rule)


def test_other_titles_are_said_and_those_of_the_export_used(
    dataset: MakeDataset, random_rows: list, tmp_path: Path
) -> None:
    export_split(dataset(random_rows), LeaveOneOut(), tmp_path / "split")
    back = make_split(dataset(random_rows, titles=False), Published(folder=str(tmp_path / "split")))
    assert any("texts of the items are those of the export" in note for note in back.notes)
    assert back.training.has_text


def damaged_digest(folder: Path) -> None:
    path = folder / "held_out.parquet"
    path.write_bytes(path.read_bytes() + b"x")


def rewritten(change: Callable[[dict], None]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        said = json.loads((folder / "split.json").read_text())
        change(said)
        (folder / "split.json").write_text(json.dumps(said))

    return damage


def replaced_table(folder: Path) -> None:
    pl.DataFrame({"nothing": [1]}).write_parquet(folder / "pairs.parquet")
    rewritten(lambda said: said["files"].update({"pairs.parquet": file_sha256(folder / "pairs.parquet")}))(folder)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (damaged_digest, "held_out.parquet: changed since the export"),
        (lambda folder: (folder / "users.parquet").unlink(), "users.parquet is missing"),
        (lambda folder: (folder / "split.json").write_text("{"), "not JSON"),
        (lambda folder: (folder / "split.json").write_bytes(b"\xff"), "not JSON"),
        (lambda folder: (folder / "split.json").write_text("[]"), "not an export"),
        (rewritten(lambda said: said.update(version=2)), "format version 2"),
        (rewritten(lambda said: said.pop("split_seed")), "split_seed"),
        (rewritten(lambda said: said["files"].update({"../../etc/passwd": "0"})), "files: expected"),
        (replaced_table, "do not hold what split.json says"),
        (shutil.rmtree, "no such folder"),
    ],
)
def test_a_damaged_export_is_a_data_error(
    dataset: MakeDataset, random_rows: list, damage: Callable[[Path], None], message: str, tmp_path: Path
) -> None:
    folder = tmp_path / "split"
    export_split(dataset(random_rows), LeaveOneOut(), folder)
    damage(folder)
    with pytest.raises(DataError, match=message):
        make_split(dataset(random_rows), Published(folder=str(folder)))


def test_ragged_rows_of_any_shape_survive(dataset: MakeDataset, random_rows: list, tmp_path: Path) -> None:
    class Odd(LeaveOneOut):
        """Histories that no other protocol gives."""

        def cut(self, data: Dataset, seed: int):
            made = super().cut(data, seed)
            held = made.held_out[1]
            lengths = np.arange(len(held.user)) % 4
            values = np.arange(lengths.sum()) % 30
            return replace(made, held_out=[replace(held, history=Ragged.from_lengths(lengths, values))])

    round_trip(dataset(random_rows), Odd(), tmp_path / "split")
