"""What P5 stands on: tokenizer, checkpoint, and the network made from them."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import MissingInputError, UsageError
from llm_models.indexing import IdIndex, WordTokenizer, load_tokenizer, train_tokenizer
from llm_models.p5.settings import P5Settings
from llm_models.prompts import PromptCollection

if TYPE_CHECKING:
    from llm_models.p5.network import P5Network

__all__ = ["brought_along", "make_network", "make_tokenizer", "scratch_network", "tokenizer_source"]

#: Users whose prompts a tokenizer is trained on (it learns the words of the templates; ids split by rule).
TOKENIZER_USERS = 100


def tokenizer_source(settings: P5Settings) -> str | None:
    """Where the tokenizer comes from; ``None`` when it is trained."""
    return settings.tokenizer or settings.pretrained


def brought_along(settings: P5Settings) -> dict[str, str]:
    """Digests of the tokenizer and the checkpoint that the settings name.

    Raises
    ------
    MissingInputError
        When one of them is not to be had.
    """
    digests = {}
    if source := tokenizer_source(settings):
        digests["tokenizer"] = load_tokenizer(source).digest
    if settings.pretrained:
        digests["checkpoint"] = _file_digest(checkpoint_folder(settings.pretrained) / "model.safetensors")
    return digests


def checkpoint_folder(name: str) -> Path:
    """Find a T5 checkpoint: a folder, or a name on the Hugging Face hub (downloaded once, then read from its cache).

    Raises
    ------
    MissingInputError
        When there is none.
    """
    folder = Path(name).expanduser()
    wanted = ("config.json", "model.safetensors")
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


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def make_tokenizer(settings: P5Settings, prompts: PromptCollection, users: IdIndex, items: IdIndex) -> WordTokenizer:
    """Load the tokenizer the settings name, or train one on the prompts of training users."""
    if source := tokenizer_source(settings):
        return load_tokenizer(source)
    shown = " ".join(items.word[:1])
    texts = (
        template.render(user=user, history=shown)
        for user in users.word[:TOKENIZER_USERS]
        for family in prompts.seen.values()
        for template in family
    )
    return train_tokenizer(texts, digits=settings.digits, size=settings.vocabulary)


def make_network(settings: P5Settings, tokenizer: WordTokenizer) -> P5Network:
    """Build the network, from scratch or from the checkpoint; the embedding table covers the tokenizer.

    Raises
    ------
    UsageError
        When a tokenizer has more pieces than a T5 from scratch has rows for.
    """
    if settings.pretrained is None:
        if len(tokenizer) > settings.vocabulary:
            raise UsageError(f"the tokenizer has {len(tokenizer)} pieces, a T5 from scratch {settings.vocabulary} rows")
        return scratch_network(settings)
    from transformers import T5ForConditionalGeneration

    from llm_models.p5.network import P5Network

    t5 = T5ForConditionalGeneration.from_pretrained(
        checkpoint_folder(settings.pretrained), dropout_rate=settings.dropout
    )
    if len(tokenizer) > t5.config.vocab_size:
        t5.resize_token_embeddings(len(tokenizer))
    return P5Network(t5, scale=float(t5.shared.weight.detach().std()))


def scratch_network(settings: P5Settings) -> P5Network:
    """Build a T5 of the given size with random weights."""
    from transformers import T5ForConditionalGeneration

    from llm_models.p5.network import P5Network, scratch_config

    return P5Network(T5ForConditionalGeneration(scratch_config(settings)))
