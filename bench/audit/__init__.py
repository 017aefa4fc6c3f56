"""What could make a good number worth nothing: leaks through ids, and test rows among training rows."""

from bench.audit.fingerprint import HIT_RATE, RATIO, Fingerprint, fingerprint
from bench.audit.index import moves_with_held_out, refuse_moving
from bench.audit.numbering import NUMBERINGS, Numbering, first_appearance, number_items, walks
from bench.audit.overlap import Overlap, pair_overlap
from bench.audit.probe import next_number

__all__ = [
    "HIT_RATE",
    "NUMBERINGS",
    "RATIO",
    "Fingerprint",
    "Numbering",
    "Overlap",
    "fingerprint",
    "first_appearance",
    "moves_with_held_out",
    "next_number",
    "number_items",
    "pair_overlap",
    "refuse_moving",
    "walks",
]
