"""The table of late interaction: what it times, what it counts, and the AUC it takes from a store."""

import json

import numpy as np
import polars as pl
import pytest

torch = pytest.importorskip("torch")

import transformers as hf  # noqa: E402

from bench.errors import UsageError  # noqa: E402
from bench.runs.run import run  # noqa: E402
from bench.runs.suite import load_suite  # noqa: E402
from llm_models.backbones.stack import stack_of  # noqa: E402
from llm_models.m6.network import M6Network  # noqa: E402
from llm_models.m6.serving.speed_table import auc, summary  # noqa: E402
from llm_models.m6.serving.timing import Contender, Taken, cached, full_pass, measure, memory  # noqa: E402
from llm_models.m6.serving.workload import Lengths, Workload  # noqa: E402
from llm_models.m6.serving_speed import main  # noqa: E402
from llm_models.m6.tuning import Tuning  # noqa: E402

SIZES = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 24}


def _model():
    torch.manual_seed(0)
    return hf.BertModel(hf.BertConfig(**SIZES, vocab_size=200, max_position_embeddings=160))


def _network(late=0, reading="all"):
    stack = stack_of(_model())
    tuning = Tuning(
        stack, "option", classes=2, prompts=3, rank=1, begin=1, end=2, generator=torch.Generator().manual_seed(0)
    )
    return M6Network(stack, {"click": tuning}, late=late, reading=reading).eval()


def _work(**changes):
    asked = {"users": 2, "clicks": 3, "candidates": 5, "vocabulary": 200, "spare": 8}
    return Workload.drawn(**{**asked, **changes})


def test_a_workload_has_the_lengths_that_were_asked_for():
    work = _work(lengths=Lengths(profile=4, click=(2, 3), candidate=(6, 6)))
    assert [len(row) for row in work.users] == [4, 4]
    assert [len(set(row)) for row in work.candidates] == [5, 5]
    assert work.candidate_tokens == 8
    assert work.packer.tokens.lengths[work.users[1]].tolist()[0] == 4
    assert set(work.packer.tokens.lengths[work.users[1][1:]]) <= {2, 3}
    assert not set(work.spare) & set(work.users.values) | set(work.spare) & set(work.candidates.values)


@pytest.mark.parametrize(("late", "reading"), [(0, "all"), (1, "all"), (1, "end"), (2, "all")])
def test_each_action_does_what_it_is_timed_for(late, reading):
    work, network = _work(), _network(late, reading)
    one = cached("x", network, "click", work)
    with torch.inference_mode():
        assert one.actions["candidate"]() == one.actions["request"]() == 5
        if late:
            lower = one.scorer.lower
            before = lower.segments
            assert one.actions["candidate"]() == one.actions["request"]() == 5
            assert lower.segments == before
            one.actions["click"]()
            assert lower.segments == before + 1
            assert one.actions["cold"]() == 5
            assert lower.segments == before + 6
            expected = one.scorer.score(one.scorer.read(work.users), work.candidates)
            again = cached("y", network, "click", work).scorer
            torch.testing.assert_close(again.score(again.read(work.users), work.candidates), expected)


def test_measurements_come_in_every_round_from_every_contender():
    work = _work()
    found = [full_pass("naive", _network(), "click", work, most=2), cached("late-1", _network(1), "click", work)]
    rounds = []
    taken = measure(found, rounds=2, seconds=0.0, told=rounds.append)
    assert rounds == [1, 2]
    assert [(one.contender, one.quantity, one.round) for one in taken] == [
        *[("naive", "candidate", 0), *[("late-1", what, 0) for what in ("candidate", "request", "click", "cold")]],
        *[*[("late-1", what, 1) for what in ("candidate", "request", "click", "cold")], ("naive", "candidate", 1)],
    ]
    assert all(one.wall_s > 0 and one.cpu_s >= 0 for one in taken)


def test_memory_is_that_of_states_keys_and_values():
    work = _work(lengths=Lengths(profile=5, click=(5, 5), candidate=(5, 5)))
    held = {late: memory(cached("x", _network(late), "click", work), work) for late in (0, 1, 2)}
    assert held[0] == {"segment_bytes": 0.0, "ready_bytes": 0.0, "user_bytes": 3 * 2 * (3 + 4 * 7) * 16 * 4}
    assert held[1]["segment_bytes"] == 7 * 16 * 4
    assert held[1]["ready_bytes"] == 7 * 4 * 16 * 4  # states, queries, keys and values of its tokens
    assert held[2]["ready_bytes"] == 8 * 2 * 16 * 4  # keys and values, in rectangles of eight
    assert held[2]["user_bytes"] * 3 == held[0]["user_bytes"]
    assert memory(full_pass("x", _network(), "click", work), work)["user_bytes"] == 0


