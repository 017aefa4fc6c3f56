"""An index: the words that stand for items or users in a text, both ways, as a versioned artefact."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from bench.data.hashing import canonical_json
from bench.errors import DataError, UsageError
from llm_models.indexing.newcomers import Newcomers, read_newcomers

__all__ = ["IdIndex", "random_ids"]

FORMAT = 1


@dataclass(frozen=True, eq=False)
class IdIndex:
    """The words that stand for codes, both ways.

    Attributes
    ----------
    code : ndarray of int32, shape (entries,)
        Item or user codes, strictly increasing.
    word : tuple of str
        The word of each code; distinct, without white space.
    kind : str
        How the words were found: ``"random"``, ``"sequential"``...
    symbols : tuple of str
        Pieces that the words are made of and that a tokenizer must keep whole; none where words are digits.
    collisions : int
        Entries whose codes alone, before the last number, are those of another entry too.
    notes : mapping
        What came of making it (seconds, codes used...), JSON-serialisable; no part of the digest.
    newcomers : Newcomers or None
        What gives words to items met after training.
    """

    code: NDArray[np.int32]
    word: tuple[str, ...]
    kind: str = "random"
    symbols: tuple[str, ...] = ()
    collisions: int = 0
    notes: Mapping[str, Any] = field(default_factory=dict)
    newcomers: Newcomers | None = None

    def rows(self, codes: NDArray[np.integer]) -> NDArray[np.int64]:
        """Position of each code in the index; -1 where it is not there."""
        if not len(self.code):
            return np.full(len(codes), -1)
        at = np.minimum(np.searchsorted(self.code, codes), len(self.code) - 1)
        return np.where(self.code[at] == codes, at, -1)

    @cached_property
    def code_of(self) -> dict[str, int]:
        """Decode table: the code a word stands for."""
        return dict(zip(self.word, self.code.tolist(), strict=True))

    @cached_property
    def digest(self) -> str:
        """Hash of the decode table and of what gives words to newcomers."""
        table = json.dumps({"format": FORMAT, "codes": self.code_of}, indent=0)
        sha = hashlib.sha256(table.encode())
        if self.newcomers is not None:
            settings, arrays = self.newcomers.state()
            sha.update(canonical_json([self.newcomers.name, settings]))
            for name, array in sorted(arrays.items()):
                sha.update(canonical_json([name, array.dtype.str, array.shape]))
                sha.update(np.ascontiguousarray(array).tobytes())
        return sha.hexdigest()

    @property
    def can_extend(self) -> bool:
        """Whether items met after training can be given words."""
        return self.newcomers is not None

    def extend(self, texts: pl.DataFrame) -> IdIndex:
        """Give words to the items that have none yet; those of the others stay.

        Parameters
        ----------
        texts : polars.DataFrame
            Items met after training, columns as in ``Catalogue.text``; items of the index may be among them.

        Returns
        -------
        IdIndex
            The words of newcomers depend on their ids (and, where words come from texts, on those), not on the order
            of the rows.

        Raises
        ------
        UsageError
            When ids of this kind can be given to training items alone (see ``can_extend``), or no word is left.
        """
        if self.newcomers is None:
            raise UsageError(
                f"{self.kind} ids are given to training items alone: an item met later has none. Use semantic ids "
                "(from its text) or sequential ones (at a random place), or let a prompt show its title."
            )
        new = texts.filter(pl.Series(self.rows(texts["item"].to_numpy()) < 0)).unique("item").sort("item_id")
        if new.is_empty():
            return self
        words = self.newcomers.words(new, frozenset(self.word))
        code = np.concatenate([self.code, new["item"].to_numpy().astype(np.int32)])
        order = np.argsort(code)
        every = (*self.word, *words)
        return replace(self, code=code[order], word=tuple(every[at] for at in order.tolist()))

    def save(self, path: Path) -> None:
        """Write the index as JSON: format version, decode table, kind; arrays as ``.npz`` beside it."""
        content: dict[str, Any] = {
            "format": FORMAT,
            "kind": self.kind,
            "collisions": self.collisions,
            "symbols": list(self.symbols),
            "notes": dict(self.notes),
            "codes": self.code_of,
        }
        if self.newcomers is not None:
            settings, arrays = self.newcomers.state()
            content["newcomers"] = {"name": self.newcomers.name, "settings": settings, "arrays": sorted(arrays)}
            if arrays:
                np.savez(path.with_suffix(".npz"), allow_pickle=False, **arrays)
        path.write_text(json.dumps(content, indent=0), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> IdIndex:
        """Read an index written by :meth:`save`.

        Raises
        ------
        DataError
            When it is of another format, or its arrays are not beside it.
        """
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] != FORMAT:
            raise DataError(f"{path}: index format {content['format']}, this version reads {FORMAT}; fit again")
        newcomers, said = None, content.get("newcomers")
        if said is not None:
            newcomers = read_newcomers(said["name"], said["settings"], _arrays(path, said["arrays"]))
        return cls(
            np.array(list(content["codes"].values()), np.int32),
            tuple(content["codes"]),
            kind=content.get("kind", "random"),
            symbols=tuple(content.get("symbols", ())),
            collisions=content.get("collisions", 0),
            notes=content.get("notes", {}),
            newcomers=newcomers,
        )


def _arrays(path: Path, names: list[str]) -> dict[str, NDArray[Any]]:
    if not names:
        return {}
    beside = path.with_suffix(".npz")
    if not beside.is_file():
        raise DataError(f"{path}: its arrays, {beside.name}, are not beside it; copy both files, or fit again")
    with np.load(beside, allow_pickle=False) as stored:
        lacking = sorted(set(names) - set(stored.files))
        if lacking:
            raise DataError(f"{beside}: holds no array {lacking[0]!r}; fit again")
        return {name: stored[name] for name in names}


def random_ids(code: NDArray[np.integer], *, seed: int, digits: int, prefix: str = "") -> IdIndex:
    """Give every code a random number of fixed width.

    The numbers are spread evenly over all that the width can write, in groups of ``digits`` digits, so that the tree of
    groups is balanced and each group is shared by as few codes as possible. Two groups are the least: ids are
    composed, not looked up.

    Parameters
    ----------
    code : ndarray of int, shape (entries,)
        Distinct codes; their order does not matter.
    seed : int
        The ids depend on the set of codes and on this, on nothing else.
    digits : int
        Digits to a group (to a piece of the tokenizer).
    prefix : str
        Put before each number (``"user_"``).
    """
    ordered = np.unique(np.asarray(code, np.int32))
    groups = 2
    while 10 ** (digits * groups) < len(ordered):
        groups += 1
    rank = np.random.default_rng([seed, len(ordered)]).permutation(len(ordered))
    number = rank * 10 ** (digits * groups) // max(len(ordered), 1)
    return IdIndex(ordered, tuple(f"{prefix}{n:0{digits * groups}d}" for n in number.tolist()))
