"""The fence around RecBole 1.2.1: every workaround it needs beside current libraries, in force only inside.

Nothing outside notices that it ran: attributes of numpy, the command line, environment variables, YAML's resolvers,
warning filters, random states and autograd's anomaly mode are put back.

Two more traps are avoided by what the adapter does not do: it never imports ``recbole.quick_start`` (which wants ray,
and ray 2.6 wants ``pkg_resources``), and it never lets a trainer reload its checkpoint (which ``torch.load`` refuses
since it reads weights only). And it hands over complete columns: under pandas 3 RecBole's filling of gaps does nothing.
"""

from __future__ import annotations

import os
import random
import sys
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

__all__ = ["NUMPY_ALIASES", "fence"]

NUMPY_ALIASES = {
    "float_": "float64",
    "complex_": "complex128",
    "unicode_": "str_",
    "float": "float64",
    "int": "int_",
    "complex": "complex128",
    "object": "object_",
    "str": "str_",
    "unicode": "str_",
}
"""Names that numpy dropped: ``Config`` still reads the first three, and itself makes the others for the rest of RecBole
(and for everyone else)."""

_OVERWRITTEN = ("bool", "long")
"""Names of numpy that ``Config`` gives a meaning of its own."""

_MISSING = object()


@contextmanager
def fence() -> Iterator[None]:
    """Run RecBole inside; may be nested."""
    with ExitStack() as stack:
        stack.enter_context(_numpy_as_recbole_knows_it())
        stack.enter_context(_scipy_as_recbole_knows_it())
        stack.enter_context(_no_command_line())
        stack.enter_context(_environment())
        stack.enter_context(_yaml_resolvers())
        stack.enter_context(_quiet())
        stack.enter_context(_random_states())
        stack.enter_context(_no_anomaly_mode())
        stack.enter_context(_no_tensorboard())
        yield


@contextmanager
def _attributes(owner: Any, names: tuple[str, ...]) -> Iterator[None]:
    """Put the named attributes of ``owner`` back afterwards, also those that were not there."""
    before = {name: vars(owner).get(name, _MISSING) for name in names}
    try:
        yield
    finally:
        for name, value in before.items():
            if value is not _MISSING:
                setattr(owner, name, value)
            elif name in vars(owner):
                delattr(owner, name)


@contextmanager
def _numpy_as_recbole_knows_it() -> Iterator[None]:
    """RecBole needs names that numpy dropped, and changes others."""
    import numpy as np

    with _attributes(np, (*NUMPY_ALIASES, *_OVERWRITTEN)):
        for old, new in NUMPY_ALIASES.items():
            setattr(np, old, getattr(np, new))
        yield


@contextmanager
def _scipy_as_recbole_knows_it() -> Iterator[None]:
    """LightGCN fills its adjacency matrix with a method that scipy dropped in 1.13."""
    from scipy.sparse import dok_matrix

    with _attributes(dok_matrix, ("_update",)):
        dok_matrix._update = lambda matrix, entries: matrix._dict.update(entries)
        yield


@contextmanager
def _no_command_line() -> Iterator[None]:
    """``Config`` reads ``--key=value`` from any program's command line, and puts it above all other settings."""
    with _attributes(sys, ("argv",)):
        sys.argv = sys.argv[:1] or [""]
        yield


@contextmanager
def _environment() -> Iterator[None]:
    """``Config`` sets ``CUDA_VISIBLE_DEVICES`` for the whole process."""
    before = os.environ.get("CUDA_VISIBLE_DEVICES")
    try:
        yield
    finally:
        if before is not None:
            os.environ["CUDA_VISIBLE_DEVICES"] = before
        else:
            os.environ.pop("CUDA_VISIBLE_DEVICES", None)


@contextmanager
def _yaml_resolvers() -> Iterator[None]:
    """``Config`` adds its own notion of a float to PyYAML's ``FullLoader``, for everyone, once more at every call."""
    import yaml

    with _attributes(yaml.FullLoader, ("yaml_implicit_resolvers",)):
        yield


@contextmanager
def _quiet() -> Iterator[None]:
    """Deprecated calls of RecBole, pandas' copy-on-write remarks on it, and its coloured log on the root logger."""
    import logging

    def is_ours(record: logging.LogRecord) -> bool:
        inside = f"{os.sep}recbole{os.sep}" in record.pathname
        return not inside or record.levelno >= logging.WARNING

    root = logging.getLogger()
    root.addFilter(is_ours)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"recbole\.")
            yield
    finally:
        root.removeFilter(is_ours)


@contextmanager
def _random_states() -> Iterator[None]:
    """RecBole seeds and draws from the global generators of Python, numpy and torch, and sets cuDNN's switches."""
    import numpy as np
    import torch

    cudnn = torch.backends.cudnn
    switches = cudnn.benchmark, cudnn.deterministic
    python, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002 (the generator RecBole uses)
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices):
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(legacy)  # noqa: NPY002
            cudnn.benchmark, cudnn.deterministic = switches


@contextmanager
def _no_anomaly_mode() -> Iterator[None]:
    """Importing RecBole's SINE turns autograd's anomaly detection on for every model, which doubles a training step."""
    import torch

    before = torch.is_anomaly_enabled()
    try:
        yield
    finally:
        torch.autograd.set_detect_anomaly(before)


class _NoBoard:
    """Takes what a trainer would write for TensorBoard, and writes nothing."""

    def __init__(self, folder: str) -> None: ...

    def add_scalar(self, *values: Any) -> None: ...

    def add_hparams(self, *values: Any) -> None: ...


@contextmanager
def _no_tensorboard() -> Iterator[None]:
    """Trainers write ``log_tensorboard/`` into the working directory, and no setting keeps them from it."""
    import recbole.utils.utils as utils

    with _attributes(utils, ("SummaryWriter",)):
        utils.SummaryWriter = _NoBoard
        yield
