"""The command on tiny data: every step from one stored fit, the table it writes, and what its columns mean."""

import csv
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import transformers as hf  # noqa: E402
from sklearn.metrics import log_loss, roc_auc_score  # noqa: E402
from typer.testing import CliRunner  # noqa: E402

from bench.errors import UsageError  # noqa: E402
from bench.runs.plan import make_plan  # noqa: E402
from bench.runs.store import Store, read_json  # noqa: E402
from bench.runs.suite import load_suite  # noqa: E402
from llm_models.backbones.locate import locate  # noqa: E402
from llm_models.m6.click import M6Click  # noqa: E402
from llm_models.m6.edge.__main__ import app  # noqa: E402
from llm_models.m6.edge.early_exit import AtDepth  # noqa: E402
from llm_models.m6.edge.run import Wanted, run  # noqa: E402
from llm_models.m6.edge.steps import STEPS, EdgeSettings, Workshop  # noqa: E402
from llm_models.m6.edge.table import BASE, measured, write_table  # noqa: E402
from llm_models.m6.edge.variants import Variant  # noqa: E402

SUITE = """
name: tiny-edge
description: Clicks on tiny data.
dataset: {card}
protocol: {{name: temporal, validation: 0.2, test: 0.3, clicks: {{at_least: 4}}}}
tasks: [click]
metrics: [AUC, LogLoss]
primary: AUC
models:
  - model: m6-click
    settings: {{backbone: {backbone}, method: {method}, dtype: float32, rank: 4, prompts: 3, batch_tokens: 512,
      accumulate: 2, window: 3, learning_rate: 0.01, backbone_rate: 0.001}}
    budget: {{max_steps: 4, eval_every_steps: 4, patience: 0}}
"""
SMALL = EdgeSettings(
    tune_steps=8, patience=(2,), entropies=(0.6,), student_depth=2, word_width=8, relation_heads=4, distil_steps=4
)
WANTED = Wanted(steps=STEPS, timed=6, rounds=2)


@pytest.fixture
def suite(make_card, tmp_path):
    """Makes the suite of a method on people who like either space or gardens."""
    rng, rows = np.random.default_rng(0), []
    for user in range(30):
        for item in rng.permutation(20)[:10].tolist():
            liked = (item % 2 == user % 2) != (rng.random() < 0.1)
            rows.append((f"u{user}", f"i{item}", 5.0 if liked else 2.0, int(rng.integers(10**6))))
    items = [(f"i{k}", f"{('Rockets', 'Roses')[k % 2]} {k}", ("Space", "Gardens")[k % 2]) for k in range(20)]
    card = make_card(rows, items)
    backbone = tmp_path / "tiny-bert"
    backbone.mkdir()
    for path in locate("packaged-minilm").folder.iterdir():
        if "token" in path.name or path.name == "vocab.txt":
            shutil.copy(path, backbone)
    torch.manual_seed(4)
    sizes = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 64}
    config = hf.BertConfig(**sizes, vocab_size=30522, max_position_embeddings=160, initializer_range=0.2)
    hf.BertModel(config).save_pretrained(backbone)

    def make(method="full"):
        path = tmp_path / f"{method}.yaml"
        path.write_text(SUITE.format(card=card, backbone=backbone, method=method))
        return load_suite(str(path)).narrowed(models=["m6-click"])

    return make


@pytest.mark.slow
@pytest.mark.parametrize("method", ["full", "option-adapter"])
def test_every_step_from_one_fit(suite, tmp_path, method):
    text = run(suite(method), SMALL, WANTED, store=tmp_path / "runs", out=tmp_path / "out", device="cpu")
    assert (tmp_path / "out" / "table.md").read_text() == text
    with (tmp_path / "out" / "table.csv").open() as file:
        lines = list(csv.DictReader(file))
    rows = {line["model"]: line for line in lines if line["requests"] == "all"}
    student = "student (2 shared layers, words 8-d)"
    exits = [
        f"{weighting} weights, {rule}"
        for weighting in ("normalised", "quoted")
        for rule in ("exit 1 of 3", "exit 2 of 3", "exit 3 of 3", "patience 2", "entropy < 0.6")
    ]
    assert list(rows) == [
        BASE, "tuned on", *exits, student, "pruned 80%", "8-bit weights and arithmetic",
        "8-bit weights, float arithmetic", "student, pruned 80%", "student, pruned 80%, 8-bit",
    ]  # fmt: skip
    base = rows[BASE]
    assert [float(rows[f"quoted weights, exit {k} of 3"]["layers"]) for k in (1, 2, 3)] == [1, 2, 3]
    assert 2 <= float(rows["quoted weights, patience 2"]["layers"]) <= 3
    assert int(rows["pruned 80%"]["parameters"]) == int(base["parameters"])
    assert int(rows["pruned 80%"]["nonzero"]) < 0.25 * int(base["nonzero"])
    assert int(rows["pruned 80%"]["bytes"]) < 0.4 * int(base["bytes"])
    assert int(rows["8-bit weights and arithmetic"]["bytes"]) < 0.4 * int(base["bytes"])
    assert int(rows[student]["parameters"]) < 0.4 * int(base["parameters"])
    assert int(rows["student, pruned 80%, 8-bit"]["bytes"]) < int(rows["student, pruned 80%"]["bytes"])
    assert abs(float(rows["8-bit weights, float arithmetic"]["AUC_difference"])) < 0.02
    assert all(float(line[f"ms_{name}"]) > 0 for line in lines for name in ("alone", "together", "alone_cpu"))
    assert all(float(line["AUC_low"]) <= float(line["AUC_mean"]) <= float(line["AUC_high"]) for line in lines)
    about = json.loads((tmp_path / "out" / "provenance.json").read_text())
    assert set(about["cells"]) == {BASE, "student"}
    # The cells are those of the harness, and the fitted model's row is what the harness measured of it.
    cell = tmp_path / "runs" / about["cells"]["student"]
    assert "students" in read_json(cell / "spec.json")["settings"]["backbone"]


