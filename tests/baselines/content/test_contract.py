from __future__ import annotations

from baselines.content.attribute_map import AttributeMap
from baselines.content.two_towers import TwoTowers
from bench.models.testing import RecommenderContract


class TestAttributeMap(RecommenderContract):
    model = AttributeMap
    settings = {"factors": 8}


class TestAttributeMapOfAllItems(RecommenderContract):
    model = AttributeMap
    settings = {"factors": 8, "map_warm": True, "half_life_items": None}


class TestTwoTowers(RecommenderContract):
    model = TwoTowers
    settings = {"dimensions": 8, "batch_pairs": 64}
