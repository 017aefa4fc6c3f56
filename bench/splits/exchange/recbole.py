"""Benchmark files that RecBole 1.2 reads as they are, for its general and its sequential models.

=================================  =========================================================================
``general/NAME/NAME.*.inter``      ``user_id``, ``item_id`` and, where the data has them, ``rating``, ``timestamp``
``sequential/NAME/NAME.*.inter``   ``user_id``, ``item_id_list`` (the items before), ``item_id``: one row for every
                                   prefix of the training sequences, since RecBole makes none of benchmark files
``.../NAME.item``                  titles and categories of the items, where the data has them
``general/config.yaml`` etc.       what RecBole must be told; run RecBole in the folder of the file
=================================  =========================================================================

RecBole 1.2.1 reads lists (``item_id_list``, titles) with pandas below 3 only; so the general configuration leaves the
item texts out.

``NAME`` is never the plain name of the data set: RecBole would read its own copy of ``ml-100k`` instead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import yaml
from numpy.typing import NDArray

from bench.data.ragged import Ragged, ranges
from bench.splits.exchange.ids import id_lists
from bench.splits.exchange.made import Made, name_of, slug_of
from bench.splits.exchange.refusals import refuse_ids
from bench.splits.split import HeldOut, Part

__all__ = ["LONGEST", "check_recbole", "write_recbole"]

LONGEST = 50
"""Items in a history, the latest; RecBole's own ``MAX_ITEM_LIST_LENGTH``. Its models break on longer lists, and it
would cut them at the wrong end."""

_NOT_A_VALUE = (
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA",
    "NULL", "NaN", "None", "n/a", "nan", "null",
)  # fmt: skip
"""What pandas, with which RecBole reads, takes for a missing value."""
_GAP = "[none]"
"""Stands where an item has no title or category: RecBole breaks on gaps where pandas does not let it fill them."""


def check_recbole(made: Made) -> None:
    """Refuse ids that RecBole would read as something else.

    Raises
    ------
    DataError
    """
    column = pl.col("id")
    wrong = column.str.contains(r'[\s\p{Cc}"]') | column.is_in(_NOT_A_VALUE) | (column == "[PAD]")
    because = "RecBole splits at spaces and tabs, drops quotes, and takes words like NA for missing values"
    refuse_ids(made, wrong, "RecBole files", because)


def write_recbole(made: Made, folder: Path) -> list[str]:
    """Write both kinds of files below ``folder``.

    Returns
    -------
    list of str
        What the format cannot carry.
    """
    lost = ["masks and candidates: RecBole ranks all items, and masks as its models and settings say"]
    for kind, write in (("general", _general), ("sequential", _sequential)):
        place = folder / kind / made.name
        place.mkdir(parents=True)
        written, said = write(made, place)
        lost += said
        items = _write_items(made, place)
        _write_config(made, folder / kind, written, items, sequential=kind == "sequential")
    lost += [
        f"the sampled candidates of {name_of(held)}: RecBole draws its own"
        for held in made.split.held_out
        if held.sampled is not None
    ]
    if not any(held.part == "valid" for held in made.split.held_out):
        lost.append("a validation part: the split has none, and RecBole's own programs want one")
    lost += [f"labelled pairs ({name_of(pairs)})" for pairs in made.split.pairs]
    if made.split.training.pairs is not None:
        lost.append("labelled pairs to learn from")
    return lost


Written = Mapping[Part, list[str]]
"""Part -> the middle words of the names of its files, the most general first."""


def _general(made: Made, place: Path) -> tuple[Written, list[str]]:
    """One file a part and quadrant: what is shown, and among which items is ranked, makes no difference."""
    _write_events(made, np.flatnonzero(made.cut.training), place / f"{made.name}.train.inter")
    names: dict[Part, list[str]] = {"valid": [], "test": []}
    done: dict[tuple[Part, str], HeldOut] = {}
    for held in made.split.held_out:
        done.setdefault((held.part, held.quadrant), held)
    for (part, quadrant), held in done.items():
        name = _name(part, quadrant, [key[1] for key in done if key[0] == part])
        names[part].append(name)
        _write_events(made, made.events_of(held), place / f"{made.name}.{name}.inter")
    cold = any(held.quadrant.startswith("cold-") for held in made.split.held_out)
    return names, ["general: histories of cold users"] if cold else []


def _name(part: Part, slug: str, slugs: Sequence[str]) -> str:
    """``test`` for the first set of a part, ``test-cold-warm`` for the others."""
    return part if slug == slugs[0] else f"{part}-{slug}"


def _write_events(made: Made, at: NDArray[np.int64], path: Path) -> None:
    events = made.cut.events
    columns: dict[str, Any] = {
        "user_id:token": made.user_ids.gather(events.user[at]),
        "item_id:token": made.item_ids.gather(events.item[at]),
    }
    if events.rating is not None:
        columns["rating:float"] = events.rating[at]
    if events.time is not None:
        columns["timestamp:float"] = events.time[at]
    _write(pl.DataFrame(columns), path)


def _write(table: pl.DataFrame, path: Path) -> None:
    table.write_csv(path, separator="\t", quote_style="never")


def _sequential(made: Made, place: Path) -> tuple[Written, list[str]]:
    """One file a part, quadrant and number of shots; rows need at least one item shown."""
    training = made.split.training
    user, before, answer = _prefixes(training.sequences, training.user)
    cut_short = int(np.count_nonzero(training.sequences.lengths > LONGEST + 1))
    _write_prefixes(made, user, before, answer, place / f"{made.name}.train.inter")
    names: dict[Part, list[str]] = {"valid": [], "test": []}
    done: dict[tuple[Part, str], HeldOut] = {}
    for held in made.split.held_out:
        done.setdefault((held.part, slug_of(held, pool=False)), held)
    lost = []
    for (part, slug), held in list(done.items()):
        empty = int(np.count_nonzero(held.history.lengths == 0))
        if empty:
            lost.append(f"sequential: {empty:,} of {len(held.user):,} requests of {name_of(held)} show nothing")
        if empty == len(held.user):
            del done[part, slug]
    for (part, slug), held in done.items():
        name = _name(part, slug, [key[1] for key in done if key[0] == part])
        names[part].append(name)
        rows = np.flatnonzero(held.history.lengths)
        shown = held.history.take(rows).last(LONGEST)
        cut_short += int(np.count_nonzero(held.history.lengths > LONGEST))
        _write_prefixes(made, held.user[rows], shown, held.item[rows], place / f"{made.name}.{name}.inter")
    if cut_short:
        lost.append(f"sequential: the items before the last {LONGEST} of {cut_short:,} longer sequences")
    return names, lost


def _prefixes(sequences: Ragged, users: NDArray[np.int32]) -> tuple[NDArray[np.int32], Ragged, NDArray[np.int32]]:
    """Every item but the first of each sequence, with at most ``LONGEST`` items before it."""
    place = np.arange(len(sequences.values)) - np.repeat(sequences.offsets[:-1], sequences.lengths)
    at = np.flatnonzero(place > 0)
    lengths = np.minimum(place[at], LONGEST)
    before = Ragged.from_lengths(lengths, sequences.values[ranges(at - lengths, lengths)])
    return users[sequences.row_of[at]], before, sequences.values[at]


def _write_prefixes(made: Made, user: NDArray[np.int32], before: Ragged, answer: NDArray[np.int32], path: Path) -> None:
    table = {
        "user_id:token": made.user_ids.gather(user),
        "item_id_list:token_seq": id_lists(before, made.item_ids).list.join(" "),
        "item_id:token": made.item_ids.gather(answer),
    }
    _write(pl.DataFrame(table), path)


def _write_items(made: Made, place: Path) -> list[str]:
    """Write the texts that at least one item has; say which columns."""
    known = made.split.items
    has = [
        name for name in ("title", "categories") if name in known.columns and known[name].null_count() < known.height
    ]
    if not has:
        return []
    tidy = pl.element().str.replace_all(r'[\s\p{Cc}"]+', "_")
    texts = {
        "title": pl.col("title").str.replace_all('"', "'").str.replace_all(r"[\s\p{Cc}]+", " ").str.strip_chars(),
        # A category is one token, however many words it has.
        "categories": pl.col("categories").list.eval(tidy).list.join(" "),
    }
    columns = [_filled(texts[name]).alias(f"{name}:token_seq") for name in has]
    table = known.select(pl.col("item_id").alias("item_id:token"), *columns)
    _write(table, place / f"{made.name}.item")
    return ["item_id", *has]


def _filled(text: pl.Expr) -> pl.Expr:
    """Make every text a value for RecBole: gaps get a word, and words it takes for gaps get brackets."""
    bracketed = pl.concat_str(pl.lit("["), text, pl.lit("]"))
    empty = text.fill_null("") == ""
    return pl.when(empty).then(pl.lit(_GAP)).when(text.is_in(_NOT_A_VALUE)).then(bracketed).otherwise(text)


def _write_config(made: Made, folder: Path, written: Written, items: list[str], *, sequential: bool) -> None:
    events = made.cut.events
    columns = ["user_id", "item_id_list", "item_id"] if sequential else ["user_id", "item_id"]
    if not sequential:
        columns += ["rating"] * (events.rating is not None) + ["timestamp"] * (events.time is not None)
    held = [name for names in (written["valid"], written["test"]) for name in names[:1]]
    config: dict[str, Any] = {
        "dataset": made.name,
        "data_path": ".",
        "benchmark_filename": ["train", *held],
        "load_col": {"inter": columns},
        "USER_ID_FIELD": "user_id",
        "ITEM_ID_FIELD": "item_id",
    }
    lines = [f"# {made.split.dataset}: {made.split.protocol}"]
    if items:
        lines.append(
            f"# For the texts of items (lists: needs pandas below 3) add to load_col: item: [{', '.join(items)}]"
        )
    if sequential:
        lines.append("# RecBole 1.2.1 reads lists with pandas below 3 only.")
        lines.append("# Without the alias, lists and items would be numbered apart, and nothing would be learned.")
        config |= {
            "alias_of_item_id": ["item_id_list"],
            "ITEM_LIST_LENGTH_FIELD": "item_length",
            "LIST_SUFFIX": "_list",
            "MAX_ITEM_LIST_LENGTH": LONGEST,
            # Cross-entropy, the default loss of most of these models, wants no negatives; RecBole's default has one.
            "train_neg_sample_args": None,
        }
    others = [f"#   {name}" for names in (written["valid"], written["test"]) for name in names[1:]]
    if others:
        lines += ["# Further sets, to be named in benchmark_filename instead:", *others]
    text = "\n".join(lines) + "\n" + yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
    (folder / "config.yaml").write_text(text, encoding="utf-8", newline="\n")
