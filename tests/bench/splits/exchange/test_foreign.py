from __future__ import annotations

import gzip
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.data import Dataset
from bench.errors import DataError
from bench.splits import ColdStart, HeldOut, LeaveOneOut, Split, make_split
from bench.splits.exchange.export import export_split
from bench.splits.exchange.published import Published
from bench.tasks import request_sets

MakeDataset = Callable[..., Dataset]
Row = tuple[str, str, float, int]

# Each user's events in time order; the last is the test's, the one before validation's, as in Amazon 2023's last_out.
ROWS: list[Row] = [
    ("u1", "a", 5.0, 10), ("u1", "b", 4.0, 20), ("u1", "c", 3.0, 30), ("u1", "d", 3.0, 40),
    ("u2", "b", 5.0, 10), ("u2", "a", 4.0, 20), ("u2", "e", 3.0, 30),
    ("u3", "c", 1.0, 10), ("u3", "a", 2.0, 20), ("u3", "b", 5.0, 50),
]  # fmt: skip
TRAIN, VALID, TEST = [ROWS[0], ROWS[1], ROWS[4], ROWS[7]], [ROWS[2], ROWS[5], ROWS[8]], [ROWS[3], ROWS[6], ROWS[9]]
AMAZON = "user_id,parent_asin,rating,timestamp"


def amazon(folder: Path, parts: dict[str, Sequence[Row]], *, header: str = AMAZON) -> Path:
    """Files as Amazon 2023 publishes them: gzipped CSV, times in milliseconds."""
    folder.mkdir(exist_ok=True)
    for part, rows in parts.items():
        lines = [header, *(f"{user},{item},{rating},{time * 1000}" for user, item, rating, time in rows)]
        (folder / f"Toys.{part}.csv.gz").write_bytes(gzip.compress(("\n".join(lines) + "\n").encode()))
    return folder


def split_of(data: Dataset, folder: Path, *, seed: int = 0) -> Split:
    return make_split(data, Published(folder=str(folder)), seed=seed)


def asked(split: Split, part: str, quadrant: str = "warm-warm") -> dict[str, tuple[str, list[str], list[str]]]:
    """User -> answer, history, sorted mask."""
    (held,) = (held for held in split.held_out if (held.part, held.quadrant) == (part, quadrant))
    users, items = split.users["user_id"], split.items["item_id"]
    return {
        users[int(user)]: (items[int(item)], items[history].to_list(), sorted(items[mask].to_list()))
        for user, item, history, mask in zip(held.user, held.item, held.history, held.exclude, strict=True)
    }


def learned(split: Split) -> dict[str, list[str]]:
    users, items = split.users["user_id"], split.items["item_id"]
    rows = zip(split.training.user, split.training.sequences, strict=True)
    return {users[int(user)]: items[row].to_list() for user, row in rows}


def test_a_published_last_out_split(dataset: MakeDataset, tmp_path: Path) -> None:
    data = dataset(ROWS)
    split = split_of(data, amazon(tmp_path / "last_out", {"train": TRAIN, "valid": VALID, "test": TEST}))
    assert learned(split) == {"u1": ["a", "b"], "u2": ["b"], "u3": ["c"]}
    assert asked(split, "valid") == {
        "u1": ("c", ["a", "b"], ["a", "b"]),
        "u2": ("a", ["b"], ["b"]),
        "u3": ("a", ["c"], ["c"]),
    }
    assert asked(split, "test") == {
        "u1": ("d", ["a", "b", "c"], ["a", "b", "c"]),
        "u2": ("e", ["b", "a"], ["a", "b"]),
        "u3": ("b", ["c", "a"], ["a", "c"]),
    }
    assert split.notes == ("made by a test",)
    assert "'last_out'" in split.protocol
    assert len(request_sets(split, ["sequential", "direct", "rating"])) == 6
    refitted = make_split(data, Published(folder=str(tmp_path / "last_out")), refit=True)
    assert learned(refitted) == {"u1": ["a", "b", "c"], "u2": ["b", "a"], "u3": ["c", "a"]}


