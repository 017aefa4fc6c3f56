"""The shipped cards: every one loads, says where its files come from, and its reader exists."""

from __future__ import annotations

import tarfile
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

import polars as pl
import pytest

from bench.data import load_dataset
from bench.data.card import KCore, Source, TimeWindow, card_names, load_card
from bench.data.content import Content
from bench.data.readers import reader_named
from bench.data.readers.base import Ask, Rows
from bench.errors import UsageError

PREPARED = ("amazon-beauty", "amazon-sports", "amazon-toys", "yelp-2019")
REVIEWS = {"amazon-musical-instruments-part": 5050, "amazon-all-beauty-2018": 4092}
"""Small files of reviews, with their distinct pairs of user and item."""

AMAZON_2014_RAW = ("amazon-beauty-raw", "amazon-sports-raw", "amazon-toys-raw", "amazon-musical-instruments")


def sources(name: str) -> dict[str, Source]:
    files = load_card(name).files
    found: dict[str, Source] = {f"interactions {n}": source for n, source in enumerate(files.interactions)}
    return found | {role: one for role in ("items", "users") if (one := getattr(files, role)) is not None}


def test_the_field_s_datasets_are_there() -> None:
    wanted = {*PREPARED, *AMAZON_2014_RAW, *REVIEWS, "amazon-2023", "yelp-2019-raw", "yelp-full", "ml-100k", "ml-1m"}
    assert wanted <= set(card_names())


@pytest.mark.parametrize("name", card_names())
class TestEveryCard:
    def test_says_what_it_is(self, name: str) -> None:
        card = load_card(name)
        assert card.name.startswith(name)
        for said in (card.title, card.description, card.licence, card.citation):
            assert len(said) > 10
            assert "{" not in said
        assert all(callable(getattr(reader_named(card.reader), f"read_{what}")) for what in ("interactions", "items"))

    def test_says_where_each_file_comes_from(self, name: str) -> None:
        for source in sources(name).values():
            assert source.howto or source.url
            assert source.path
            for url in source.url:
                assert urlsplit(url).scheme == "https"
                assert "{" not in url
            assert len(set(source.url)) == len(source.url)

    def test_a_file_that_anyone_may_fetch_has_mirrors(self, name: str) -> None:
        for role, source in sources(name).items():
            single = name == "ml-1m"  # GroupLens serves it from one place and forbids copies
            assert not source.url or single or len(source.url) > 1, role


class TestPreparedSequences:
    @pytest.mark.parametrize("name", PREPARED)
    def test_are_pinned_to_one_commit(self, name: str) -> None:
        source = load_card(name).files.interactions[0]
        assert source.sha256 is not None
        assert "/2a81540ae18615d88ef88227b0c066e5b74781e5/" in source.url[0]

    @pytest.mark.parametrize(
        ("raw", "prepared"),
        [
            ("amazon-beauty-raw", "amazon-beauty"),
            ("amazon-sports-raw", "amazon-sports"),
            ("amazon-toys-raw", "amazon-toys"),
            ("yelp-2019-raw", "yelp-2019"),
        ],
    )
    def test_have_the_counts_of_their_originals(self, raw: str, prepared: str) -> None:
        core = load_card(raw).filters[-1]
        assert isinstance(core, KCore)
        assert (core.users, core.items) == (5, 5)
        assert core.counts == load_card(prepared).counts


@pytest.mark.parametrize("name", AMAZON_2014_RAW)
def test_days_are_noted(name: str) -> None:
    assert any("precision of a day" in note for note in load_card(name).notes)


def test_musical_instruments_is_not_the_half_file() -> None:
    card = load_card("amazon-musical-instruments")
    assert card.counts is not None
    assert card.counts.model_dump() == {"users": 1429, "items": 900, "interactions": 10261}
    assert not any("part" in path for source in sources(card.name).values() for path in source.path)


def test_amazon_2023_takes_any_category() -> None:
    card = load_card("amazon-2023:Musical_Instruments")
    assert card.name == "amazon-2023-musical_instruments"
    assert card.files.interactions[0].path[0] == "amazon-2023/Musical_Instruments.jsonl.gz"
    assert card.files.items is not None
    assert all("meta_Musical_Instruments.jsonl" in url for url in card.files.items.url)
    assert load_card("amazon-2023").title == "Amazon All_Beauty (2023)"
    for wrong in ("../x", "Video Games", "_", "Books_", "a/b", "Books2"):
        with pytest.raises(UsageError, match=r"does not fit the pattern|no dataset card at"):
            load_card(f"amazon-2023:{wrong}")


def test_yelp_s_window_is_p5_s() -> None:
    window = load_card("yelp-2019-raw").filters[0]
    assert isinstance(window, TimeWindow)
    assert (window.start, window.stop) == (datetime(2019, 1, 1), datetime(2019, 12, 31))
    assert not any(isinstance(step, TimeWindow) for step in load_card("yelp-full").filters)


def test_yelp_s_files_are_members_of_one_archive(tmp_path: Path) -> None:
    """As published: a gzipped tar that is called ``yelp_dataset.tar``."""
    lines = {
        "review": '{"user_id": "u", "business_id": "b", "stars": 4.0, "text": "Good", "date": "2019-01-01 00:00:00"}',
        "business": '{"business_id": "b", "name": "Bar", "categories": "Bars, Food"}',
        "user": '{"user_id": "u", "name": "Ann"}',
    }
    archive = tmp_path / "yelp_dataset.tar"
    with tarfile.open(archive, "w:gz") as tar:
        for what, line in lines.items():
            file = tmp_path / what
            file.write_text(line + "\n")
            tar.add(file, f"yelp_academic_dataset_{what}.json")
    card = load_card("yelp-full")
    read = {}
    for role, reader in (
        ("interactions 0", "read_interactions"),
        ("items", "read_items"),
        ("users", "read_users"),
    ):
        source = sources("yelp-full")[role]
        rows = Rows(Content(archive, source.member))
        read[role] = pl.concat(getattr(reader_named("yelp"), reader)(rows.content, Ask({}, card.reading), rows)).rows()
    assert read == {
        "interactions 0": [("u", "b", 4.0, 1546300800, "Good")],
        "items": [("b", "Bar", ["Bars", "Food"])],
        "users": [("u", "Ann")],
    }


@pytest.mark.parametrize("name", REVIEWS)
def test_the_small_files_of_reviews_are_what_their_cards_say(name: str, shared_data: Path) -> None:
    (path, _) = load_card(name).files.interactions[0].path
    if not (shared_data / path).is_file():
        pytest.skip(f"needs the real reviews at BENCH_DATA_DIR/{path}")
    dataset = load_dataset(name)  # which checks the checksum and the counts
    assert len(dataset.events.user) == REVIEWS[name]
    assert dataset.reviews is not None
    assert dataset.reviews.columns == ("headline", "text")
