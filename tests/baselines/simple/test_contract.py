from __future__ import annotations

from baselines.simple.category_popularity import CategoryPopularity
from baselines.simple.chance import Chance
from baselines.simple.content_knn import ContentKNN
from baselines.simple.frequent_sentence import FrequentSentence
from baselines.simple.majority import Majority
from baselines.simple.means import Means
from baselines.simple.nearest_review import NearestReview
from baselines.simple.popularity import Popularity
from baselines.simple.tfidf_ridge import TfIdfRidge
from bench.models.testing import RecommenderContract


class TestPopularity(RecommenderContract):
    model = Popularity


class TestCategoryPopularity(RecommenderContract):
    model = CategoryPopularity


class TestChance(RecommenderContract):
    model = Chance


class TestContentKNN(RecommenderContract):
    model = ContentKNN
    settings = {"ngram_max": 2, "half_life_items": 5}


class TestMeans(RecommenderContract):
    model = Means


class TestMajority(RecommenderContract):
    model = Majority


class TestFrequentSentence(RecommenderContract):
    model = FrequentSentence


class TestNearestReview(RecommenderContract):
    model = NearestReview


class TestTfIdfRidge(RecommenderContract):
    model = TfIdfRidge