def same_sets(one: Sequence[HeldOut], other: Sequence[HeldOut]) -> None:
    assert [(held.part, held.quadrant, held.unit) for held in one] == [
        (held.part, held.quadrant, held.unit) for held in other
    ]
    for left, right in zip(one, other, strict=True):
        for name in ("user", "item", "candidates"):
            np.testing.assert_array_equal(getattr(left, name), getattr(right, name), err_msg=name)
        for name in ("history", "exclude"):
            assert [row.tolist() for row in getattr(left, name)] == [row.tolist() for row in getattr(right, name)], name


@pytest.mark.parametrize("sequence", [False, True])
def test_our_own_recbole_files_give_leave_one_out_again(
    dataset: MakeDataset, random_rows: list[Row], sequence: bool, tmp_path: Path
) -> None:
    data = dataset(random_rows, sequence=sequence)
    original = export_split(data, LeaveOneOut(), tmp_path / "split", formats=("recbole",), seed=4).split
    (folder,) = (path for path in (tmp_path / "split" / "recbole" / "general").iterdir() if path.is_dir())
    back = split_of(data, folder, seed=4)
    same_sets(original.held_out, back.held_out)
    assert learned(original) == learned(back)
    assert not [note for note in back.notes if note not in original.notes]
    for left, right in zip(original.pairs, back.pairs, strict=True):
        np.testing.assert_array_equal(left.pairs.label, right.pairs.label)


def as_tsv(table: pl.DataFrame, path: Path) -> None:
    table.rename({"user": "reviewerID", "item": "ASIN"}).write_csv(path.with_name(path.name + ".tsv"), separator="\t")


def as_inter(table: pl.DataFrame, path: Path) -> None:
    named = table.select(pl.col("item").alias("item_id:token"), pl.col("user").alias("user_id:token"))
    named.write_csv(path.with_name(path.name + ".inter"), separator="\t", quote_style="never")


def as_parquet(table: pl.DataFrame, path: Path) -> None:
    table.rename({"time": "timestamp"}).write_parquet(path.with_name(path.name + ".parquet"))


def as_csv_with_bom(table: pl.DataFrame, path: Path) -> None:
    path.with_name(path.name + ".csv").write_text("\ufeff" + table.write_csv(quote_style="always"), encoding="utf-8")


users = st.sampled_from(["u1", "u2", "ü 3", "NA", "🦊", "u,4", "'5"])
items = st.sampled_from(["a", "b", "c d", "null", "007", "7", "x;y"])
events = st.tuples(users, items, st.just(1.0), st.integers(0, 9))


@settings(deadline=None, max_examples=40)
@given(
    rows=st.lists(events, min_size=6, max_size=30, unique_by=lambda row: row[:2]),
    parts=st.lists(st.sampled_from(["train", "dev", "test"]), min_size=30, max_size=30),
    write=st.sampled_from([as_tsv, as_inter, as_parquet, as_csv_with_bom]),
)
def test_every_row_is_learned_from_or_asked(
    dataset: MakeDataset,
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[Row],
    parts: list[str],
    write: Callable[[pl.DataFrame, Path], None],
) -> None:
    """Any division of any data, in any order of rows and in any format."""
    given_part = dict(zip([row[:2] for row in rows], ["train", "test", *parts], strict=False))
    folder = tmp_path_factory.mktemp("split")
    table = pl.DataFrame(rows, schema=["user", "item", "rating", "time"], orient="row")
    for part in ("train", "dev", "test"):
        write(table.filter(pl.Series([given_part[row[:2]] == part for row in rows])), folder / f"x.{part}")
    split = split_of(dataset(rows), folder)
    taught = {(user, item) for user, sequence in learned(split).items() for item in sequence}
    assert taught == {pair for pair, part in given_part.items() if part == "train"}
    for part, name in (("valid", "dev"), ("test", "test")):
        found = set()
        seen = {pair for pair, of in given_part.items() if of == "train" or (of, name) == ("dev", "test")}
        for held in split.held_out:
            if held.part != part:
                continue
            for user, item, history in zip(held.user, held.item, held.history, strict=True):
                who = split.users["user_id"][int(user)]
                found.add((who, split.items["item_id"][int(item)]))
                shown = split.items["item_id"][history].to_list()
                times = [time for one, what, _, time in rows for wanted in shown if (one, what) == (who, wanted)]
                assert {(who, what) for what in shown} == {pair for pair in seen if pair[0] == who}
                assert len(times) == len(shown)
                assert [time_of(rows, who, what) for what in shown] == sorted(times)
                warm = any(pair[0] == who for pair in taught)
                assert held.quadrant.startswith("warm-" if warm else "cold-")
        assert found == {pair for pair, of in given_part.items() if of == name}


