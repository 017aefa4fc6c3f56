"""What a trial that was cut off goes on from, and the seconds that it had cost by then."""

from __future__ import annotations

import shutil
from pathlib import Path

__all__ = ["Unfinished"]

NOTE_EVERY_S = 5.0


class Unfinished:
    """The folder of one trial: it outlives a killed process, and goes once the outcome is written down.

    Parameters
    ----------
    folder : Path
        Named by all that the trial is.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._noted = 0.0

    @property
    def scratch(self) -> Path:
        """What the model keeps (``Recommender.scratch``)."""
        return self.folder / "fit"

    @property
    def _seconds(self) -> Path:
        return self.folder / "seconds"

    def begin(self) -> float:
        """Make the folder; returns the seconds already spent on what the model kept, 0 where it kept nothing."""
        self.scratch.mkdir(parents=True, exist_ok=True)
        goes_on = any(self.scratch.iterdir()) and self._seconds.is_file()
        return float(self._seconds.read_text(encoding="ascii")) if goes_on else 0.0

    def note(self, seconds: float) -> None:
        """Write down, now and then, the seconds spent so far: whole or not at all."""
        if seconds - self._noted >= NOTE_EVERY_S:
            self._noted = seconds
            written = self.folder / "seconds.writing"
            written.write_text(str(seconds), encoding="ascii")
            written.replace(self._seconds)

    def remove(self) -> None:
        """Remove it with all that the model kept."""
        shutil.rmtree(self.folder, ignore_errors=True)
