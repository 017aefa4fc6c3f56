"""What P5 stands on: indexes, tokenizer, checkpoint, and the network made from them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bench.audit import INDEX_FILE
from bench.data.hashing import digest, file_sha256
from bench.errors import MissingInputError, UsageError
from bench.models import Training
from llm_models.backbones.locate import PACKAGED_MINILM, locate
from llm_models.indexing import IdIndex, WordTokenizer, load_tokenizer, make_index, make_user_index
from llm_models.p5.settings import P5Settings

if TYPE_CHECKING:
    from llm_models.p5.network import P5Network

__all__ = [
    "brought_along",
    "load_network",
    "make_indexes",
    "make_network",
    "save_network",
    "scratch_network",
    "stars_of",
]

CONFIG, WEIGHTS = "config.json", "model.safetensors"
USERS = "users.json"


def brought_along(settings: P5Settings) -> dict[str, str]:
    """Digests of what the settings name: a tokenizer, a checkpoint, and the network that reads texts for semantic ids.

    Raises
    ------
    MissingInputError
        When one of them is not to be had.
    """
    digests = {}
    if source := settings.tokenizer_source:
        digests["tokenizer"] = load_tokenizer(source).digest
    if settings.pretrained:
        digests["checkpoint"] = _files_digest(
            *(checkpoint_folder(settings.pretrained) / file for file in (CONFIG, WEIGHTS))
        )
    if settings.checkpoint:
        path = Path(settings.checkpoint).expanduser()
        files = [path] if settings.published else [path / CONFIG, path / WEIGHTS]
        for file in files:
            if not file.is_file():
                raise MissingInputError(
                    f"no P5 checkpoint at {file}: set `checkpoint` to a .pth file or a stored model"
                )
        digests["checkpoint"] = _files_digest(*files)
    if settings.index == "semantic" and settings.embedder == "minilm":
        digests["embedder"] = locate(PACKAGED_MINILM).weights_sha256
    return digests


def checkpoint_folder(name: str) -> Path:
    """Find a T5 checkpoint: a folder, or a name on the Hugging Face hub (downloaded once, then read from its cache).

    Raises
    ------
    MissingInputError
        When there is none.
    """
    folder = Path(name).expanduser()
    wanted = (CONFIG, WEIGHTS)
    if not folder.is_dir():
        from huggingface_hub import hf_hub_download

        try:
            folder = Path([hf_hub_download(name, file) for file in wanted].pop()).parent
        except (OSError, ValueError) as error:
            raise MissingInputError(
                f"the T5 checkpoint {name!r} is not here: no such folder, and the Hugging Face hub did not give it "
                f"({type(error).__name__}). Fetch it once with a connection (`hf download {name}`), or set "
                f"`pretrained` to a folder with {', '.join(wanted)} and spiece.model."
            ) from error
    for file in wanted:
        if not (folder / file).is_file():
            raise MissingInputError(f"the T5 checkpoint {folder} has no {file}")
    return folder


def _files_digest(*paths: Path) -> str:
    """Hash of what a network is made from: the weights, and its shape where that is a file of its own."""
    digests = [file_sha256(path) for path in paths]
    return digests[0] if len(digests) == 1 else digest(digests)


def make_indexes(settings: P5Settings, training: Training, *, seed: int, device: str) -> tuple[IdIndex, IdIndex]:
    """Number the training users and items as the settings say.

    Raises
    ------
    UsageError
        When a stored P5 is to be started from that knows users or items by other ids.
    """
    digits = settings.digits if settings.padded else None
    items = make_index(
        settings.index,
        training,
        seed=seed,
        digits=digits,
        clusters=settings.clusters,
        leaf=settings.leaf,
        method=settings.method,
        embedder=settings.embedder,
        levels=settings.levels,
        codebook=settings.codebook,
        device=device,
    )
    users = make_user_index(settings.user_index, training, seed=seed + 1, digits=digits)
    if settings.checkpoint and not settings.published:
        folder = Path(settings.checkpoint).expanduser()
        for what, made, file in (("items", items, INDEX_FILE), ("users", users, USERS)):
            if made.code_of != IdIndex.load(folder / file).code_of:
                raise UsageError(
                    f"the checkpoint {folder} knows {what} by other ids than this run gives them, so that words would "
                    "mean something else to it: use its data, split, seed and settings of ids"
                )
    return users, items


def stars_of(training: Training) -> tuple[float, ...]:
    """The ratings that training knows, ascending; none where it has no stars."""
    pairs = training.pairs
    rated = training.rating if pairs is None or pairs.kind != "rating" else pairs.label
    if rated is None:
        return ()
    return tuple(np.unique(rated[np.isfinite(rated)]).tolist())


def make_network(settings: P5Settings, tokenizer: WordTokenizer) -> P5Network:
    """Build the network, from scratch or from a checkpoint; the embedding table covers the tokenizer.

    Raises
    ------
    UsageError
        When a P5 to start from was trained with another tokenizer.
    """
    if settings.checkpoint is not None:
        return _trained_network(Path(settings.checkpoint).expanduser(), settings, len(tokenizer))
    if settings.pretrained is None:
        return scratch_network(settings, rows=len(tokenizer))
    from transformers import T5ForConditionalGeneration

    from llm_models.p5.network import P5Network

    t5 = T5ForConditionalGeneration.from_pretrained(
        checkpoint_folder(settings.pretrained), dropout_rate=settings.dropout
    ).float()  # a checkpoint may be stored in half precision, which small steps are lost in
    # A T5 1.1 has an output table of its own; unless told, more rows would tie it to the input's.
    t5.config.tie_word_embeddings = t5.lm_head.weight is t5.shared.weight
    if len(tokenizer) > t5.config.vocab_size:
        t5.resize_token_embeddings(len(tokenizer))
    return P5Network(t5, scale=float(t5.shared.weight.detach().std()))


def _trained_network(path: Path, settings: P5Settings, pieces: int) -> P5Network:
    if settings.published:
        from llm_models.p5.published import load_published

        network = load_published(path, dropout=settings.dropout)
    else:
        network = load_network(path)
        network.t5.config.dropout_rate = settings.dropout
    rows = network.t5.config.vocab_size
    if pieces > rows:
        raise UsageError(
            f"the tokenizer has {pieces} pieces, the checkpoint {path} {rows} rows: it was trained with another; set "
            "`tokenizer` to that one"
        )
    return network


def save_network(network: P5Network, folder: Path) -> None:
    """Write the shape (JSON) and the weights (safetensors), a table that is used twice once."""
    from safetensors.torch import save_file

    (folder / CONFIG).write_text(json.dumps(network.description()["config"], indent=1), encoding="utf-8")
    weights = {name: weight.detach().cpu().contiguous() for name, weight in network.named_parameters()}
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})


def load_network(folder: Path) -> P5Network:
    """Read what :func:`save_network` wrote."""
    from safetensors.torch import load_file

    from llm_models.p5.network import HEAD, P5Network

    weights = load_file(folder / WEIGHTS)
    config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    network = P5Network.described({"config": config, "untied": HEAD in weights})
    network.adopt(weights)
    return network


def scratch_network(settings: P5Settings, *, rows: int = 0) -> P5Network:
    """Build a T5 of the given size with random weights; its embedding table has ``rows`` rows at the least."""
    from transformers import T5ForConditionalGeneration

    from llm_models.p5.network import P5Network, scratch_config

    config = scratch_config(settings)
    config.vocab_size = max(config.vocab_size, rows)
    return P5Network(T5ForConditionalGeneration(config))