def time_of(rows: list[Row], user: str, item: str) -> int:
    return next(time for one, what, _, time in rows if (one, what) == (user, item))


def test_defects_are_named(dataset: MakeDataset, tmp_path: Path) -> None:
    rows = [*ROWS, ("u4", "a", 2.0, 5), ("u4", "f", 2.0, 6), ("u5", "a", 1.0, 1)]
    parts = {
        "train": [*TRAIN, ROWS[0], ROWS[9]],  # One row twice; u3's test pair.
        "valid": [ROWS[2], ("u2", "a", 1.0, 21)],  # Another rating and another time.
        "test": [*TEST, *rows[10:12]],  # u4 is learned from nowhere.
    }
    folder = amazon(tmp_path / "split", parts)
    split = split_of(dataset(rows), folder)
    found = " | ".join(split.notes)
    for said in (
        "Toys.train.csv.gz: 1 rows repeat a user-item pair",
        "Toys.valid.csv.gz: 1 of 2 ratings are not the data set's",
        "Toys.valid.csv.gz: 1 of 2 times are not the data set's",
        "1 of 5 test pairs are in training too",
        "1 users of test have no training event",
        "2 of 13 events of tiny are in none of the files",
    ):
        assert said in found
    assert asked(split, "test")["u3"] == ("b", ["c", "b"], ["c"])
    assert asked(split, "test", "cold-warm") == {"u4": ("a", [], [])}
    assert asked(split, "test", "cold-cold") == {"u4": ("f", [], [])}
    assert "requests show events later" not in found
    request_sets(split, ["sequential"])


def test_a_random_split_is_said_to_look_ahead(dataset: MakeDataset, tmp_path: Path) -> None:
    folder = amazon(tmp_path / "split", {"train": [*VALID, *TEST], "test": TRAIN})
    notes = " | ".join(split_of(dataset(ROWS), folder).notes)
    assert "4 of 4 test requests show events later than their answer" in notes
    assert "no validation events" in notes


def test_events_of_one_second_are_no_look_ahead(dataset: MakeDataset, tmp_path: Path) -> None:
    tied = [(user, item, rating, 7) for user, item, rating, _ in ROWS]
    parts = {
        name: [(*row[:3], 7) for row in rows] for name, rows in (("train", TRAIN), ("valid", VALID), ("test", TEST))
    }
    split = split_of(dataset(tied), amazon(tmp_path / "split", parts))
    assert split.notes == ("made by a test",)


def test_repeated_pairs_are_told_apart_by_their_order(dataset: MakeDataset, tmp_path: Path) -> None:
    rows = [("u1", item, 3.0, time) for time, item in enumerate("abaab")]
    data = dataset(rows)
    parts = {"train": rows[:3], "valid": rows[3:4], "test": rows[4:]}
    split = split_of(data, amazon(tmp_path / "split", parts))
    assert learned(split) == {"u1": ["a", "b", "a"]}
    assert asked(split, "valid") == {"u1": ("a", ["a", "b", "a"], [])}
    assert asked(split, "test") == {"u1": ("b", ["a", "b", "a", "a"], [])}
    same_sets(make_split(data, LeaveOneOut()).held_out, split.held_out)


