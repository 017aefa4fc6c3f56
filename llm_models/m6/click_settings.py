"""The settings of the M6-Rec style model that says how likely a click is."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path, PurePath
from typing import Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, field_validator, model_validator

from bench.models import Settings
from llm_models.backbones.locate import PACKAGED_MINILM
from llm_models.m6.behaviour import load_behaviour

__all__ = ["CLASSES", "ClickSettings", "ClickTask", "native_bfloat16"]

ClickTask = Literal["click", "stars"]
"""What a network may be trained for: a click or none, and 1 to 5 stars."""

CLASSES: dict[str, int] = {"click": 2, "stars": 5}
"""Classes of each task."""

MethodName = Literal["head", "adapter", "prompt", "option", "option-adapter", "full"]


class ClickSettings(Settings):
    """Settings of :class:`llm_models.m6.click.M6Click`.

    Cui et al. (2022) give neither the number of soft prompts (an example has three, two of them options), nor the rank
    of the adapters (about 1% of the parameters), nor optimiser, learning rate, batch and steps: these are chosen here.

    Attributes
    ----------
    backbone, backbone_revision, backbone_sha256
        As in :class:`llm_models.m6.settings.M6Settings`; any family of :mod:`llm_models.backbones.stack`.
    dtype : str
        Of the backbone: ``"auto"`` is bfloat16 where the processor computes in it, else float32. What is trained is
        always kept in float32; method ``"full"`` trains the backbone and needs float32, which ``"auto"`` then is.
        In bfloat16 an answer depends on its batch in the third decimal.
    method : str
        What is trained, see :data:`llm_models.m6.tuning.METHODS`.
    tasks : tuple of str
        ``"click"``, ``"stars"`` (the harness's ``rating``), or both: then the soft prompts, options and adapters of
        both are trained on the one backbone in mixed batches, and either task is served by the same network.
        Clicks come from the labelled pairs of the protocol, stars from pairs or events with a rating.
    click_at_least : float
        Stars that are a click where the protocol asks for ratings and tells of no clicks.
    prompts : int
        Soft prompts of each task, its options among them: the paper's example has one beside its two options; eight
        leave six for MiniLM, about as many tokens as a short sentence.
    rank : int
        Of an adapter: 48 in each of MiniLM's six layers is 1.0% of its parameters, 144 in two of them likewise.
    adapter_layers : str or tuple of int
        ``"all"``, ``"late"`` (those above L'; all where ``late`` is 0), or numbers from 0.
    train_specials : bool or None
        Whether [BOS'], [EOS'], [BOS] and [EOS] are trained, as the paper does; ``None``: where ``late`` is 0. Untrained
        special tokens leave the lower layers the same for all tasks, which may then be computed once.
    late : int
        L', the layers that read each segment alone (late interaction); 0: every layer reads everything.
    reading : str
        Which tokens of a candidate read the user in the layers above L': ``"all"``, as in the paper, or ``"end"``,
        [EOS] alone (see :mod:`llm_models.m6.network`).
    behaviour : str
        One of ``behaviour.yaml``: what is written of users and items.
    statistics : bool
        Whether figures of the training data (how popular, how well received...) are written, too.
    window : int
        Latest clicks of a history that are written.
    max_tokens : int
        Longest row of one user and one candidate, soft prompts not counted: what does not fit loses its oldest clicks.
    item_tokens : int
        Longest text of one segment.
    targets_per_row : int
        Candidates of one user, met with the same history, that share a row: the user is then computed once for all,
        and nothing else changes, since candidates do not see each other.
    batch_tokens : int
        Padded tokens in one forward pass, of rows of like length.
    accumulate : int
        Passes in an optimiser step.
    steps : int
        Optimiser steps where the budget limits neither steps nor epochs.
    learning_rate : float
        Of soft prompts, options and special tokens (AdamW). High, as is usual for prompts: what is fed to an encoder is
        normalised at once, and logits of options are divided by the root of the width.
    head_rate, adapter_rate, backbone_rate : float
        Learning rates of linear classifiers, of adapters and segment embeddings, and, with method ``"full"``, of the
        backbone.
    schedule : str
        After the warm-up: ``"cosine"`` (down to 0 at the last step) or ``"constant"``.
    warm_up : float
        Share of the steps over which rates rise from 0.
    weight_decay : float
        Of adapters, classifiers and the backbone; what lives among word vectors is not pulled to 0.
    clip : float
        Largest norm of the gradient.
    max_rows : int or None
        Training pairs that are used; ``None``: all.
    choose : str
        Which, where there are more: the ``"latest"``, or a ``"random"`` draw that follows the seed (of sittings: pairs
        of one user with one history stay together). Where no times are known the draw stands for the latest, too.
    cache_mib : int
        Bound of the memory in which lower states of segments are kept, where they depend on nothing trained. Where
        those of all training texts do not fit, they are computed in every pass.
    """

    backbone: str = PACKAGED_MINILM
    backbone_revision: str | None = None
    backbone_sha256: str | None = None
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    method: MethodName = "option-adapter"
    tasks: tuple[ClickTask, ...] = Field(("click",), min_length=1)
    click_at_least: float = 4.0
    prompts: NonNegativeInt = 8
    rank: PositiveInt = 48
    adapter_layers: Literal["all", "late"] | tuple[NonNegativeInt, ...] = "all"
    train_specials: bool | None = None
    late: NonNegativeInt = 0
    reading: Literal["all", "end"] = "all"
    behaviour: str = "crossed"
    statistics: bool = True
    window: PositiveInt = 5
    max_tokens: PositiveInt = 128
    item_tokens: PositiveInt = 64
    targets_per_row: PositiveInt = 8
    batch_tokens: PositiveInt = 2048
    accumulate: PositiveInt = 2
    steps: PositiveInt = 1500
    learning_rate: PositiveFloat = 0.03
    head_rate: PositiveFloat = 3e-3
    adapter_rate: PositiveFloat = 2e-3
    backbone_rate: PositiveFloat = 3e-5
    schedule: Literal["cosine", "constant"] = "cosine"
    warm_up: float = Field(0.05, ge=0.0, lt=1.0)
    weight_decay: float = Field(0.01, ge=0.0)
    clip: PositiveFloat = 1.0
    max_rows: PositiveInt | None = None
    choose: Literal["latest", "random"] = "latest"
    cache_mib: PositiveInt = 2048

    @field_validator("behaviour")
    @classmethod
    def _behaviour_is_known(cls, name: str) -> str:
        load_behaviour(name)
        return name

    @field_validator("tasks")
    @classmethod
    def _tasks_are_distinct(cls, tasks: tuple[ClickTask, ...]) -> tuple[ClickTask, ...]:
        if len(set(tasks)) < len(tasks):
            raise ValueError("a task is named twice")
        return tasks

    @model_validator(mode="after")
    def _fits_together(self) -> ClickSettings:
        most = max(CLASSES[task] for task in self.tasks)
        if self.method.startswith("option") and self.prompts < most:
            raise ValueError(f"{self.prompts} soft prompts cannot hold the {most} options of a task")
        if self.method == "full" and self.dtype == "bfloat16":
            raise ValueError("method full trains the backbone's weights, which bfloat16 is too coarse for: use float32")
        if self.reading == "end" and not self.late:
            raise ValueError("reading: end needs late of 1 or more")
        if self.item_tokens + 2 > self.max_tokens:
            raise ValueError(f"max_tokens must leave room for a segment: at least {self.item_tokens + 2}")
        return self

    @property
    def specials_trained(self) -> bool:
        """What ``train_specials`` comes to."""
        return not self.late if self.train_specials is None else self.train_specials

    @property
    def resolved_dtype(self) -> str:
        """What ``dtype`` comes to on this machine."""
        if self.dtype != "auto":
            return self.dtype
        return "bfloat16" if self.method != "full" and native_bfloat16() else "float32"

    def adapted(self, depth: int) -> tuple[int, ...]:
        """The layers with an adapter, of a backbone of ``depth`` layers."""
        if self.adapter_layers == "all":
            return tuple(range(depth))
        if self.adapter_layers == "late":
            return tuple(range(self.late, depth))
        return tuple(sorted(set(self.adapter_layers)))

    def lower_is_fixed(self, depth: int) -> bool:
        """Whether the states of a segment after layer L' depend on nothing that is trained."""
        below = self.method.endswith("adapter") and min(self.adapted(depth), default=depth) < self.late
        trained = self.specials_trained and self.method != "head"
        return bool(self.late) and not trained and not below and self.method != "full"

    @property
    def backbone_name(self) -> str:
        """The backbone as a table prints it."""
        return "MiniLM" if self.backbone == PACKAGED_MINILM else PurePath(self.backbone).name

    def share_trained(self, folder: Path) -> float:
        """Share of the parameters that is trained, from the files of the backbone alone.

        Raises
        ------
        OSError, KeyError, ValueError
            When they cannot be read.
        """
        if self.method == "full":
            return 1.0
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        width = config.get("hidden_size") or config["n_embd"]
        depth = config.get("num_hidden_layers") or config["n_layer"]
        trained = 32 * width if self.late else 0
        for task in self.tasks:
            trained += CLASSES[task] + (0 if self.method.startswith("option") else CLASSES[task] * width)
            if self.method in {"prompt", "option", "option-adapter"}:
                trained += self.prompts * width
            if self.specials_trained and self.method != "head":
                trained += 4 * width
            if self.method.endswith("adapter"):
                trained += len(self.adapted(depth)) * (2 * width * self.rank + self.rank + width + 1)
        return trained / (trained + _parameters(folder / "model.safetensors"))


@cache
def native_bfloat16() -> bool:
    """Whether this processor computes in bfloat16."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
    return bool({"avx512_bf16", "amx_bf16", "bf16"} & set(text.split()))


def _parameters(path: Path) -> int:
    """Weights in a safetensors file, by its header; poolers, which no stack has, are left out."""
    with path.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    total = 0
    for name, tensor in header.items():
        if name != "__metadata__" and tensor["dtype"].startswith(("F", "BF")) and "pooler" not in name:
            count = 1
            for size in tensor["shape"]:
                count *= size
            total += count
    return total