def test_ratios_are_taken_round_by_round():
    names = {"late-0": [1.0, 4.0, 2.0], "late-1": [0.5, 1.0, 0.1]}
    taken = [Taken(name, "candidate", n, 9.0, cost) for name, costs in names.items() for n, cost in enumerate(costs)]
    found = [Contender(name, "late interaction", 1, 3, "all", {}, None) for name in names]
    held = {name: {"segment_bytes": 1.0} for name in names}
    table = summary(found, taken, held, "late-0")
    row = table.filter(name="late-1").row(0, named=True)
    assert (row["candidate_cpu_s"], row["candidate_wall_s"]) == (0.5, 9.0)
    assert [row[name] for name in ("times", "times_low", "times_high")] == pytest.approx([4.0, 2.0, 20.0])
    assert table.filter(name="late-0")["times"].to_list() == [1.0]


RNG = np.random.default_rng(8)
TASTE = RNG.integers(1, 6, 30)
ROWS = [
    (f"u{u}", f"i{i}", float(np.clip(TASTE[i] + RNG.integers(-1, 2), 1, 5)), 1000 * place + u)
    for u in range(60)
    for place, i in enumerate(RNG.choice(30, size=10, replace=False))
]


@pytest.mark.slow
def test_auc_comes_from_a_store_with_what_is_lost_against_the_reference(make_card, tmp_path):
    suite = tmp_path / "suite.yaml"
    models = [f"{{name: {name}, model: means, settings: {{of: {of}}}}}" for name, of in
              (("late-0", "items"), ("late-1", "all"), ("other", "users"))]  # fmt: skip
    suite.write_text(
        f"{{name: tiny, description: x, dataset: '{make_card(ROWS)}', models: [{', '.join(models)}], protocol: "
        "{name: temporal, clicks: {at_least: 4}}, tasks: [click], metrics: [AUC], primary: AUC}"
    )
    assert not run(load_suite(str(suite)), store=tmp_path / "runs", results=tmp_path / "results").failed
    found = auc(["late-0", "late-1", "late-2"], "late-0", tmp_path / "runs", "tiny")
    assert found["name"].to_list() == ["late-0", "late-1"]
    full, late = found.rows(named=True)
    assert full["auc"] > 0.7
    assert full["auc_low"] < full["auc"] < full["auc_high"]
    assert (full["difference"], late["auc"]) == (0, 0.5)
    assert late["difference"] == pytest.approx(0.5 - full["auc"])
    assert late["difference_low"] < late["difference"] < late["difference_high"] < 0
    with pytest.raises(UsageError, match="no AUC of late-0 on elsewhere"):
        auc(["late-0"], "late-0", tmp_path / "runs", "elsewhere")
    with pytest.raises(UsageError, match="test set nowhere"):
        auc(["late-0"], "late-0", tmp_path / "runs", "tiny", "nowhere")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("tiny")
    _model().save_pretrained(place)
    (place / "vocab.txt").write_text("\n".join(f"w{n}" for n in range(200)))
    return str(place)


SHORT = ("--dtype", "float32", "--small", "1", "--clicks", "2", "--candidates", "4", "--rounds", "1", "--seconds", "0")


def test_the_command_writes_its_table_with_where_it_comes_from(folder, tmp_path, capsys):
    assert main(["--backbone", folder, *SHORT, "--out", str(tmp_path)]) == 0
    table = pl.read_csv(tmp_path / "speed.csv")
    assert table["name"].to_list() == ["naive", "late-0", "distilled", "late-1", "end-1", "late-2"]
    assert table["layers"].to_list() == [3, 3, 1, 3, 3, 3]
    assert table.filter(pl.col("name") != "naive")["times"].is_not_null().all()
    written = (tmp_path / "speed.md").read_text()
    assert written in capsys.readouterr().out
    assert "| end-1 " in written
    assert "New click, ms" in written
    assert "AUC" not in written.split("\n- ")[0]
    about = json.loads((tmp_path / "speed.json").read_text())
    assert about["command"].endswith(f"--backbone {folder} {' '.join(SHORT)} --out {tmp_path}")
    assert "torch" in about["packages"]
    assert len(pl.read_csv(tmp_path / "rounds.csv")) == 1 + 2 * 3 + 3 * 4


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (("--late", "3"), "--late takes values from 1 to 2"),
        (("--small", "4"), "--small keeps 1 to 3 layers, not 4"),
        (("--rounds", "0"), "--rounds must be 1 or more"),
        (("--backbone", "/nowhere/at/all"), "/nowhere/at/all"),
    ],
)
def test_what_cannot_be_measured_is_refused(folder, tmp_path, capsys, wrong, said):
    assert main(["--backbone", folder, *SHORT, "--out", str(tmp_path), *wrong]) == 2
    assert said in capsys.readouterr().err