@pytest.fixture
def shop(suite, tmp_path):
    chosen = suite("full")
    run(chosen, SMALL, replace(WANTED, steps=()), store=tmp_path / "runs", out=tmp_path / "out", device="cpu")
    plan = make_plan(chosen, Store(tmp_path / "runs"))
    [cell] = plan.cells
    assert cell.cached  # the fit was stored
    model = M6Click.load(tmp_path / "runs" / cell.key / "model", cell.entry.parsed_settings())
    told = []
    made = Workshop(
        model,
        plan.split.training,
        SMALL,
        students=tmp_path / "students",
        fit_on=lambda folder: pytest.fail("no student is asked for"),
        told=lambda *progress: told.append(progress),
    )
    return made, [one for one in plan.sets if one.part == "test"], told


@torch.inference_mode()
def _loss(variant, lessons):
    logits = variant.scorer.logits(lessons.asked, [("click", lessons.rows)])[0]
    return torch.nn.functional.cross_entropy(logits, torch.from_numpy(lessons.labels[lessons.rows.of.values])).item()


def test_steps_alone(shop):
    made, sets, told = shop
    start = {name: value.clone() for name, value in made.base.network.state_dict().items()}
    longer = made.make("longer")
    assert [step for _, step, _, _ in told] == list(range(1, 9))
    assert _loss(longer["tuned on"], made.lessons) < _loss(made.base, made.lessons)
    rows = measured({BASE: made.base} | longer | made.make("int8"), sets, timed=4, rounds=1)
    # Metrics are those of scikit-learn on the model's own answers, over all quadrants together.
    label = np.concatenate([one.answers.label for one in sets])
    for row, variant in zip(rows[:1], [made.base], strict=True):
        said = np.concatenate([variant.rate(one.requests) for one in sets]).astype(float)
        assert row.quality["all"].metrics["AUC"].mean == pytest.approx(roc_auc_score(label, said))
        assert row.quality["all"].metrics["LogLoss"].mean == pytest.approx(log_loss(label, said))
        assert row.quality["all"].requests == len(label)
    assert rows[0].size.parameters == sum(weight.numel() for weight in made.base.network.parameters())
    # What the steps did, they did to copies.
    assert all(torch.equal(value, start[name]) for name, value in made.base.network.state_dict().items())
    # The last exit of an untouched network is the network.
    last = Variant(made.fitted, made.base.network, AtDepth(3))
    for one in sets:
        np.testing.assert_allclose(last.rate(one.requests), made.base.rate(one.requests), atol=1e-5)
    assert last.scorer.layers_run == 3


def test_what_cannot_be_is_refused(suite, tmp_path, shop):
    places = {"store": tmp_path / "runs", "out": tmp_path / "out", "device": "cpu"}
    with pytest.raises(UsageError, match=r"made of a click model \(m6-click\), and popularity is none"):
        run(suite("full").narrowed(models=["popularity"]), SMALL, WANTED, **places)
    with pytest.raises(UsageError, match="start from one fitted model, and here are 2"):
        run(suite("full").narrowed(seeds=[0, 1]), SMALL, WANTED, **places)
    with pytest.raises(UsageError, match="name some with --steps"):
        write_table([], tmp_path, title="", notes=[])


def test_the_command(suite, tmp_path):
    chosen = tmp_path / "full.yaml"
    suite("full")
    places = ["--store", str(tmp_path / "runs"), "--out", str(tmp_path / "out")]
    less = ["--steps", "int8", "--part", "valid", "--requests", "20", "--timed", "4", "--rounds", "1"]
    done = CliRunner().invoke(app, ["--suite", str(chosen), *places, *less], catch_exceptions=False)
    assert done.exit_code == 0
    assert done.stdout.startswith("# Edge steps on ")
    assert "Requests (valid): warm-warm 20" in done.stdout
    assert done.stdout.count("\n| ") == 4  # head and three rows
    for wrong, message in (
        (["--steps", "quantise"], "--steps takes longer, exit, distil, prune, int8, all, not 'quantise'"),
        (["--entropies", "low"], "--entropies takes numbers separated by commas, not 'low'"),
    ):
        with pytest.raises(UsageError, match=message):
            CliRunner().invoke(app, ["--suite", str(chosen), *wrong], catch_exceptions=False)
