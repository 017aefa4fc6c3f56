"""Trains in processes of its own, for tests of what becomes of them: ``processes.py killed|team FOLDER``."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
import torch
from conftest import Draws, make, run, weights


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
