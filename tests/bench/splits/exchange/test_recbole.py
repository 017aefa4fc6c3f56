"""RecBole itself reads what is written for it."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from bench.data import Dataset
from bench.errors import DataError
from bench.splits import ColdStart, HeldOut, LeaveOneOut, Protocol, Split
from bench.splits.exchange.export import Export, export_split
from bench.splits.exchange.recbole import LONGEST

MakeDataset = Callable[..., Dataset]

# As a user of RecBole would: in the folder of the configuration, by its file. One process: it takes long to start.
PROGRAM = """
import json, os, sys
import pandas as pd
from baselines.recbole.fence import fence
jobs = json.loads(sys.argv[1])
# pandas 3 takes this for the length of the column, earlier ones for that of every list in it, as RecBole wants.
whole_column = pd.Series.agg
pd.Series.agg = lambda self, func, *rest: self.map(len) if func is len else whole_column(self, func, *rest)
with fence():
    from recbole.config import Config
    from recbole.data import create_dataset

    def told(model, folder, settings):
        os.chdir(folder)
        config = Config(model=model, config_file_list=["config.yaml"],
                        config_dict={"gpu_id": "", "show_progress": False, **settings})
        whole = create_dataset(config)
        found = {"item_num": whole.item_num, "parts": []}
        for part in whole.build():
            rows = part.inter_feat
            columns = [whole.id2token(name, rows[name].numpy()).tolist() for name in ("user_id", "item_id")]
            if "item_id_list" in rows:
                columns.append([whole.id2token("item_id_list", row[:n].numpy()).tolist()
                                for row, n in zip(rows["item_id_list"], rows["item_length"].tolist())])
            columns += [rows[name].tolist() for name in ("rating", "timestamp") if name in rows]
            found["parts"].append([list(row) for row in zip(*columns)])
        if whole.item_feat is not None:
            found["titles"] = {
                token: whole.id2token("title", whole.item_feat["title"][at].numpy()).tolist()
                for at, token in enumerate(whole.id2token("item_id", whole.item_feat["item_id"].numpy())) if at
            }
        return found

    answers = {name: told(*job) for name, job in jobs.items()}
