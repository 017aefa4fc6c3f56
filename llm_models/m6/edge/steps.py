"""The steps to a model for small devices, each made of one fitted click model and measurable on its own.

Imports torch: import this module inside a method.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, get_args

from torch import Tensor

from bench.models import Training
from llm_models.backbones.compact import Compact, save_compact
from llm_models.backbones.layout import Layout
from llm_models.backbones.locate import BackboneFiles, locate
from llm_models.backbones.stack import Stack, load_stack
from llm_models.m6.click import M6Click
from llm_models.m6.edge.distil import distil, start_from
from llm_models.m6.edge.early_exit import AtDepth, Certain, Leaving, Patient, Weighting
from llm_models.m6.edge.int8 import Arithmetic, quantised
from llm_models.m6.edge.prune import Pruner, Schedule
from llm_models.m6.edge.variants import Lessons, Variant, tune
from llm_models.m6.network import M6Network

__all__ = ["STEPS", "EdgeSettings", "Step", "Workshop"]

Step = Literal["longer", "exit", "distil", "prune", "int8", "all"]
"""Tuned on as long as the other steps are, and nothing else; losses at every layer and early exit; a distilled
student, tuned from the start; pruned while tuned on; 8-bit weights; the student pruned and in 8 bits."""

STEPS: tuple[Step, ...] = get_args(Step)


@dataclass(frozen=True)
class EdgeSettings:
    """How the steps are made.

    Attributes
    ----------
    tune_steps : int
        Optimiser steps of each step that tunes on, with the rates and batches of the fitted model.
    weightings : tuple of str
        Readings of the weights of the losses at every layer.
    patience : tuple of int
        Exits in a row that must agree; a row of the table each.
    entropies : tuple of float
        Thresholds in nats (an even guess of two classes has 0.693); a row of the table each.
    share, scope
        Of pruning, see :class:`Pruner`: grows over the first three quarters of the steps.
    student_depth, student_width, shared, word_width
        Of the student, see :class:`Compact`; a width of 0 is the teacher's, a word width of 0 is none.
    start : str
        Of the student: what fits of the ``"teacher"``, or ``"random"``.
    teacher : str
        The pre-trained ``"backbone"``, or the ``"fitted"`` model's (the same unless that was trained, too).
    teacher_layer : int
        Whose relations are learned, from 1; 0: the last.
    relation_heads, distil_steps, distil_rate
        Of distillation.
    seed : int
        Of everything that is drawn.
    """

    tune_steps: int = 300
    weightings: tuple[Weighting, ...] = ("normalised", "quoted")
    patience: tuple[int, ...] = (2, 3)
    entropies: tuple[float, ...] = (0.4, 0.55, 0.65)
    share: float = 0.8
    scope: Literal["global", "layer"] = "global"
    student_depth: int = 3
    student_width: int = 0
    shared: bool = True
    word_width: int = 128
    start: Literal["teacher", "random"] = "teacher"
    teacher: Literal["backbone", "fitted"] = "backbone"
    teacher_layer: int = 0
    relation_heads: int = 12
    distil_steps: int = 500
    distil_rate: float = 3e-4
    seed: int = 0


class Workshop:
    """Makes variants of a fitted click model.

    Parameters
    ----------
    fitted : M6Click
    training : Training
        What it was fitted on.
    settings : EdgeSettings
    students : Path
        Folder for distilled backbones; one that is there already is used again.
    fit_on : callable
        Fits a click model with the settings of the fitted one on another backbone, a folder.
    told : callable
        Progress: what is done, steps done, steps in all, the loss.
    """

    def __init__(
        self,
        fitted: M6Click,
        training: Training,
        settings: EdgeSettings,
        *,
        students: Path,
        fit_on: Callable[[Path], M6Click],
        told: Callable[[str, int, int, float], None],
    ) -> None:
        self.fitted, self.training, self.settings = fitted, training, settings
        self.students, self.fit_on, self.told = students, fit_on, told
        self.base = Variant(fitted)
        self._student: Variant | None = None
        self._lessons: Lessons | None = None

    @property
    def lessons(self) -> Lessons:
        """The training clicks; all variants share settings and tokenizer, and so these."""
        if self._lessons is None:
            self._lessons = self.base.lessons(self.training, seed=self.settings.seed)
        return self._lessons

    def make(self, step: Step) -> dict[str, Variant]:
        """The variants of a step, by the names that a table gives them."""
        made: dict[Step, Callable[[], dict[str, Variant]]] = {
            "longer": lambda: {"tuned on": self._tuned("tuned on")},
            "exit": self._exits,
            "distil": lambda: {self._student_name: self.student},
            "prune": lambda: {f"pruned {self.settings.share:.0%}": self._pruned(self.fitted, "pruned")},
            "int8": lambda: {
                "8-bit weights and arithmetic": _in_8_bits(self.base, "int8"),
                "8-bit weights, float arithmetic": _in_8_bits(self.base, "float"),
            },
            "all": self._all,
        }
        return made[step]()

    @property
    def student(self) -> Variant:
        """A student distilled and then tuned as the fitted model was."""
        if self._student is None:
            self._student = Variant(self.fit_on(self._distilled()))
        return self._student

    @property
    def _student_name(self) -> str:
        settings = self.settings
        parts = [f"{settings.student_depth} {'shared ' if settings.shared else ''}layers"]
        parts += [f"width {settings.student_width}"] if settings.student_width else []
        parts += [f"words {settings.word_width}-d"] if settings.word_width else []
        return f"student ({', '.join(parts)})"

    def _tuned(self, what: str, *, exits: Weighting | None = None) -> Variant:
        variant = Variant(self.fitted)
        self._tune(variant, what, exits=exits)
        return variant

    def _tune(
        self,
        variant: Variant,
        what: str,
        *,
        exits: Weighting | None = None,
        after_step: Callable[[int], None] | None = None,
    ) -> None:
        steps = self.settings.tune_steps
        tune(
            variant,
            self.lessons,
            steps=steps,
            seed=self.settings.seed,
            exits=exits,
            after_step=after_step,
            told=lambda step, loss: self.told(what, step, steps, loss),
        )

    def _exits(self) -> dict[str, Variant]:
        settings, made = self.settings, {}
        for weighting in settings.weightings:
            network = self._tuned(f"{weighting} exits", exits=weighting).network
            exits = network.stack.depth - network.late
            rules: dict[str, Leaving] = {f"exit {k} of {exits}": AtDepth(k) for k in range(1, exits + 1)}
            rules |= {f"patience {count}": Patient(count) for count in settings.patience}
            rules |= {f"entropy < {limit:g}": Certain(limit) for limit in settings.entropies}
            made |= {
                f"{weighting} weights, {name}": Variant(self.fitted, network, rule) for name, rule in rules.items()
            }
        return made

    def _pruned(self, fitted: M6Click, what: str) -> Variant:
        settings, variant = self.settings, Variant(fitted)
        steps = settings.tune_steps
        schedule = Schedule(settings.share, first=0, last=max(1, 3 * steps // 4), every=max(1, steps // 100))
        pruner = Pruner(variant.network.stack, schedule, scope=settings.scope)
        self._tune(variant, what, after_step=pruner.after_step)
        return variant

    def _all(self) -> dict[str, Variant]:
        pruned = self._pruned(self.student, "student, pruned")
        name = f"student, pruned {self.settings.share:.0%}"
        return {name: pruned, f"{name}, 8-bit": _in_8_bits(pruned, "int8")}

    def _distilled(self) -> Path:
        """Folder of the distilled backbone, made if it is not there."""
        settings, model = self.settings, self.fitted.settings
        files = locate(model.backbone, revision=model.backbone_revision, weights_sha256=model.backbone_sha256)
        teacher = (
            load_stack(files, device=self.fitted.device)
            if settings.teacher == "backbone"
            else copy.deepcopy(self.base.network.stack).float().requires_grad_(False)
        )
        sizes = self._sizes(teacher)
        folder = self.students / self._digest(files, sizes)
        if (folder / "model.safetensors").is_file():
            return folder
        student = sizes.make(seed=settings.seed).to(self.fitted.device)
        if settings.start == "teacher":
            start_from(student, teacher)
        steps, source = settings.distil_steps, self.lessons.batches(model.batch_tokens, settings.seed)
        packer = self.lessons.asked.packer

        def batches() -> Iterator[tuple[Tensor, Layout]]:
            for _, rows in zip(range(steps), source, strict=False):
                batch = packer.pack(rows.user, rows.target, [("click", len(rows))])
                yield batch.tokens, batch.layout

        distil(
            teacher,
            student,
            batches(),
            heads=settings.relation_heads,
            layer=settings.teacher_layer or None,
            learning_rate=settings.distil_rate,
            told=lambda step, loss: self.told("distilled", step, steps, loss),
        )
        save_compact(student, folder, files)
        return folder

    def _sizes(self, teacher: Stack) -> Compact:
        settings = self.settings
        width = settings.student_width or teacher.width
        size = teacher.width // teacher.blocks[0].heads
        return Compact(
            depth=settings.student_depth,
            width=width,
            heads=max(1, width // size),
            inner=4 * width,
            vocabulary=len(teacher.words.weight),
            positions=teacher.longest or 512,
            shared=settings.shared,
            word_width=settings.word_width or None,
        )

    def _digest(self, files: BackboneFiles, sizes: Compact) -> str:
        """Name of a student: a hash of all that it is made from."""
        settings = {
            name: value
            for name, value in asdict(self.settings).items()
            if name in {"start", "teacher", "teacher_layer", "relation_heads", "distil_steps", "distil_rate", "seed"}
        }
        rows = hashlib.sha256(self.lessons.asked.packer.tokens.values.tobytes())
        rows.update(self.lessons.rows.target.values.tobytes())
        tuned = hashlib.sha256()
        if self.settings.teacher == "fitted":
            for weight in self.base.network.stack.parameters():
                tuned.update(weight.detach().float().cpu().numpy().tobytes())
        made_of = [files.digests, asdict(sizes), settings, rows.hexdigest(), tuned.hexdigest()]
        return hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()[:16]


def _in_8_bits(variant: Variant, arithmetic: Arithmetic) -> Variant:
    network = variant.network
    small = M6Network(
        quantised(network.stack, arithmetic), copy.deepcopy(network.tunings), late=network.late, reading=network.reading
    )
    small.segments.data.copy_(network.segments.data)
    return Variant(variant, small.eval())
