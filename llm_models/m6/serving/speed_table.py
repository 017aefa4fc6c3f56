"""The table of late interaction: what each L' costs, beside the references, and its AUC where a store has it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from bench.errors import UsageError

if TYPE_CHECKING:
    from llm_models.m6.serving.timing import Contender, Taken

__all__ = ["auc", "rendered", "summary"]


def summary(
    contenders: Sequence[Contender], taken: Sequence[Taken], held: Mapping[str, Mapping[str, float]], reference: str
) -> pl.DataFrame:
    """One row a contender.

    Parameters
    ----------
    held : mapping of mapping
        Contender -> bytes kept, see :func:`llm_models.m6.serving.timing.memory`.
    reference : str
        The contender whose time is divided by that of each, round by round.

    Returns
    -------
    polars.DataFrame
        ``name``, ``scheme``, ``late``, ``layers``, ``reading``; for each quantity ``<quantity>_cpu_s`` and
        ``<quantity>_wall_s`` (median of the rounds); ``times``, ``times_low``, ``times_high`` (how many times as many
        candidates a second as the reference, by computing time: median, least, most), ``request_times...`` likewise
        with the user read in the request; and the bytes.
    """
    frame = pl.DataFrame(list(taken), orient="row", schema=["contender", "quantity", "round", "wall_s", "cpu_s"])
    rows = []
    for one in contenders:
        row: dict[str, Any] = {"name": one.name, "scheme": one.scheme, "late": one.late, "layers": one.layers}
        row |= {"reading": one.reading, **held[one.name]}
        mine = frame.filter(pl.col("contender") == one.name)
        for quantity in mine["quantity"].unique(maintain_order=True):
            part = mine.filter(pl.col("quantity") == quantity)
            row |= {f"{quantity}_cpu_s": part["cpu_s"].median(), f"{quantity}_wall_s": part["wall_s"].median()}
            base = frame.filter((pl.col("contender") == reference) & (pl.col("quantity") == quantity))
            prefix = {"candidate": "times", "request": "request_times"}.get(quantity)
            if prefix and len(base):
                ratio = base.join(part, on="round")
                times = ratio["cpu_s"] / ratio["cpu_s_right"]
                row |= {prefix: times.median(), f"{prefix}_low": times.min(), f"{prefix}_high": times.max()}
        rows.append(row)
    return pl.DataFrame(rows, infer_schema_length=None)


def auc(names: Sequence[str], reference: str, store: Path, dataset: str, on: str | None = None) -> pl.DataFrame:
    """AUC of stored suite entries, and what each loses against one of them.

    Parameters
    ----------
    names : sequence of str
        Of entries; those that are not stored are left out.
    reference : str
        Name of an entry.
    on : str or None
        Request set; ``None``: the test set with most requests.

    Returns
    -------
    polars.DataFrame
        ``name``, ``set``, ``requests``, ``auc``, ``auc_low``, ``auc_high``, ``difference``, ``difference_low``,
        ``difference_high`` (95% intervals, paired, users resampled), ``seeds``.

    Raises
    ------
    UsageError
        When the reference, or the set, is not in the store.
    """
    import bench

    found = pl.DataFrame(bench.load_results(store, metrics=["AUC"]).to_dict("list"))
    found = found.filter((pl.col("dataset") == dataset) & (pl.col("part") == "test") & pl.col("model").is_in(names))
    mine = found.filter(pl.col("model") == reference).sort("requests", "set")
    if on is None:
        on = mine["set"][-1] if len(mine) else ""
    if on not in mine["set"]:
        raise UsageError(
            f"{store} has no AUC of {reference} on {dataset}, test set {on or 'of any kind'}: "
            f"run `bench run --suite m6-late --dataset {dataset}` first, or name a stored set"
        )
    rows = []
    for name in names:
        if name not in found.filter(pl.col("set") == on)["model"]:
            continue
        result = bench.compare(name, reference, metric="AUC", dataset=dataset, store=store, on=on)
        rows.append(
            {
                "name": name,
                "set": on,
                "requests": mine.filter(pl.col("set") == on)["requests"][0],
                **{"auc": result.mean, "auc_low": result.low, "auc_high": result.high},
                "difference": result.difference,
                "difference_low": result.diff_low,
                "difference_high": result.diff_high,
                "seeds": result.seeds,
            }
        )
    return pl.DataFrame(rows)


def rendered(table: pl.DataFrame, notes: Sequence[str]) -> str:
    """The table as Markdown, notes below."""
    from tabulate import tabulate

    rows = [_row(row) for row in table.to_dicts()]
    filled = [name for name in rows[0] if any(row[name] for row in rows)]
    text = tabulate(
        [[row[name] for name in filled] for row in rows],
        headers=filled,
        tablefmt="pipe",
        disable_numparse=True,
        colalign=["left", *["right"] * (len(filled) - 1)],
    )
    return "\n".join(["# Late interaction: speed and quality", "", text, "", *(f"- {note}" for note in notes), ""])


def _row(row: Mapping[str, Any]) -> dict[str, str]:
    def rate(name: str) -> str:
        seconds = row.get(name)
        return "" if seconds is None else f"{1 / seconds:,.0f}"

    def times(name: str) -> str:
        if row.get(name) is None:
            return ""
        return f"{row[name]:.2f} [{row[f'{name}_low']:.2f}, {row[f'{name}_high']:.2f}]"

    def spent(name: str) -> str:
        return "" if row.get(name) is None else f"{1e3 * row[name]:.2f}"

    def kib(name: str) -> str:
        return f"{row[name] / 1024:.1f}" if row.get(name) else ""

    def quality(name: str, sign: str) -> str:
        if row.get(name) is None:
            return ""
        return f"{row[name]:{sign}.4f} [{row[f'{name}_low']:{sign}.4f}, {row[f'{name}_high']:{sign}.4f}]"

    return {
        "Scheme": row["name"],
        "L'": str(row["late"]) if row["late"] else "",
        "Late layers": str(row["layers"] - row["late"]),
        "Read the user": ("[EOS]" if row["reading"] == "end" else "all tokens") if row["late"] else "",
        "Candidates/s": rate("candidate_cpu_s"),
        "x cached user": times("times"),
        "Candidates/s, new user": rate("request_cpu_s"),
        "x cached user, new user": times("request_times"),
        "New click, ms": spent("click_cpu_s"),
        "Cold candidate, ms": spent("cold_cpu_s"),
        "Segment, KiB": kib("segment_bytes"),
        "Ready candidate, KiB": kib("ready_bytes"),
        "User, KiB": kib("user_bytes"),
        "AUC": quality("auc", ""),
        "Difference": quality("difference", "+"),
    }
