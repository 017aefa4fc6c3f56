"""The report on prompts as grids and as one long CSV."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from bench.report import notes, wording
from bench.report.collect import LEVEL, PERMUTATIONS, REPLICATES
from bench.report.grid import NOTHING, Block, Cell, Grid, interval, number, p_value, percent, signed
from bench.report.prompts import UNSEEN, Gap, Group, PromptTable, PromptValue, Words
from bench.runs.plan import Plan

__all__ = ["COLUMNS", "prompt_grids", "prompt_lines"]

COLUMNS = (
    "suite", "dataset", "split", "task", "quadrant", "shots", "pool", "fit", "line", "words", "prompt", "group", "of",
    "untrained_words", "prompts", "metric", "mean", "low", "high", "sd", "worst", "worst_prompt", "gap", "gap_low",
    "gap_high", "p", "p_holm", "model", "label", "coverage", "seeds", "units", "requests", "converged",
)  # fmt: skip

_WORDS: dict[Words, str] = {"all": "all", "trained": "all words trained"}

_MEANING = (
    "Every figure of unseen prompts stands twice: over all of them, and over those whose words were all trained. A "
    "model trained from scratch has no embedding for a word that it never saw: what stands in its place is still as "
    "random as before training. What such a prompt loses shows the missing word, and not how the model takes a new "
    "wording of what it knows; that is what the second way of counting shows. The tables name the words."
)
_NO_SUCH_WORDS = (
    "Untrained words: none. A model trained from scratch has no embedding for a word that it never saw, which would "
    "weigh on prompts that hold one; here every word of every prompt was trained, so one way of counting is enough."
)


def prompt_grids(plan: Plan, tables: Sequence[PromptTable]) -> list[Grid]:
    """The gaps at a glance, and for every request set and fit its prompts and their groups."""
    grids = [_overview(plan, tables)]
    for table in tables:
        heading = f"{table.title}. {wording.title(table.asked)}"
        grids += [_prompts(heading, table), _groups(heading, table)]
    return grids


def _overview(plan: Plan, tables: Sequence[PromptTable]) -> Grid:
    asked = [table.asked for table in tables]
    rows = [
        (
            Cell(wording.column(table.asked, asked)),
            Cell(table.title),
            Cell(table.primary),
            Cell(_WORDS[words]),
            *_gap(table.gaps.get(words)),
        )
        for table in tables
        for words in table.groups
    ]
    header = (
        "Asked for", "Model", "Metric", "Unseen prompts", "Seen", "Unseen", "Number", "Worst unseen", "Seen - unseen",
        f"Seen - unseen: {LEVEL:.0%}", "p (Holm)",
    )  # fmt: skip
    return Grid(
        f"{plan.suite.name}: seen and unseen prompts on {plan.split.dataset}",
        header,
        (Block("", tuple(rows)),),
        (*_notes(plan, tables), *notes.about_data(plan)),
    )


def _gap(gap: Gap | None) -> tuple[Cell, ...]:
    if gap is None:
        return tuple(Cell(NOTHING) for _ in range(7))
    return (
        Cell(number(gap.seen.mean)),
        Cell(number(gap.unseen.mean)),
        Cell(f"{gap.seen.prompts} / {gap.unseen.prompts}"),
        Cell(number(gap.unseen.worst)),
        Cell(signed(gap.found.mean)),
        Cell(interval(gap.found.low, gap.found.high, sign=True)),
        Cell(p_value(gap.p_holm)),
    )


def _notes(plan: Plan, tables: Sequence[PromptTable]) -> list[str]:
    gaps = sum(len(table.gaps) for table in tables)
    seeds = " and training seeds" if len(plan.suite.seeds) > 1 else ""
    unmet = any(one.model.prompt and one.model.prompt.untrained for table in tables for one in table.prompts)
    starved = dict.fromkeys(
        f"{one.model.title} (ended by {one.model.stopped})"
        for table in tables
        for one in table.prompts
        if not one.model.converged
    )
    silent = dict.fromkeys(name for table in tables for name in table.unserved)
    units = dict.fromkeys(f"{wording.column(one.asked, [t.asked for t in tables])}: {one.units}" for one in tables)
    return [
        "Seen: prompts that the model was trained with. Unseen: the original's held-out one, and paraphrases in other "
        "words (word), of another structure (structure) and in another register (register). Number: of seen and of "
        "unseen prompts.",
        _MEANING if unmet else _NO_SUCH_WORDS,
        "Seen - unseen: for every unit of inference the mean over the seen prompts minus the mean over the unseen "
        "ones, averaged over units. Where lower is better, prompts that do worse make it negative.",
        f"Intervals: {LEVEL:.0%}, bootstrap over the unit of inference{seeds}, {REPLICATES:,} replicates, paired. p: "
        f"paired randomisation test that flips whole units ({PERMUTATIONS:,} draws, two-sided), corrected by Holm for "
        f"the {gaps} gap{'' if gaps == 1 else 's'} of this table. Both are about other users, with these very prompts; "
        "how much prompts differ is their standard deviation (SD) below.",
        f"Units: {'; '.join(units)}.",
        *([f"Left out, for they show what this data lacks: {', '.join(silent)}."] if silent else []),
        *([f"Not converged, more training may help: {', '.join(starved)}."] if starved else []),
    ]


def _prompts(heading: str, table: PromptTable) -> Grid:
    rows = []
    for one in table.prompts:
        prompt = one.model.prompt
        assert prompt is not None
        rows.append(
            (
                Cell(prompt.id),
                Cell(prompt.group),
                Cell(prompt.of or NOTHING),
                Cell(number(one.found.mean)),
                Cell(interval(one.found.low, one.found.high)),
                Cell(percent(one.coverage)),
                Cell(", ".join(prompt.untrained) or NOTHING),
            )
        )
    metric = table.primary
    header = ("Prompt", "Group", "Varies", metric, f"{metric}: {LEVEL:.0%}", "Coverage", "Words never trained")
    return Grid(f"{heading}: prompt by prompt", header, (Block("", tuple(rows)),), ())


def _groups(heading: str, table: PromptTable) -> Grid:
    blocks = []
    for words, groups in table.groups.items():
        rows = tuple(
            (
                Cell(f"{UNSEEN}, together" if group.name == UNSEEN else group.name),
                Cell(str(group.prompts)),
                Cell(number(group.mean)),
                Cell(number(group.sd)),
                Cell(number(group.worst)),
                Cell(group.worst_prompt),
                Cell(NOTHING if group.gap is None else signed(group.gap.mean)),
                Cell(NOTHING if group.gap is None else interval(group.gap.low, group.gap.high, sign=True)),
            )
            for group in groups
        )
        heading_of_block = "" if len(table.groups) == 1 else f"prompts: {_WORDS[words]}"
        blocks.append(Block(heading_of_block, rows))
    header = (
        "Group", "Prompts", table.primary, "SD", "Worst", "Worst prompt", "Seen - group", f"Seen - group: {LEVEL:.0%}",
    )  # fmt: skip
    said = (
        f"{table.primary}: mean over prompts. SD: standard deviation over prompts. Seen - group: paired, as above, not "
        "tested.",
    )
    return Grid(f"{heading}: by group", header, tuple(blocks), said)


def prompt_lines(plan: Plan, tables: Sequence[PromptTable]) -> list[dict[str, Any]]:
    """The same in long form, every digit kept: a line a prompt, a line a group and way of counting."""
    return [line for table in tables for line in _lines(plan, table)]


def _lines(plan: Plan, table: PromptTable) -> Iterator[dict[str, Any]]:
    asked, some = table.asked, table.prompts[0].model
    same = {
        "suite": plan.suite.name,
        "dataset": plan.split.dataset,
        "split": plan.split.identity[:12],
        "task": asked.task,
        "quadrant": asked.quadrant,
        "shots": asked.shots,
        "pool": asked.pool,
        "fit": table.title,
        "metric": table.primary,
        "seeds": len(some.cells),
        "units": table.units,
        "requests": len(asked),
        "converged": some.converged,
    }
    for one in table.prompts:
        yield same | _prompt_line(one)
    for words, groups in table.groups.items():
        for group in groups:
            yield same | _group_line(words, group, table.gaps.get(words))


def _prompt_line(one: PromptValue) -> dict[str, Any]:
    prompt = one.model.prompt
    assert prompt is not None
    return {
        "line": "prompt",
        "prompt": prompt.id,
        "group": prompt.group,
        "of": prompt.of,
        "untrained_words": " ".join(prompt.untrained),
        "mean": one.found.mean,
        "low": one.found.low,
        "high": one.found.high,
        "model": one.model.name,
        "label": one.model.label,
        "coverage": one.coverage,
    }


def _group_line(words: Words, group: Group, gap: Gap | None) -> dict[str, Any]:
    line: dict[str, Any] = {
        "line": "group",
        "words": words,
        "group": group.name,
        "prompts": group.prompts,
        "mean": group.mean,
        "sd": group.sd,
        "worst": group.worst,
        "worst_prompt": group.worst_prompt,
    }
    if group.gap is not None:
        line |= {"gap": group.gap.mean, "gap_low": group.gap.low, "gap_high": group.gap.high}
    if group.name == UNSEEN and gap is not None:
        line |= {"p": gap.p, "p_holm": gap.p_holm}
    return line
