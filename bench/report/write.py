"""Writing a suite's report: tables, figure, costs, and the manifest that says what made them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

import yaml

from bench.report.manifest import MANIFEST, Failures, command, make_manifest, reasons
from bench.runs.plan import Plan
from bench.runs.store import Store

__all__ = ["ReportFiles", "write_report"]


@dataclass(frozen=True)
class ReportFiles:
    """Where the parts of a report are.

    Those named ``paper`` exist where something comparable is published, those named ``prompts`` where one fit was asked
    with several prompts.
    """

    table_md: Path
    table_tex: Path
    table_csv: Path
    costs_md: Path
    costs_csv: Path
    figure_svg: Path
    figure_png: Path
    suite_yaml: Path
    paper_md: Path
    paper_tex: Path
    paper_csv: Path
    prompts_md: Path
    prompts_csv: Path
    manifest: Path

    @classmethod
    def below(cls, folder: Path) -> ReportFiles:
        """The usual names."""
        parts = {field.name: folder / field.name.replace("_", ".") for field in fields(cls) if field.name != "manifest"}
        return cls(**parts, manifest=folder / MANIFEST)

    @property
    def described(self) -> list[Path]:
        """All but the manifest, and of what need not be there what is."""
        paths = [getattr(self, field.name) for field in fields(self) if field.name != "manifest"]
        return [path for path in paths if path not in (*self.paper, *self.prompts) or path.is_file()]

    @property
    def paper(self) -> tuple[Path, Path, Path]:
        """Published figures beside those of this run."""
        return self.paper_md, self.paper_tex, self.paper_csv

    @property
    def prompts(self) -> tuple[Path, Path]:
        """Prompts that were seen in training beside others."""
        return self.prompts_md, self.prompts_csv


def write_report(
    plan: Plan,
    store: Store,
    folder: Path,
    *,
    failed: Failures | None = None,
    missing: Mapping[str, str] | None = None,
) -> ReportFiles:
    """Write the report of a suite into ``folder``; equal stores give equal bytes.

    Parameters
    ----------
    failed : mapping of str to str or Path
        Cell name (as in ``bench.runs.Outcome``) -> the reason, or the folder that a failure left.
    missing : mapping of str to str
        Cell name -> what the model lacks; what the plan knows need not be repeated.
    """
    # Statistics and figures are slow to import, and a report that is current needs neither.
    from bench.report import audit, costs, layout, notes, paper, prompt_pages, prompts
    from bench.report.collect import collect, stored_models
    from bench.report.figure import draw
    from bench.report.latex import itemized, latex
    from bench.report.long_form import long_form, write_csv
    from bench.report.markdown import bullets, markdown

    why, missing = reasons(failed or {}), missing or {}
    files = ReportFiles.below(folder)
    folder.mkdir(parents=True, exist_ok=True)

    tables = collect(plan, store)
    absent = notes.absences(plan, stored_models(plan, store), why, missing)
    main = layout.main_tables(plan, tables, absent)
    details = [layout.detail(plan, table, absent) for table in tables if table.rows]
    parts = [markdown(grid, level=1 if not place else 2) for place, grid in enumerate(main)]
    published = paper.paper_grids(plan, tables, command=command(plan, folder))
    links = f"Costs: [{files.costs_md.name}]({files.costs_md.name})."
    worded = prompts.prompt_tables(plan, store)
    if published:
        links += f" Beside published figures: [{files.paper_md.name}]({files.paper_md.name})."
    if worded:
        links += f" Seen and unseen prompts: [{files.prompts_md.name}]({files.prompts_md.name})."
    written = []
    if audit.has_text_ids(plan, store):
        audit.write_audit(plan, store, folder)
        written.append(folder / audit.AUDIT)
        links += f" Leak audit: [{audit.AUDIT}]({audit.AUDIT})."
    parts.append(f"![{main[0].title}]({files.figure_svg.name})\n\n{links}\n")
    parts += [markdown(grid) for grid in details]
    spent = costs.cost_lines(plan, store)

    _write(files.table_md, "\n".join(parts))
    _write(files.table_tex, latex([*main, *details], label=plan.suite.name))
    _write(files.table_csv, long_form(plan, tables))
    if published:
        page = [markdown(grid, level=min(place, 2)) for place, grid in enumerate(published, 1)]
        floats = latex(published, label=f"{plan.suite.name}-paper")
        said = paper.source_notes(plan, tables)
        _write(files.paper_md, "\n".join([*page, f"## Sources\n\n{bullets(said)}"]))
        _write(files.paper_tex, "\n".join([floats, itemized("Sources", said)]))
        _write(files.paper_csv, write_csv(paper.COLUMNS, paper.paper_lines(plan, tables)))
    else:
        for path in files.paper:
            path.unlink(missing_ok=True)
    if worded:
        page = [
            markdown(grid, level=min(place, 2)) for place, grid in enumerate(prompt_pages.prompt_grids(plan, worded), 1)
        ]
        _write(files.prompts_md, "\n".join(page))
        _write(files.prompts_csv, write_csv(prompt_pages.COLUMNS, prompt_pages.prompt_lines(plan, worded)))
    else:
        for path in files.prompts:
            path.unlink(missing_ok=True)
    _write(files.costs_md, markdown(costs.cost_grid(plan, spent), level=1))
    _write(files.costs_csv, write_csv(costs.COLUMNS, spent))
    _write(files.suite_yaml, yaml.safe_dump(plan.suite.model_dump(mode="json"), sort_keys=False, allow_unicode=True))
    draw(plan, tables, svg=files.figure_svg, png=files.figure_png)
    described = make_manifest(plan, store, folder, [*files.described, *written], failed=why, missing=missing)
    _write(files.manifest, json.dumps(described, indent=2, ensure_ascii=False) + "\n")
    return files


def _write(path: Path, text: str) -> None:
    """Write whole or not at all."""
    temporary = path.with_name(f".{path.name}-{os.getpid()}")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
