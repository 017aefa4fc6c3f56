"""The search of one model: what to try next, and the journal of what has been tried."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.errors import MissingInputError
from bench.models.presets import Dimension, Value

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.study import Study
    from optuna.trial import FrozenTrial, Trial

__all__ = ["Proposal", "Search", "Tried"]


@dataclass(frozen=True)
class Proposal:
    """Settings to try; ``trial`` is ``None`` for the entry's own, which come first."""

    settings: Mapping[str, Value]
    trial: Trial | None


@dataclass(frozen=True)
class Tried:
    """A trial that has ended.

    Attributes
    ----------
    settings : mapping
        Of the settings that are searched.
    value : float or None
        Validation number, higher is better; ``None`` when the trial failed.
    seconds : float
        Fitting and validating; 0 for a repeat.
    reason : str
        Of a failure.
    repeat : bool
        Whether the settings had been tried before, so that the outcome was copied.
    """

    settings: Mapping[str, Value]
    value: float | None
    seconds: float = 0.0
    reason: str = ""
    repeat: bool = False


class Search:
    """Optuna's tree-structured Parzen estimator over a journal file.

    Each proposal is drawn by a generator of its own, seeded by ``seed`` and the number of trials that have ended: a
    search that was cut off goes on as if it had not been, and a trial that was cut off is proposed again.

    Parameters
    ----------
    journal : Path
        May hold other searches, under other names.
    name : str
        Says what is searched and on what: under the same name, the search goes on.
    space : mapping of str to Dimension
    start : mapping
        The entry's own value of each setting that is searched, inside its range or not.
    seed : int
    """

    def __init__(
        self, journal: Path, name: str, space: Mapping[str, Dimension], start: Mapping[str, Value], seed: int
    ) -> None:
        self._space, self._start, self._seed = space, start, seed
        self._study = _open(journal, name)
        for trial in self._study.get_trials(deepcopy=False):
            if not trial.state.is_finished():  # whoever ran it was killed
                self._study.tell(trial.number, state=_states().FAIL)

    def tried(self) -> list[Tried]:
        """All trials that have ended, in order; those that were cut off have not."""
        return [Tried(**trial.user_attrs["tried"]) for trial in self._ended()]

    def _ended(self) -> list[FrozenTrial]:
        return [trial for trial in self._study.get_trials(deepcopy=False) if "tried" in trial.user_attrs]

    def propose(self) -> Proposal:
        """What to try next."""
        from optuna.samplers import TPESampler

        ended = len(self._ended())
        if ended == 0:
            return Proposal(self._active(self._start), None)
        seed = int(np.random.SeedSequence([self._seed, ended]).generate_state(1)[0])
        self._study.sampler = TPESampler(seed=seed)
        trial, values = self._study.ask(), dict(self._start)
        for name, dimension in self._space.items():
            if self._matters(dimension, values):
                values[name] = _suggest(trial, name, dimension)
        return Proposal(self._active(values), trial)

    def record(self, proposal: Proposal, outcome: Tried) -> None:
        """Write down how a proposal ended."""
        from optuna.trial import create_trial

        state = _states().FAIL if outcome.value is None else _states().COMPLETE
        if proposal.trial is not None:
            proposal.trial.set_user_attr("tried", vars(outcome))
            self._study.tell(proposal.trial, outcome.value, state=state)
            return
        # The start is no draw, and may lie outside the ranges: the sampler learns from what lies inside.
        inside = {name: value for name, value in proposal.settings.items() if self._space[name].holds(value)}
        self._study.add_trial(
            create_trial(
                state=state,
                value=outcome.value,
                params=inside,
                distributions={name: _distribution(self._space[name]) for name in inside},
                user_attrs={"tried": vars(outcome)},
            )
        )

    def _active(self, values: Mapping[str, Value]) -> dict[str, Value]:
        return {name: values[name] for name, dimension in self._space.items() if self._matters(dimension, values)}

    @staticmethod
    def _matters(dimension: Dimension, values: Mapping[str, Value]) -> bool:
        # What is not searched has been looked at when the space was made.
        return all(values[other] in allowed for other, allowed in dimension.when.items() if other in values)


def _open(journal: Path, name: str) -> Study:
    try:
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend
    except ImportError as error:
        raise MissingInputError(
            "bench tune needs Optuna, which is not installed: pip install 'llm-rec-bench[tune]'"
        ) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    _mend(journal)
    return optuna.create_study(
        storage=JournalStorage(JournalFileBackend(str(journal))),
        study_name=name,
        direction="maximize",
        load_if_exists=True,
    )


def _mend(journal: Path) -> None:
    """Remove what a killed process left: half a line, and the journal's lock (the caller holds the whole folder's)."""
    journal.with_name(f"{journal.name}.lock").unlink(missing_ok=True)
    if journal.is_file():
        content = journal.read_bytes()
        if not content.endswith(b"\n"):
            with journal.open("r+b") as stream:
                stream.truncate(content.rfind(b"\n") + 1)


def _states() -> Any:
    from optuna.trial import TrialState

    return TrialState


def _distribution(dimension: Dimension) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if dimension.choices is not None:
        return CategoricalDistribution(dimension.choices)
    (low, high), step, log = dimension.ends, dimension.step, dimension.log
    if dimension.whole:
        return IntDistribution(int(low), int(high), log=log, step=int(step or 1))
    return FloatDistribution(low, high, log=log, step=step)


def _suggest(trial: Trial, name: str, dimension: Dimension) -> Value:
    if dimension.choices is not None:
        return trial.suggest_categorical(name, dimension.choices)
    (low, high), step, log = dimension.ends, dimension.step, dimension.log
    if dimension.whole:
        return trial.suggest_int(name, int(low), int(high), log=log, step=int(step or 1))
    return trial.suggest_float(name, low, high, log=log, step=step)
