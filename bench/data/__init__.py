"""Dataset cards, checked source files and canonical tables."""

from bench.data.card import Card, card_names, find_cards, load_card
from bench.data.dataset import Dataset, load_dataset
from bench.data.ragged import Ragged
from bench.data.ties import TieStatistics, tie_statistics

__all__ = [
    "Card",
    "Dataset",
    "Ragged",
    "TieStatistics",
    "card_names",
    "find_cards",
    "load_card",
    "load_dataset",
    "tie_statistics",
]
