"""SentencePiece, a word at a time: each white-space word is split on its own and keeps its number."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from pathlib import Path

from bench.errors import MissingInputError
from llm_models.indexing.ids import IdIndex

__all__ = ["WordTokenizer", "add_pieces", "load_tokenizer", "pieces", "train_tokenizer"]

PAD, END, UNKNOWN = 0, 1, 2
#: Words whose pieces are kept at hand (some 50 MiB).
KNOWN_WORDS = 200_000
#: Longer sentences are dropped by SentencePiece.
SENTENCE_BYTES = 4_000


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
        self._known = _Table(self._processor.encode)

    def __len__(self) -> int:
        return self._processor.get_piece_size()

    @cached_property
    def digest(self) -> str:
        """Hash of the model."""
        return hashlib.sha256(self.model).hexdigest()

    def word(self, word: str) -> list[int]:
        """Pieces of one word, as ids."""
        return self._known[word]

    def split(self, text: str) -> list[list[int]]:
        """Pieces of each word of a text, as ids."""
        known = self._known
        return [known[word] for word in text.split()]

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
        for number, pieces in enumerate(self.split(text), start=1):
            ids += pieces
            words += [number] * len(pieces)
        return [*ids, END], [*words, 0]

    def pieces(self, ids: Iterable[int]) -> list[str]:
        """Name the pieces."""
        return [self._processor.id_to_piece(i) for i in ids]


class _Table(dict[str, list[int]]):
    """Pieces of words; a word not met before is split, and the table begins anew where it grows too large."""

    def __init__(self, split: Callable[[str], list[int]]) -> None:
        super().__init__()
        self._split = split

    def __missing__(self, word: str) -> list[int]:
        if len(self) >= KNOWN_WORDS:
            self.clear()
        pieces = self[word] = self._split(word)
        return pieces


def pieces(index: IdIndex) -> list[str]:
    """Pieces that a tokenizer must keep whole so that a word of the index splits into its levels.

    Returns
    -------
    list of str
        As SentencePiece writes them, the mark of a new word included (``"▁a_12"``); empty for ids made of digits.
    """
    return list(index.symbols)


def train_tokenizer(
    texts: Iterable[str], *, digits: int, size: int, symbols: Sequence[str] = (), coverage: float = 1.0
) -> WordTokenizer:
    """Train a SentencePiece model in which numbers always split into groups of ``digits`` digits.

    Printable ASCII can always be spelled, so no id is unknown, and no word of a prompt that training never saw.

    Parameters
    ----------
    texts : iterable of str
        What training shows; of a long one the first 4,000 bytes are read.
    digits : int
        Every group of so many digits is a piece, alone and at the start of a word.
    size : int
        At most so many pieces, ``symbols`` not counted.
    symbols : sequence of str
        Further pieces that are never split, see :func:`pieces`.
    coverage : float
        Share of the characters of the texts that can be spelled; the rarest are unknown.
    """
    from sentencepiece import SentencePieceTrainer

    groups = [f"{n:0{digits}d}" for n in range(10**digits)]
    written = io.BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=(text.encode()[:SENTENCE_BYTES].decode(errors="ignore") for text in texts),
        model_writer=written,
        model_type="bpe",
        vocab_size=size + len(symbols),
        hard_vocab_limit=False,
        user_defined_symbols=["▁user_", *(f"▁{group}" for group in groups), *groups, *symbols],
        required_chars="".join(map(chr, range(ord("!"), ord("~") + 1))),
        character_coverage=coverage,
        normalization_rule_name="identity",
        pad_id=PAD,
        eos_id=END,
        unk_id=UNKNOWN,
        bos_id=-1,
        num_threads=1,
        minloglevel=2,
    )
    return WordTokenizer(written.getvalue())


def add_pieces(tokenizer: WordTokenizer, symbols: Sequence[str]) -> WordTokenizer:
    """Give a tokenizer further pieces, behind its own, that are never split; those it has already stay as they are."""
    known = set(tokenizer.pieces(range(len(tokenizer))))
    # Repeated fields of a protocol buffer may be appended to its bytes, so no library for them is needed.
    added = b"".join(_piece(symbol) for symbol in dict.fromkeys(symbols) if symbol not in known)
    return WordTokenizer(tokenizer.model + added)


def _piece(symbol: str) -> bytes:
    """A user-defined piece with score 0, as a field of SentencePiece's ModelProto."""
    text = symbol.encode()
    body = b"\x0a" + _varint(len(text)) + text + b"\x15\x00\x00\x00\x00" + b"\x18\x04"
    return b"\x0a" + _varint(len(body)) + body


def _varint(number: int) -> bytes:
    groups = []
    while number > 0x7F:
        groups.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*groups, number])


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
