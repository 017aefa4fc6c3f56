"""Tuning a suite: every model gets the same budget, and what it found is frozen to a lock file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from filelock import FileLock, Timeout

from bench.errors import UsageError
from bench.models import model_class
from bench.models.presets import Preset, load_preset
from bench.runs.lock import Lock, LockedEntry, read_lock, write_lock
from bench.runs.plan import Plan, library_versions, make_plan
from bench.runs.provenance import environment
from bench.runs.run import folder_name
from bench.runs.store import Store
from bench.runs.suite import ModelEntry, Suite, load_suite
from bench.tune.budget import TuningBudget
from bench.tune.entry import EntryTuning
from bench.tune.outcome import Listener, Skipped, TunedModel, TuneOutcome

__all__ = ["LOCK", "tune", "tuning_folder"]

LOCK = "tuned.lock.yaml"


def tuning_folder(suite: Suite, results: Path, device: str = "cpu") -> Path:
    """Where journals and lock file of a suite are: one place whichever of its models are tuned."""
    try:
        usual = load_suite(suite.name).narrowed(dataset=suite.dataset)
        shared = {"models": usual.models, "seeds": usual.seeds}
    except UsageError:
        shared = {"models": (ModelEntry(name="any", model="any"),), "seeds": (0,)}
    return results / "tuning" / folder_name(suite.model_copy(update=shared), device)


def tune(
    suite: Suite,
    results: Path,
    budget: TuningBudget,
    *,
    seed: int = 0,
    device: str = "cpu",
    spaces: Mapping[str, Path] | None = None,
    listener: Listener | None = None,
) -> TuneOutcome:
    """Tune every entry of ``suite`` within the same budget, and write the lock file.

    A trial fits on the training part with the entry's training budget and the suite's first seed, and is worth what
    the suite's validation says of its best checkpoint. The entry's own settings are always the first trial; what the
    suite sets is kept. The same call goes on where an earlier one was cut off.

    Parameters
    ----------
    results : Path
        The folder of tables; journals and lock file go below its ``tuning/``.
    seed : int
        Of the search.
    spaces : mapping of str to Path, optional
        Settings files to use instead of the shipped ones, by entry.

    Raises
    ------
    UsageError
        For a settings file that is wrong, or when another process tunes in the same folder.
    """
    folder = tuning_folder(suite, results, device)
    folder.mkdir(parents=True, exist_ok=True)
    presets = {entry.name: load_preset(entry.model, (spaces or {}).get(entry.name)) for entry in suite.models}
    lock = FileLock(folder / ".busy")
    try:
        with lock.acquire(timeout=0):
            return _tune(suite, folder, budget, presets, seed, device, listener)
    except Timeout:
        raise UsageError(f"another bench tune is at work in {folder}: wait for it, or stop it") from None


def _tune(
    suite: Suite,
    folder: Path,
    budget: TuningBudget,
    presets: Mapping[str, Preset],
    seed: int,
    device: str,
    listener: Listener | None,
) -> TuneOutcome:
    # What only asks is not looked for: validation asks with the defaults, so that entries that share a fit are alike.
    fitted = tuple(entry.fitting() for entry in suite.models)
    suite, path = suite.model_copy(update={"seeds": suite.seeds[:1], "models": fitted}), folder / LOCK
    earlier = read_lock(path) if path.is_file() else None
    plan = make_plan(suite, Store(folder), device=device)
    preload = sorted({module for entry in suite.models for module in model_class(entry.model).preload})
    tuned, skipped = dict[str, TunedModel](), dict[str, Skipped]()
    searched: list[tuple[EntryTuning, TunedModel | Skipped]] = []
    for cell in plan.cells:
        work = EntryTuning(plan, cell, presets[cell.entry.name], folder, budget, seed, preload, listener)
        twin = next((its for one, its in searched if one.cell.spec == cell.spec and one.space == work.space), None)
        found = twin or work.skipped() or work.run()
        searched.append((work, found))
        if isinstance(found, Skipped):
            skipped[cell.entry.name] = found
        else:
            tuned[cell.entry.name] = found
    if not tuned:
        return TuneOutcome(budget, tuned, skipped, None)
    dropped: tuple[str, ...] = ()
    entries = {name: model.locked for name, model in tuned.items()}
    lock = _lock(plan, budget, seed, entries)
    if earlier is not None:
        if earlier.shares_all_but_entries(lock):
            lock = lock.model_copy(update={"entries": {**earlier.entries, **entries}})
        else:
            dropped = tuple(name for name in earlier.entries if name not in entries)
    write_lock(path, lock)
    return TuneOutcome(budget, tuned, skipped, path, dropped)


def _lock(plan: Plan, budget: TuningBudget, seed: int, entries: dict[str, LockedEntry]) -> Lock:
    found = environment()
    return Lock(
        suite=plan.suite.name,
        dataset=plan.split.dataset,
        protocol=plan.split.protocol,
        split=plan.split.identity,
        budget=str(budget),
        seed=seed,
        device=plan.device,
        machine=f"{found['processor']}, {found['cores']} cores",
        versions={"python": found["python"], **library_versions(["llm-rec-bench", "optuna"])},
        entries=entries,
    )
