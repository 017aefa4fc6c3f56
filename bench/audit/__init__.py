"""What could make a good number worth nothing: leaks through ids, and test rows among training rows."""

from bench.audit.fingerprint import HIT_RATE, RATIO, Fingerprint, fingerprint
from bench.audit.index import moves_with_held_out, refuse_moving
from bench.audit.numbering import NUMBERINGS, Numbering, first_appearance, number_items, walks
from bench.audit.overlap import Overlap, pair_overlap
from bench.audit.probe import next_number
from bench.audit.words import INDEX_FILE, number_words, read_index

__all__ = [
    "HIT_RATE",
    "INDEX_FILE",
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
    "number_words",
    "pair_overlap",
    "read_index",
    "refuse_moving",
    "walks",
]
