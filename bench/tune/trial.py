"""One trial, inside its own process: fit on the training part, and ask validation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from bench.errors import ModelError
from bench.metrics import parse
from bench.models import model_class
from bench.runs.cell import Report
from bench.runs.plan import selected_on, split_of
from bench.runs.predict import validation
from bench.runs.provenance import timed
from bench.runs.store import write_json
from bench.runs.suite import Suite
from bench.tasks import request_sets

__all__ = ["TrialJob"]


@dataclass(frozen=True)
class TrialJob:
    """What a worker process needs for a trial.

    Attributes
    ----------
    suite : Suite
        Of one model, with the settings to try, and one training seed.
    device : str
    result : Path
        Where the validation number goes, with what finding it cost.
    scratch : Path
        Where the model keeps what it goes on from when the trial is cut off.
    """

    suite: Suite
    device: str
    result: Path
    scratch: Path

    def run(self, report: Report) -> None:
        """Fit and validate; requests of the test are put to nobody."""
        suite, (entry,) = self.suite, self.suite.models
        split, settings = split_of(suite), entry.parsed_settings().fitting()
        model = model_class(entry.model)(settings, device=self.device)
        model.scratch = self.scratch
        metric, tasks = selected_on(suite, model.capable(settings).tasks)
        sets = [asked for asked in request_sets(split, suite.tasks) if asked.part == "valid" and asked.task in tasks]
        validate = validation(sets, parse(metric), k=suite.depth, limit=suite.validation_requests)

        def progress(done: int, total: int, note: str = "") -> None:
            report("fit", done, total, note)

        with timed() as cost:
            model.fit(split.training, validate=validate, budget=entry.budget, seed=suite.seeds[0], progress=progress)
            # The model holds its best checkpoint again.
            value = validate(model)
        if not math.isfinite(value):
            raise ModelError(f"the validation number is {value}")
        write_json(self.result, {"value": value, "seconds": cost["wall_s"]})
