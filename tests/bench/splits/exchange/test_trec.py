from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import ir_measures
import numpy as np
import polars as pl
import pytest

from bench.data import Dataset
from bench.errors import DataError
from bench.metrics import parse
from bench.metrics.counting import count_scores
from bench.splits import ColdStart, HeldOut, LeaveOneOut, Protocol, Temporal
from bench.splits.exchange.export import export_split

MakeDataset = Callable[..., Dataset]


def stem_of(held: HeldOut) -> str:
    shots = "" if held.shots is None else f"-k{held.shots}"
    return f"{held.part}-{held.quadrant}{shots}-{held.pool}"


@pytest.mark.parametrize(
    "protocol",
    [LeaveOneOut(sampled=4), ColdStart(test_users=0.2, test_items=0.2, shots=(0, 2)), Temporal(target="every")],
)
def test_ir_measures_agrees_with_our_metrics(
    dataset: MakeDataset, random_rows: list, protocol: Protocol, tmp_path: Path
) -> None:
    """A run made of the files alone scores, query by query, as the harness scores the same numbers."""
    split = export_split(dataset(random_rows), protocol, tmp_path / "split", formats=("trec",)).split
    folder = tmp_path / "split" / "trec"
    assert len(list(folder.glob("*.qrels"))) == len(split.held_out)
    ids = split.items["item_id"].to_list()
    rng = np.random.default_rng(1)
    for held in split.held_out:
        scores = rng.permutation(len(held.user) * len(ids)).reshape(len(held.user), -1).astype(np.float32)
        given = np.ascontiguousarray(scores[:, held.candidates])
        if held.sampled is not None:
            for row, drawn in enumerate(held.sampled):
                given[row, ~np.isin(held.candidates, drawn)] = np.nan
        counts = count_scores(given, held.candidates, held.item, held.exclude)
        ours = {
            name: parse(name).per_request(counts.above, counts.tied, counts.served) for name in ("NDCG@10", "HR@10")
        }
        topics = pl.read_csv(folder / f"{stem_of(held)}.topics.tsv", separator="\t", infer_schema=False)
        candidates = (folder / f"{stem_of(held)}.candidates.txt").read_text().split()
        run = []
        for row, topic in enumerate(topics.iter_rows(named=True)):
            listed = set((topic.get("sampled") or "").split() or candidates)
            listed -= set((topic["exclude"] or "").split())
            run += [ir_measures.ScoredDoc(topic["query"], item, float(scores[row, ids.index(item)])) for item in listed]
        qrels = list(ir_measures.read_trec_qrels(str(folder / f"{stem_of(held)}.qrels")))
        for name, measure in (("NDCG@10", ir_measures.nDCG @ 10), ("HR@10", ir_measures.Success @ 10)):
            theirs = {value.query_id: value.value for value in ir_measures.iter_calc([measure], qrels, run)}
            np.testing.assert_allclose([theirs[query] for query in topics["query"]], ours[name], atol=1e-6)


def test_known_files(dataset: MakeDataset, tmp_path: Path) -> None:
    rows = [("u1", item, 1.0, at) for at, item in enumerate("abcd")] + [
        ("u/2", item, 1.0, at) for at, item in enumerate("abc")
    ]
    export_split(dataset(rows), LeaveOneOut(), tmp_path / "split", formats=("trec",))
    folder = tmp_path / "split" / "trec"
    assert sorted((folder / "test-warm-warm-all.qrels").read_text().splitlines()) == [
        "test-warm-warm-all/u/2 0 c 1",
        "test-warm-warm-all/u1 0 d 1",
    ]
    header, *topics = (folder / "test-warm-warm-all.topics.tsv").read_text().splitlines()
    assert header == "query\tuser_id\thistory\texclude"
    shown = {line.split("\t")[1]: line.split("\t")[2] for line in topics}
    assert shown == {"u1": "a b c", "u/2": "a b"}
    assert sorted((folder / "test-warm-warm-all.candidates.txt").read_text().split()) == list("abcd")


def test_several_queries_of_a_user_are_numbered(dataset: MakeDataset, random_rows: list, tmp_path: Path) -> None:
    split = export_split(dataset(random_rows), Temporal(target="every"), tmp_path / "split", formats=("trec",)).split
    held = next(held for held in split.held_out if held.part == "test")
    assert len(held.user) > len(np.unique(held.user))
    topics = pl.read_csv(tmp_path / "split" / "trec" / f"{stem_of(held)}.topics.tsv", separator="\t")
    assert topics["query"].n_unique() == len(held.user)
    first = topics["user_id"][0]
    assert topics["query"][0] == f"{stem_of(held)}/{first}#1"


def test_ids_with_white_space_are_refused(dataset: MakeDataset, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="1 user ids cannot be written as TREC files, for example 'u 1'"):
        export_split(
            dataset([("u 1", item, 1.0, at) for at, item in enumerate("abcd")]),
            LeaveOneOut(),
            tmp_path / "split",
            formats=("trec",),
        )
