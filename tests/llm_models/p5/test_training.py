"""Training on made-up batches. Run as a script, this file trains in processes of its own: see ``main``."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from bench.models import Budget
from llm_models.p5.settings import P5Settings

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

SIZE = {"d_model": 16, "d_ff": 24, "d_kv": 8, "heads": 2, "layers": 1, "word_pieces": 200, "learning_rate": 0.01}


@dataclass
class Draws:
    """Batch ``number`` is drawn from (seed, number): answers that follow from the prompts, of two families."""

    prompts: int = 6
    seed: int = 0
    families: tuple[str, ...] = ("ones", "twos")
    steps_an_epoch: float = 8.0

    def batch(self, number: int):
        from llm_models.p5.writer import Batch

        rng = np.random.default_rng([self.seed, number])
        family = rng.integers(2, size=self.prompts)
        ids = rng.integers(3, 30, (self.prompts, 9))
        ids[0, 6:] = 0
        words = np.where(ids > 0, np.arange(9) // 2, 0)
        labels = np.full((self.prompts, 2, 3), -100)
        labels[:, 0, :2] = ids[:, :2] + family[:, None]
        labels[family == 1, 1] = ids[family == 1, :3]
        return Batch(ids, words, labels, family)

    def batches(self, start: int = 0):
        while True:
            yield self.batch(start)
            start += 1


def make(**settings):
    from llm_models.p5.artefacts import scratch_network

    torch.manual_seed(0)
    settings = P5Settings(**SIZE | settings)
    return scratch_network(settings), settings


def run(network, settings, *, steps: int = 24, mixture=None, validate=lambda: 0.0, told=None, scratch=None, **budget):
    from llm_models.p5.training import train

    torch.manual_seed(1)
    return train(
        network,
        mixture or Draws(),
        settings,
        budget=Budget(**{"max_steps": steps, "eval_every_steps": max(1, steps // 3), "patience": 0} | budget),
        seed=1,
        validate=validate,
        progress=told or (lambda done, total, note="": None),
        scratch=scratch,
    )


def weights(network):
    return {name: weight.detach().clone() for name, weight in network.named_parameters()}


def assert_same(one, other, **tolerance) -> None:
    assert one.keys() == other.keys()
    for name, weight in one.items():
        torch.testing.assert_close(weight, other[name], **tolerance, msg=lambda text, name=name: f"{name}: {text}")


def test_it_is_adamw_with_linear_warm_up_and_decay_and_clipped_gradients() -> None:
    """Against a plain loop: torch's unfused AdamW, Hugging Face's T5 and schedule (its first step is at rate 0)."""
    steps, rise, clip = 10, 4, 0.5
    network, settings = make(dropout=0.0, warm_up=rise / steps, clip=clip, weight_decay=0.1)
    plain, _ = make(dropout=0.0)
    optimiser = torch.optim.AdamW(plain.parameters(), lr=0.01, eps=1e-6, weight_decay=0.1, fused=False)
    schedule = transformers.get_linear_schedule_with_warmup(optimiser, rise, steps)
    clipped = 0
    for number in range(steps):
        batch = Draws().batch(number)
        ids, words, labels = (torch.from_numpy(array) for array in (batch.ids, batch.words, batch.labels))
        embedded, mask = plain.t5.shared(ids) + plain.whole_word(words), (ids != 0).long()
        losses = [
            plain.t5(inputs_embeds=embedded[p : p + 1], attention_mask=mask[p : p + 1], labels=labels[p, a][None]).loss
            for p, a in (labels[:, :, 0] >= 0).nonzero().tolist()
        ]
        optimiser.zero_grad()
        torch.stack(losses).mean().backward()
        clipped += int(torch.nn.utils.clip_grad_norm_(plain.parameters(), clip) > clip)
        optimiser.param_groups[0]["lr"] = 0.01 * schedule.lr_lambdas[0](number + (number < rise))
        optimiser.step()
    run(network, settings, steps=steps)
    assert clipped > steps / 2
    assert_same(weights(network), weights(plain), atol=2e-4, rtol=1e-3)


def test_accumulated_batches_are_one_large_one() -> None:
    @dataclass
    class Halves(Draws):
        """Each batch of the other in two."""

        def batch(self, number: int):
            from llm_models.p5.writer import Batch

            whole = Draws().batch(number // 2)
            part = slice(0, 2) if number % 2 == 0 else slice(2, 6)
            return Batch(whole.ids[part], whole.words[part], whole.labels[part], whole.family[part])

    large, settings = make(dropout=0.0)
    reference = run(large, settings, steps=6)
    small, settings = make(dropout=0.0, accumulate=2)
    course = run(small, settings, steps=6, mixture=Halves(steps_an_epoch=16.0))
    assert_same(weights(small), weights(large), atol=1e-4, rtol=1e-3)
    assert (course.targets, course.tokens, course.epoch) == (reference.targets, reference.tokens, reference.epoch)
    for mine, theirs in zip(course.selection.curve, reference.selection.curve, strict=True):
        assert mine == pytest.approx(theirs, rel=1e-4)


def test_the_best_weights_are_kept_and_with_patience_0_the_last() -> None:
    values = [0.1, 0.4, 0.2, 0.3]
    seen = []

    def trained(patience: int):
        network, settings = make()
        answers = iter(values)
        seen.clear()

        def validate() -> float:
            seen.append(weights(network))
            return next(answers)

        course = run(network, settings, steps=40, validate=validate, eval_every_steps=3, patience=patience)
        return network, course.selection

    network, selection = trained(patience=2)
    assert (selection.best_step, selection.stopped, len(seen)) == (6, "early stopping", 4)
    assert [row["validation"] for row in selection.curve] == values
    assert_same(weights(network), seen[1], atol=0, rtol=0)
    assert not network.training
    values += [0.0] * 10
    network, selection = trained(patience=0)
    assert (selection.best_step, selection.stopped, len(seen)) == (40, "budget", 14)
    assert_same(weights(network), seen[-1], atol=0, rtol=0)


def test_epochs_are_passes_over_the_mixture() -> None:
    network, settings = make(accumulate=2)
    course = run(
        network, settings, mixture=Draws(steps_an_epoch=9.0), max_steps=None, max_epochs=2, eval_every_steps=None
    )
    assert (course.step, course.selection.curve[-1]["epoch"]) == (9, 2.0)
    network, settings = make(steps=4)
    assert run(network, settings, max_steps=None).step == 4


def test_no_steps_leave_the_network_as_it_is() -> None:
    network, settings = make()
    before = weights(network)
    course = run(network, settings, steps=0)
    assert_same(weights(network), before, atol=0, rtol=0)
    assert course.selection.report_fields() == {
        "steps": 0, "epochs": 0.0, "best_step": 0, "stopped": "budget", "converged": False, "curve": (),
    }  # fmt: skip
    assert course.notes()["cost"]["targets_per_second"] is None


def test_it_tells_what_it_read_what_it_cost_and_how_each_family_went() -> None:
    """At a rate of next to nothing the losses are those of the network as it was."""
    network, settings = make(dropout=0.0, learning_rate=1e-12)
    sums, tokens = np.zeros((2, 2)), 0
    with torch.inference_mode():
        for number in range(9):
            batch = Draws().batch(number)
            tokens += int((batch.ids > 0).sum())
            ids, words, labels = (torch.from_numpy(array) for array in (batch.ids, batch.words, batch.labels))
            _, each = network(ids, words, labels)
            for family in (0, 1):
                own = batch.family == family
                sums[family] += each[own].sum().item(), (batch.labels[own, :, 0] >= 0).sum()
    course = run(network, settings, steps=9, eval_every_steps=9)
    notes = json.loads(json.dumps(course.notes()))
    assert notes["family_losses"] == {
        "ones": [pytest.approx(sums[0, 0] / sums[0, 1], rel=1e-5)],
        "twos": [pytest.approx(sums[1, 0] / sums[1, 1], rel=1e-5)],
    }
    assert course.selection.curve[0]["loss"] == pytest.approx(sums[:, 0].sum() / sums[:, 1].sum(), rel=1e-5)
    cost = notes["cost"]
    assert (cost["targets"], cost["prompt_tokens_read"]) == (sums[:, 1].sum(), tokens)
    assert cost["targets_per_second"] * cost["training_hours"] * 3600 == pytest.approx(sums[:, 1].sum())
    assert cost["hours_of_original_schedule"] == pytest.approx(cost["training_hours"] * 10 * 8 / 9)
    assert cost["original"]["hours"] == {"t5-small": 6.7, "t5-base": 24.3}


def test_validation_costs_no_training_time() -> None:
    network, settings = make()
    course = run(network, settings, steps=3, validate=lambda: time.sleep(0.4) or 0.0, eval_every_steps=1)
    assert course.seconds < 1.0


def test_a_family_that_was_not_drawn_has_no_loss() -> None:
    network, settings = make()
    course = run(network, settings, steps=2, mixture=Draws(families=("ones", "twos", "never")))
    assert course.family_losses["never"] == [None] * len(course.selection.curve)


def test_bfloat16_trains_about_as_float32_does() -> None:
    losses = {}
    for dtype in ("float32", "bfloat16"):
        network, settings = make(dtype=dtype, dropout=0.0)
        losses[dtype] = [row["loss"] for row in run(network, settings, steps=60).selection.curve]
        assert all(weight.dtype == torch.float32 for weight in network.parameters())
    assert losses["float32"] != losses["bfloat16"]
    assert losses["bfloat16"] == pytest.approx(losses["float32"], rel=0.05)
    assert losses["bfloat16"][-1] < 0.9 * losses["bfloat16"][0]


def test_a_finished_run_is_not_run_again_and_another_run_starts_anew(tmp_path: Path) -> None:
    told = []
    network, settings = make()
    first = run(network, settings, scratch=tmp_path)
    again, settings = make()
    course = run(again, settings, scratch=tmp_path, told=lambda done, total, note="": told.append(done))
    assert told == []
    assert_same(weights(again), weights(network), atol=0, rtol=0)
    assert course.selection.report_fields() == first.selection.report_fields()
    assert course.notes() == first.notes()
    other, settings = make(learning_rate=0.002)
    run(other, settings, scratch=tmp_path, told=lambda done, total, note="": told.append(done))
    assert told
    assert not torch.equal(other.t5.shared.weight, network.t5.shared.weight)


def test_shares_that_do_not_come_out_even_are_refused() -> None:
    with pytest.raises(ValueError, match="3 processes cannot share 4 batches"):
        P5Settings(processes=3, accumulate=4)


def test_killed_at_any_moment_it_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    """SIGKILL, twice, at moments that are not foreseen."""
    report = _script("killed", tmp_path)
    whole, killed = ((tmp_path / name / "weights.safetensors").read_bytes() for name in ("whole", "killed"))
    assert whole == killed
    assert report["whole"] == report["killed"]
    # Each time it went on from where a checkpoint had been left, and not from the start.
    assert 0 < report["resumed"][0] < report["resumed"][1]


def test_the_mixture_can_be_sent_to_other_processes() -> None:
    pytest.importorskip("sentencepiece")
    from bench.models.world import small_world
    from llm_models.p5.artefacts import make_indexes
    from llm_models.p5.asking import collection
    from llm_models.p5.corpus import make_tokenizer
    from llm_models.p5.mixture import Mixture
    from llm_models.p5.writer import World, Writer

    training, settings = small_world().training(), P5Settings(**SIZE)
    prompts = collection(settings.prompts, settings.extra)
    world = World.of(training, *make_indexes(settings, training, seed=0, device="cpu"))
    mixture = Mixture(training, Writer(make_tokenizer(settings, prompts, training, world), world), prompts, settings, 0)
    sent = pickle.loads(pickle.dumps(mixture))
    assert list(sent.families) == list(mixture.families)
    mine, theirs = next(mixture.batches(3)), next(sent.batches(3))
    for name in ("ids", "words", "labels", "family"):
        np.testing.assert_array_equal(getattr(mine, name), getattr(theirs, name))


@pytest.mark.slow
def test_processes_together_take_the_steps_of_one_alone(tmp_path: Path) -> None:
    pytest.importorskip("accelerate")
    report = _script("team", tmp_path)
    alone, together = report["alone"], report["together"]
    for mine, theirs in zip(together["curve"], alone["curve"], strict=True):
        assert mine == pytest.approx(theirs, abs=1e-5)
    assert together["targets"] == alone["targets"]
    assert together["tokens"] == alone["tokens"]
    for name, losses in alone["family_losses"].items():
        assert together["family_losses"][name] == pytest.approx(losses, abs=1e-5)
    assert report["distance"] < 1e-5
    assert report["moved"] > 1e-2
    # Interrupted at the second evaluation, it went on from the first.
    assert report["steps"] == [10, 20, -1, 20, 30]


def _script(*arguments: object) -> dict:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "error", __file__, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def _told(course) -> dict:
    return {
        "curve": course.selection.curve,
        "best_step": course.selection.best_step,
        "family_losses": course.family_losses,
        "targets": course.targets,
        "tokens": course.tokens,
    }


def _killed(folder: Path) -> dict:
    """Train once to the end, and once killed twice; every run in a process of its own."""
    from safetensors.torch import save_file

    from llm_models.p5 import training

    training.TELL_EVERY = 2

    def fit(where: Path, pipe: int) -> None:
        # Dropout, accumulation, validation: all that has a state.
        network, settings = make(accumulate=2, dropout=0.2)
        batch = Draws(seed=9).batch(0)
        held_out = [torch.from_numpy(array) for array in (batch.ids, batch.words, batch.labels)]

        def validate() -> float:
            network.eval()
            with torch.inference_mode():
                return -network.loss(*held_out).item()

        def told(done: int, total: int, note: str = "") -> None:
            os.write(pipe, f"{done}\n".encode())

        where.joinpath("scratch").mkdir(parents=True, exist_ok=True)
        course = run(network, settings, steps=60, validate=validate, told=told, scratch=where / "scratch",
                     eval_every_steps=17, patience=9)  # fmt: skip
        save_file(weights(network), where / "weights.safetensors")
        os.write(pipe, (json.dumps(_told(course)) + "\n").encode())

    def start(where: Path) -> tuple[int, object]:
        read, write = os.pipe()
        if process := os.fork():
            os.close(write)
            return process, os.fdopen(read)
        try:
            fit(where, write)
        finally:
            os._exit(0)

    torch.use_deterministic_algorithms(True)
    process, lines = start(folder / "whole")
    whole = json.loads(lines.readlines()[-1])
    os.waitpid(process, 0)
    training.SAVE_EVERY_S = 0.0
    resumed = []
    for enough in (20, 42):
        process, lines = start(folder / "killed")
        first = int(lines.readline())
        while int(lines.readline()) < enough:
            pass
        time.sleep(np.random.default_rng().random() * 0.05)
        os.kill(process, signal.SIGKILL)
        assert os.WIFSIGNALED(os.waitpid(process, 0)[1])
        resumed.append(first)
    process, lines = start(folder / "killed")
    resumed.append(int((said := lines.readlines())[0]))
    os.waitpid(process, 0)
    return {"whole": whole, "killed": json.loads(said[-1]), "resumed": [step - resumed[0] for step in resumed[1:]]}


def _team(folder: Path) -> dict:
    """Train alone, and in a team of two that is interrupted and called together again."""
    steps = {"steps": 30, "eval_every_steps": 10}
    shared = {"dropout": 0.0, "accumulate": 4, "learning_rate": 0.001}
    alone, settings = make(**shared)
    start = weights(alone)
    course = run(alone, settings, **steps)
    validations = [0.0]
    told: list[int] = []

    def tell(done: int, total: int, note: str = "") -> None:
        told.append(done)

    together, settings = make(**shared, processes=2)
    try:
        run(together, settings, **steps, validate=validations.pop, told=tell, scratch=folder)
    except IndexError:  # no number for the second evaluation
        told.append(-1)
    together, settings = make(**shared, processes=2)
    other = run(together, settings, **steps, told=tell, scratch=folder)
    mine, theirs = weights(together), weights(alone)
    return {
        "alone": _told(course),
        "together": _told(other),
        "steps": told,
        "distance": max((mine[name] - theirs[name]).abs().max().item() for name in mine),
        "moved": max((mine[name] - start[name]).abs().max().item() for name in mine),
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(json.dumps({"killed": _killed, "team": _team}[sys.argv[1]](Path(sys.argv[2]))))