print("TOLD" + json.dumps(answers))
"""

pytestmark = pytest.mark.skipif(importlib.util.find_spec("recbole") is None, reason="RecBole is not installed")

LENGTHS = {"u1": 5, "u2": 3, "u3": LONGEST + 6, "u4": 2}


@pytest.fixture(scope="module")
def exports(dataset: MakeDataset, random_rows: list, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Export]:
    folder = tmp_path_factory.mktemp("splits")
    sequences = [(user, f"i{at}", 1.0, at) for user, length in LENGTHS.items() for at in range(length)]
    # RecBole would read its own copy of a data set of this name.
    named = dataset(random_rows, name="ml-100k")
    cold = ColdStart(test_users=0.2, test_items=0.2, shots=(0, 2))
    return {
        "events": export_split(named, LeaveOneOut(), folder / "events", formats=("recbole",)),
        "sequences": export_split(dataset(sequences, titles=False), LeaveOneOut(), folder / "s", formats=("recbole",)),
        "cold": export_split(dataset(random_rows), cold, folder / "cold", formats=("recbole",)),
    }


@pytest.fixture(scope="module")
def told(exports: dict[str, Export]) -> dict[str, Any]:
    """What RecBole holds of each export after loading it."""

    def job(model: str, name: str, kind: str, *files: str) -> list[Any]:
        settings: dict[str, Any] = {"benchmark_filename": ["train", *files]} if files else {}
        if name == "events":
            inter = ["user_id", "item_id", "rating", "timestamp"]
            settings["load_col"] = {"inter": inter, "item": ["item_id", "title", "categories"]}
        return [model, str(exports[name].folder / "recbole" / kind), settings]

    jobs = {
        "events": job("BPR", "events", "general"),
        "sequences": job("GRU4Rec", "sequences", "sequential"),
        "cold general": job("BPR", "cold", "general", "test-cold-warm", "test-warm-cold"),
        "cold sequential": job("GRU4Rec", "cold", "sequential", "test-cold-warm-k2", "test-warm-cold"),
    }
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM, json.dumps(jobs)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    answers: dict[str, Any] = json.loads(done.stdout.rsplit("TOLD", 1)[1])
    return answers


def held_out(split: Split, part: str, quadrant: str = "warm-warm") -> HeldOut:
    return next(held for held in split.held_out if (held.part, held.quadrant) == (part, quadrant))


def pairs_of(split: Split, held: HeldOut) -> set[tuple[str, str]]:
    return set(
        zip(
            split.users["user_id"].gather(held.user).to_list(),
            split.items["item_id"].gather(held.item).to_list(),
            strict=True,
        )
    )


@pytest.mark.slow
def test_recbole_holds_the_same_events(exports: dict[str, Export], told: dict[str, Any], random_rows: list) -> None:
    told, split = told["events"], exports["events"].split
    assert told["item_num"] == 31  # With the padding.
    known = {(user, item): (rating, float(time)) for user, item, rating, time in random_rows}
    for rows in told["parts"]:
        for user, item, rating, time in rows:
            assert (rating, time) == pytest.approx(known[user, item], abs=100)  # float32 seconds
            assert rating == known[user, item][0]
    sequences = zip(split.training.user.tolist(), split.training.sequences, strict=True)
    learned = {
        (split.users["user_id"][user], item)
        for user, row in sequences
        for item in split.items["item_id"][row].to_list()
    }
    train, valid, test = ({(row[0], row[1]) for row in rows} for rows in told["parts"])
    assert train == learned
    assert valid == pairs_of(split, held_out(split, "valid"))
    assert test == pairs_of(split, held_out(split, "test"))
    assert sum(len(rows) for rows in told["parts"]) == len(random_rows)
    # The first of three items has no title; quotes and tabs of the others' are gone.
    assert told["titles"]["i0"] == ["[none]", *["[PAD]"] * 3]
    assert told["titles"]["i1"] == ["The", "'i1'", "of", "titles"]


@pytest.mark.slow
def test_recbole_holds_the_same_sequences(exports: dict[str, Export], told: dict[str, Any]) -> None:
    # u2 learns from one item only, which no prefix precedes; u4 is too short to hold anything out.
    expected: list[set[tuple[str, str, tuple[str, ...]]]] = [set(), set(), set()]
    for user, length in LENGTHS.items():
        items = [f"i{at}" for at in range(length)]
        for at in range(1, length):
            part = max(0, at - length + 3) if length > 2 else 0
            expected[part].add((user, items[at], tuple(items[max(0, at - LONGEST) : at])))
    found = [{(user, item, tuple(before)) for user, item, before in rows} for rows in told["sequences"]["parts"]]
    assert found == expected
    assert any("the items before the last 50" in sentence for sentence in exports["sequences"].lost["recbole"])


@pytest.mark.slow
def test_every_quadrant_has_its_file(exports: dict[str, Export], told: dict[str, Any]) -> None:
    export = exports["cold"]
    config = (export.folder / "recbole" / "sequential" / "config.yaml").read_text()
    assert "#   test-cold-warm-k2" in config
    assert "k0" not in config  # Nothing shown is nothing a sequence can be.
    assert yaml.safe_load(config)["benchmark_filename"] == ["train", "valid", "test"]
    for at, quadrant in ((1, "cold-warm"), (2, "warm-cold")):
        held = held_out(export.split, "test", quadrant)
        assert {(row[0], row[1]) for row in told["cold general"]["parts"][at]} == pairs_of(export.split, held)
    shown = next(held for held in export.split.held_out if (held.part, held.shots) == ("test", 2))
    ids = export.split.items["item_id"]
    lists = {(row[0], tuple(row[2])) for row in told["cold sequential"]["parts"][1]}
    users = export.split.users["user_id"].gather(shown.user).to_list()
    assert lists == {
        (user, tuple(ids[row].to_list())) for user, row in zip(users, shown.history, strict=True) if len(row)
    }
    said = (export.folder / "README.txt").read_text()
    for sentence in export.lost["recbole"]:
        assert sentence in said
    assert "show nothing" in said


@pytest.mark.parametrize("protocol", [LeaveOneOut(sampled=3)])
def test_what_is_not_carried_is_said(
    dataset: MakeDataset, random_rows: list, protocol: Protocol, tmp_path: Path
) -> None:
    export = export_split(dataset(random_rows), protocol, tmp_path / "split", formats=("recbole", "trec"))
    lost = " | ".join(export.lost["recbole"])
    assert "sampled candidates of test/warm-warm/sampled" in lost
    assert "labelled pairs (test/warm-warm/rating pairs)" in lost
    assert any("labelled pairs" in sentence for sentence in export.lost["trec"])
    (items,) = (tmp_path / "split" / "recbole" / "general").glob("*/*.item")
    assert "i1\tThe 'i1' of titles\tHair_Care NA" in items.read_text().splitlines()
    assert "i0\t[none]\t[none]" in items.read_text().splitlines()


@pytest.mark.parametrize("bad", ["a b", "a\tb", 'a"b', "NA", "null", "", "a\u2028b", "[PAD]"])
def test_ids_that_recbole_would_misread_are_refused(dataset: MakeDataset, bad: str, tmp_path: Path) -> None:
    for at, kind in ((0, "user"), (1, "item")):
        rows = [["u", f"i{number}", 1.0, number] for number in range(4)]
        for row in rows[: 4 if at == 0 else 1]:
            row[at] = bad
        with pytest.raises(DataError, match=f"1 {kind} ids cannot be written as RecBole files"):
            export_split(dataset([tuple(row) for row in rows]), LeaveOneOut(), tmp_path / "split", formats=("recbole",))
    assert not list(tmp_path.iterdir())


def test_recbole_does_misread_them(tmp_path: Path) -> None:
    """The reason for the refusals: what RecBole's reader makes of such ids."""
    import pandas as pd

    path = tmp_path / "x.inter"
    path.write_text('user_id\titem_id\nNA\t"a\n', encoding="utf-8")
    with pytest.raises(pd.errors.ParserError):
        pd.read_csv(path, delimiter="\t", dtype=str, engine="python")
    path.write_text("user_id\titem_id\nNA\ta\n", encoding="utf-8")
    assert pd.read_csv(path, delimiter="\t", dtype=str, engine="python").isna().to_numpy().sum() == 1