@pytest.mark.parametrize(
    ("when", "notes"),
    [
        (pl.from_epoch("time"), []),
        (pl.from_epoch("time").dt.to_string("%d %B %Y"), ["columns not read: time"]),
        (pl.from_epoch("time") + pl.duration(days=1), ["3 of 3 times are not the data set's"]),
    ],
)
def test_moments_are_understood_and_dates_in_words_left_alone(
    dataset: MakeDataset, when: pl.Expr, notes: list[str], tmp_path: Path
) -> None:
    for part, rows in (("train", TRAIN), ("valid", VALID), ("test", TEST)):
        table = pl.DataFrame(rows, schema=["user", "item", "rating", "time"], orient="row")
        table.with_columns(when.alias("time")).write_parquet(tmp_path / f"{part}.parquet")
    split = split_of(dataset(ROWS), tmp_path)
    assert asked(split, "test")["u1"][0] == "d"
    assert bool(notes) == (len(split.notes) > 1)
    for said in notes:
        assert any(said in note for note in split.notes)


def test_columns_and_files_may_be_named(dataset: MakeDataset, tmp_path: Path) -> None:
    folder = tmp_path / "split"
    folder.mkdir()
    for name, rows in (("a", TRAIN), ("b", VALID), ("c", TEST)):
        table = pl.DataFrame(rows, schema=["who", "what", "stars", "when"], orient="row").with_columns(text=pl.lit("x"))
        table.write_csv(folder / f"{name}.csv")
    with pytest.raises(DataError, match=r"no file of the train part.*split\.yaml"):
        split_of(dataset(ROWS), folder)
    (folder / "split.yaml").write_text("files: {train: a.csv, valid: b.csv, test: c.csv}\n")
    with pytest.raises(DataError, match=r"a\.csv, row 1: no column of the user among 'who'"):
        split_of(dataset(ROWS), folder)
    (folder / "split.yaml").write_text(
        "files: {train: a.csv, valid: b.csv, test: c.csv}\ncolumns: {user: who, item: what, time: when}\n"
    )
    split = split_of(dataset(ROWS), folder)
    assert asked(split, "test")["u1"][0] == "d"
    assert "a.csv: columns not read: text" in split.notes


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("files: {train: ../a.csv}", "lies outside the folder"),
        ("files: {train: none.csv}", "there is no none.csv"),
        ("files: {trian: a.csv}", "trian"),
        ("colums: {user: a}", "colums"),
        ("columns: {user: nobody}", "no column 'nobody'"),
        ("files: [", "not YAML"),
    ],
)
def test_a_wrong_split_yaml_is_a_data_error(dataset: MakeDataset, content: str, message: str, tmp_path: Path) -> None:
    folder = amazon(tmp_path / "split", {"train": TRAIN, "valid": VALID, "test": TEST})
    (folder / "split.yaml").write_text(content)
    with pytest.raises(DataError, match=message):
        split_of(dataset(ROWS), folder)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"train": TRAIN}, "no file of the test part"),
        ({"test": TEST}, "no file of the train part"),
        ({"train": [], "test": TEST}, r"Toys\.train\.csv\.gz: no rows"),
        ({"train": TRAIN, "test": []}, r"Toys\.test\.csv\.gz: no rows"),
        ({"train": TRAIN, "test": TEST, "testing": TEST}, "both Toys.test.csv.gz and Toys.testing.csv.gz"),
        (
            {"train": TRAIN, "test": [*TEST, ("u8", "a", 1, 1), ("u8", "b", 1, 1), ("u9", "a", 1, 1)]},
            r"Toys\.test\.csv\.gz, row 5: 3 rows name 2 users that are not in tiny, for example 'u8', 'u9'",
        ),
        ({"train": [*TRAIN, ("u1", "z", 1, 1)], "test": TEST}, "row 6: 1 rows name 1 items"),
        (
            {"train": [*TRAIN, ("u3", "e", 1, 1)], "test": TEST},
            r"Toys\.train\.csv\.gz, row 6: 1 rows are no events of tiny; the first: user 'u3' with item 'e'",
        ),
        ({"train": [("u1", "", 1, 1)], "test": TEST}, "row 2, column 'parent_asin': no item"),
        ({"train": TRAIN, "test": [("u1", "d", "high", 4)]}, "row 2, column 'rating': 'high' is not a number"),
        ({"train": TRAIN, "test": [("u1", "d", "nan", 4)]}, "row 2, column 'rating': 'nan' is not a number"),
    ],
)
def test_wrong_files_are_data_errors(
    dataset: MakeDataset, parts: dict[str, list[Row]], message: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=message):
        split_of(dataset(ROWS), amazon(tmp_path / "split", parts))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("train.csv", b""),
        ("train.csv", b"user,item\n\xff\xfe,a\n"),
        ("train.csv", b"user,item\nu1,a,b,c\n"),
        ("train.csv", b'user,item\n"u1,a\n'),
        ("train.csv.gz", b"no gzip"),
        ("train.csv.gz", gzip.compress(b"user,item\nu1,a\n" * 50)[:40]),
        ("train.parquet", b"no parquet"),
        ("train.csv", b"user,item,item\nu1,a,b\n"),
    ],
)
def test_unreadable_files_are_data_errors(dataset: MakeDataset, name: str, content: bytes, tmp_path: Path) -> None:
    folder = amazon(tmp_path / "split", {"test": TEST})
    (folder / name).write_bytes(content)
    with pytest.raises(DataError, match=name):
        split_of(dataset(ROWS), folder)


