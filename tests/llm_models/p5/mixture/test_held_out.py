"""What the mixture may show: training events alone."""

from __future__ import annotations

import gzip
import json
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import yaml

from bench.data import load_dataset
from bench.splits import LeaveOneOut, RandomReviews, make_split

#: What the text of a review says of whose it is.
MARK = re.compile(r"u\d+x\d+x")


@pytest.fixture
def reviewed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A card over reviews in which every text names its user and item."""
    monkeypatch.setenv("BENCH_DATA_DIR", str(tmp_path))
    rng = np.random.default_rng(3)
    with gzip.open(tmp_path / "reviews.json.gz", "wt") as file:
        for user in range(25):
            for day, item in enumerate(rng.permutation(30)[: 4 + user % 5].tolist()):
                mark = f"u{user}x{item}x"
                word = "lovely" if item % 2 else "awful"
                row = {
                    "reviewerID": f"u{user}",
                    "asin": f"i{item}",
                    "reviewerName": f"Name {user}",
                    "reviewText": f"The sound {mark} is {word}. The strap is {word} for {mark}.",
                    "summary": f"{word} {mark}",
                    "overall": 1.0 + (user + item) % 5,
                    "unixReviewTime": 1_400_000_000 + 86_400 * day,
                }
                file.write(json.dumps(row) + "\n")
    card = {
        "name": "marked",
        "title": "Made by a test",
        "description": "Made by a test.",
        "licence": "none",
        "citation": "none",
        "reader": "amazon-2014",
        "order": "time",
        "files": {"interactions": {"path": ["reviews.json.gz"], "howto": "made by the test"}},
    }
    path = tmp_path / "marked.yaml"
    path.write_text(yaml.safe_dump(card), encoding="utf-8")
    return path


def within(run: list[int], row: list[int]) -> bool:
    """Whether a row holds a run without a gap."""
    return any(row[at : at + len(run)] == run for at in range(len(row)))


@pytest.mark.parametrize("seed", range(3))
def test_no_held_out_event_is_ever_shown(read, write_prompts, lines, reviewed: Path, seed: int) -> None:
    """Neither as a prompt nor as an answer, in any family; as a "no", a held-out item is as any other."""
    split = make_split(load_dataset(reviewed), LeaveOneOut(), seed=seed)
    training = split.training
    reader = read(training, write_prompts(lines["all"]), sampling="released", candidates=6, seed=seed, targets=3)
    assert set(reader.mixture.describe()["families"]) == set(lines["families"].values())
    user, item = reader.users.code_of, reader.items.code_of
    own = {code: row.tolist() for code, row in zip(training.user.tolist(), training.sequences, strict=True)}
    trained = set(MARK.findall(" ".join(training.reviews.frame()["text"])))
    held = {(u, i) for part in split.held_out for u, i in zip(part.user.tolist(), part.item.tolist(), strict=True)}
    assert len(trained) == len(training.sequences.values)
    drawn, no = Counter(), set()
    for text, answers in reader.prompts(6000):
        name = text.split()[0]
        drawn[name] += 1
        assert set(MARK.findall(" ".join((text, *answers)))) <= trained
        who = next((user[word] for word in text.split() if word in user), None)
        named = [item[word] for word in text.split() if word in item]
        if name in {"r1", "r3", "e1"}:
            assert named[0] in own[who]
        elif name in {"d2", "d3"}:
            assert {item[answer] for answer in answers} <= set(own[who])
        elif name == "s1":
            assert within([*named, *(item[answer] for answer in answers)], own[who])
        elif name == "s2" and answers == ("yes",):
            assert any(within(named, row) for row in own.values())
        elif name == "s3":
            history = [item[word] for word in text.partition(" of ")[0].split() if word in item]
            assert any(within([*history, item[answers[0]]], row) for row in own.values())
        elif name == "d1":
            assert (named[0] in own[who]) == (answers == ("yes",))
            no |= {(who, named[0])} if answers == ("no",) else set()
    assert set(drawn) == {"r1", "r3", "s1", "s2", "s3", "d1", "d2", "d3", "e1", "v1", "v2"}
    assert no & held


def test_ratings_of_the_reproducing_split_come_from_its_pairs(read, write_prompts, lines, reviewed: Path) -> None:
    training = make_split(load_dataset(reviewed), RandomReviews()).training
    reader = read(training, write_prompts(lines["rating"]), sampling={"rating": 1})
    assert reader.mixture.describe()["ratings_and_reviews_from"] == "the protocol's pairs"
    user, item = reader.users.code_of, reader.items.code_of
    drawn = {
        (user[text.split()[1]], item[text.split()[2]], float(answer))
        for text, (answer,) in reader.prompts(4000)
        if text.startswith("r1")
    }
    pairs = training.pairs
    assert drawn == set(zip(pairs.user.tolist(), pairs.item.tolist(), pairs.label.tolist(), strict=True))
