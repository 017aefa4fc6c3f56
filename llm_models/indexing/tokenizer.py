"""SentencePiece, a word at a time: each white-space word is split on its own and keeps its number."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

from bench.errors import MissingInputError

__all__ = ["WordTokenizer", "load_tokenizer", "train_tokenizer"]

PAD, END, UNKNOWN = 0, 1, 2


class WordTokenizer:
    """Text to pieces and whole-word ids.

    SentencePiece never joins pieces across white space, so splitting word by word gives what splitting the text
    gives; words repeat so often that a table of them makes it fast.

    Parameters
    ----------
    model : bytes
        A SentencePiece model with the special pieces where T5 has them (pad 0, end 1, unknown 2).
    """

    def __init__(self, model: bytes) -> None:
        from sentencepiece import SentencePieceProcessor

        self.model = model
        self._processor = SentencePieceProcessor(model_proto=model)
        self._known: dict[str, list[int]] = {}

    def __len__(self) -> int:
        return self._processor.get_piece_size()

    @cached_property
    def digest(self) -> str:
        """Hash of the model."""
        return hashlib.sha256(self.model).hexdigest()

    def word(self, word: str) -> list[int]:
        """Pieces of one word, as ids."""
        pieces = self._known.get(word)
        if pieces is None:
            pieces = self._known[word] = self._processor.encode(word)
        return pieces

    def encode(self, text: str) -> tuple[list[int], list[int]]:
        """Split a text.

        Returns
        -------
        ids : list of int
            Pieces, then the end mark.
        words : list of int
            For each piece the number of its word, from 1; 0 for the end mark.
        """
        ids: list[int] = []
        words: list[int] = []
        for number, word in enumerate(text.split(), start=1):
            pieces = self.word(word)
            ids += pieces
            words += [number] * len(pieces)
        return [*ids, END], [*words, 0]

    def pieces(self, ids: Iterable[int]) -> list[str]:
        """Name the pieces."""
        return [self._processor.id_to_piece(i) for i in ids]


def train_tokenizer(texts: Iterable[str], *, digits: int, size: int) -> WordTokenizer:
    """Train a SentencePiece model in which numbers always split into groups of ``digits`` digits.

    Parameters
    ----------
    texts : iterable of str
        What training shows.
    digits : int
        Every group of so many digits is a piece, alone and at the start of a word.
    size : int
        At most so many pieces.
    """
    from sentencepiece import SentencePieceTrainer

    groups = [f"{n:0{digits}d}" for n in range(10**digits)]
    written = io.BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter(texts),
        model_writer=written,
        model_type="bpe",
        vocab_size=size,
        hard_vocab_limit=False,
        user_defined_symbols=["▁user_", *(f"▁{group}" for group in groups), *groups],
        required_chars="abcdefghijklmnopqrstuvwxyz0123456789",
        character_coverage=1.0,
        normalization_rule_name="identity",
        pad_id=PAD,
        eos_id=END,
        unk_id=UNKNOWN,
        bos_id=-1,
        num_threads=1,
        minloglevel=2,
    )
    return WordTokenizer(written.getvalue())


def load_tokenizer(where: str) -> WordTokenizer:
    """Read a SentencePiece model from a file, a folder with ``spiece.model``, or the Hugging Face hub (by name).

    Raises
    ------
    MissingInputError
        When it is neither here nor to be had.
    """
    path = Path(where).expanduser()
    if path.is_dir():
        path /= "spiece.model"
    if not path.is_file():
        path = _from_hub(where)
    return WordTokenizer(path.read_bytes())


def _from_hub(name: str) -> Path:
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(name, "spiece.model"))
    except (OSError, ValueError) as error:
        cache = os.environ.get("HF_HOME", "~/.cache/huggingface")
        raise MissingInputError(
            f"no SentencePiece model at {name!r}: it is no file, no folder with spiece.model, and the Hugging Face hub "
            f"did not give it (cache: {cache}; {type(error).__name__}). Set `tokenizer` to a folder that holds "
            "spiece.model, or leave it empty to train one."
        ) from error