def test_a_column_of_lists_is_a_data_error(dataset: MakeDataset, tmp_path: Path) -> None:
    amazon(tmp_path, {"test": TEST})
    pl.DataFrame({"user": [{"id": 1}], "item": ["a"]}).write_parquet(tmp_path / "train.parquet")
    with pytest.raises(DataError, match=r"train.parquet, (column 'user'|row 1)"):
        split_of(dataset(ROWS), tmp_path)


def test_the_identity_follows_the_files(dataset: MakeDataset, tmp_path: Path) -> None:
    data, parts = dataset(ROWS), {"train": TRAIN, "valid": VALID, "test": TEST}
    one = split_of(data, amazon(tmp_path / "one", parts))
    assert split_of(data, amazon(tmp_path / "two", parts)).identity == one.identity
    assert split_of(data, amazon(tmp_path / "three", {**parts, "valid": VALID[:2]})).identity != one.identity


def test_files_of_several_quadrants_are_told_apart(
    dataset: MakeDataset, random_rows: list[Row], tmp_path: Path
) -> None:
    data = dataset(random_rows)
    original = export_split(
        data, ColdStart(test_users=0.2, test_items=0.2), tmp_path / "split", formats=("recbole",)
    ).split
    (folder,) = (path for path in (tmp_path / "split" / "recbole" / "general").iterdir() if path.is_dir())
    with pytest.raises(DataError, match=r"both .* look like the (test|valid) part"):
        split_of(data, folder)
    files = {part: f"{folder.name}.{part}.inter" for part in ("train", "valid", "test")}
    (folder / "split.yaml").write_text(f"files: {files}")
    back = split_of(data, folder)
    asked = {held.part: held for held in original.held_out if held.quadrant == "warm-warm"}
    for held in back.held_out:
        np.testing.assert_array_equal(held.item, asked[held.part].item)
