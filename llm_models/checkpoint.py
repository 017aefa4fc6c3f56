"""Where a training run stands, in one file that is whole or not there."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from bench.errors import DataError

__all__ = ["Checkpoint"]


class Checkpoint:
    """A safetensors file: tensors, and beside them a state as JSON.

    Parameters
    ----------
    folder : Path
        Where it lies, under a name of its own.
    run : str
        Digest of all that decides how training goes; a file of another run is not taken up.
    """

    def __init__(self, folder: Path, run: str) -> None:
        self.path = folder / "training.safetensors"
        self.run = run

    def save(self, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Replace what was saved before; a process killed meanwhile leaves the file before in place."""
        written = self.path.with_suffix(".writing")
        save_file(
            {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()},
            written,
            metadata={"run": self.run, "state": json.dumps(state)},
        )
        with written.open("rb") as file:
            os.fsync(file.fileno())
        written.replace(self.path)

    def load(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Read what was saved last; ``None`` if nothing was, or by another run.

        Raises
        ------
        DataError
            When the file is damaged.
        """
        if not self.path.is_file():
            return None
        try:
            with safe_open(self.path, framework="pt") as file:
                metadata = file.metadata() or {}
                if metadata.get("run") != self.run:
                    return None
                return {name: file.get_tensor(name) for name in file.keys()}, json.loads(metadata["state"])  # noqa: SIM118
        except (SafetensorError, OSError, ValueError, KeyError) as error:
            raise DataError(
                f"{self.path}: this checkpoint cannot be read ({error}); remove it, and training starts anew"
            ) from error
