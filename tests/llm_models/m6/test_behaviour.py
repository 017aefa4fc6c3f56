from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from bench.errors import UsageError
from bench.models import Ragged, Training
from bench.splits import Pairs
from llm_models.m6.behaviour import Behaviour, Writer, behaviour_names, load_behaviour, short
from llm_models.m6.statistics import Statistics

ITEMS = pl.DataFrame(
    {
        "item": np.array([7001, 7002, 7003, 7004, 7005], np.int32),
        "item_id": ["qxa", "qxb", "qxc", "qxd", "qxe"],
        "title": ["Nuts &amp; Bolts", "Stupids, The", None, "Seventh Seal, The (Det sjunde inseglet)", None],
        "categories": [["Tools", "Home"], ["Comedy"], ["Garden"], ["Comedy"], None],
        "year": ["1995", "1996", None, "1957", None],
    }
)
CODES = ITEMS["item"].to_numpy()


def writer(name="plain", statistics=None, window=3):
    return Writer(load_behaviour(name), statistics, window=window)


def learned(seed=0, pairs=400):
    """Statistics of random timed pairs of users 91, 92..., whose codes no text may show."""
    rng = np.random.default_rng(seed)
    user, item = rng.integers(9101, 9109, pairs).astype(np.int32), rng.choice(CODES, pairs)
    label = rng.integers(0, 2, pairs).astype(np.float32)
    time = np.sort(rng.integers(0, 1000, pairs))
    history = [item[(user == u) & (time < t) & (label > 0)] for u, t in zip(user, time, strict=True)]
    made = Pairs(user, item, label, Ragged.from_lists(history), time, "click")
    return Training(np.unique(user), Ragged.empty(len(np.unique(user))), None, None, ITEMS, pairs=made)


def read(segments):
    texts = segments.texts
    users = [[texts[place] for place in row] for row in segments.user]
    return users, [texts[place] if place >= 0 else None for place in segments.candidate]


def test_segments_stand_in_reading_order():
    users = pl.DataFrame({"user": [1], "age": [30], "occupation": ["baker"]})
    queries = pl.DataFrame({"row": [1, 0, 0], "query": ["nails", "old", "new"]})
    segments = writer().click_rows(
        np.array([1, 2]), Ragged.from_lists([[7001, 7005, 7002], []]), np.array([7004, 7005]), ITEMS, users, queries
    )
    shown, candidates = read(segments)
    assert shown == [
        [
            "aged 30 baker",
            "chose Nuts & Bolts (1995) - Tools, Home",
            "chose The Stupids (1996) - Comedy",
            "searched for old",
            "searched for new",
        ],
        ["searched for nails"],
    ]
    assert candidates == ["The Seventh Seal (Det sjunde inseglet) (1957) - Comedy", None]


def test_a_window_holds_the_latest_clicks_with_text():
    segments = writer(window=2).click_rows(
        np.array([1]), Ragged.from_lists([[7001, 7002, 7004, 7005, 9999]]), np.array([7001]), ITEMS
    )
    assert [text.split(" (")[0] for text in read(segments)[0][0]] == ["chose The Stupids", "chose The Seventh Seal"]


@pytest.mark.parametrize("name", behaviour_names())
def test_joined_texts_are_the_segments(name):
    training = learned()
    pairs = training.pairs
    w = writer(name, Statistics.of(training))
    segments = w.click_rows(pairs.user, pairs.history, pairs.item, ITEMS, pairs=np.arange(len(pairs)))
    users, candidates = w.joined(segments)
    shown, asked = read(segments)
    assert users == [w.behaviour.separator.join(row) for row in shown]
    assert candidates == [text or "" for text in asked]


@pytest.mark.parametrize("name", behaviour_names())
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_texts_are_distinct_the_same_again_and_show_no_id(name, data):
    training = learned(data.draw(st.integers(0, 99)))
    user = data.draw(st.lists(st.sampled_from([9101, 9105, 9777]), min_size=1, max_size=6))
    some = st.lists(st.sampled_from([*CODES.tolist(), 7999]), max_size=6)
    history = Ragged.from_lists([data.draw(some) for _ in user])
    item = np.array([data.draw(st.sampled_from([*CODES.tolist(), 7999])) for _ in user])
    users = pl.DataFrame({"user": [9101], "user_id": ["qxu"], "gender": ["F"]})
    w = writer(name, Statistics.of(training))
    first = w.click_rows(np.array(user), history, item, ITEMS, users)
    # The order of a table of texts or of requests changes nothing.
    again = w.click_rows(np.array(user)[::-1], history.take(np.arange(len(user))[::-1]), item[::-1], ITEMS[::-1], users)
    assert read(first)[0] == read(again)[0][::-1]
    assert read(first)[1] == read(again)[1][::-1]
    assert len(set(first.texts)) == len(first.texts)
    assert all(first.texts)
    assert {*first.user.values.tolist(), *first.candidate.tolist()} - {-1} == set(range(len(first.texts)))
    for text in first.texts:
        assert not any(part in text for part in ("qx", "70", "79", "91", "97")), text


def test_items_alone_are_candidates_without_figures():
    texts = writer("crossed", Statistics.of(learned())).item_texts(ITEMS)
    assert texts == writer("plain").item_texts(ITEMS)
    assert texts[1:3] == ["The Stupids (1996) - Comedy", "Garden"]
    assert texts[4] == ""


def test_figures_are_written_where_there_are_some():
    training = learned()
    asked = np.array([7001, 7002])
    history = Ragged.from_lists([[7002], [7002, 7004]])
    with_figures, without = (
        read(writer("crossed", held).click_rows(np.array([9101, 9999]), history, asked, ITEMS))
        for held in (Statistics.of(training), None)
    )
    assert without[1] == ["Nuts & Bolts (1995) - Tools, Home", "The Stupids (1996) - Comedy"]
    words = load_behaviour("crossed").words
    for text, plain in zip(with_figures[1], without[1], strict=True):
        assert text.startswith(plain + "; ")
        assert any(word in text for word in words["popularity"])
    assert with_figures[1][1].endswith(words["habit"][2])
    assert with_figures[0][0][0].split(", ")[0] in words["activity"]


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 999), row=st.integers(0, 399))
def test_the_text_of_a_training_pair_does_not_hang_on_its_label_or_later_ones(seed, row):
    training = learned(seed)
    pairs = training.pairs
    later = pairs.time >= pairs.time[row]
    label = np.where(later, 1 - pairs.label, pairs.label)
    changed = Pairs(pairs.user, pairs.item, label, pairs.history, pairs.time, "click")
    texts = []
    for made in (pairs, changed):
        statistics = Statistics.of(Training(training.user, training.sequences, None, None, ITEMS, pairs=made))
        asked = made.take(np.array([row]))
        w = writer("crossed", statistics)
        texts.append(read(w.click_rows(asked.user, asked.history, asked.item, ITEMS, pairs=np.array([row]))))
    assert texts[0] == texts[1]


def test_item_figures_alone_leave_one_text_per_item_and_moment():
    w = writer("counted", Statistics.of(learned()))
    users = np.arange(9101, 9109)
    segments = w.click_rows(
        users, Ragged.from_lists([[code] for code in [*CODES, *CODES[:3]]]), np.full(8, 7001), ITEMS
    )
    assert len(set(segments.candidate.tolist())) == 1


@given(st.text(st.characters(categories=["L", "Zs"]), max_size=60), st.integers(1, 40))
def test_short_texts_end_with_a_word(text, limit):
    text = " ".join(text.split())
    cut = short(text, limit)
    assert text.startswith(cut)
    assert len(cut) <= limit or " " not in cut
    assert text[len(cut) :][:1] in {"", " "}


def test_short_texts_leave_no_bracket_open():
    assert short("My Life as a Dog (Mitt liv som hund)", 30) == "My Life as a Dog"
    assert short("Seven (a) tales (or b)", 19) == "Seven (a) tales"


def test_long_lists_keep_their_last_entries():
    behaviour = load_behaviour("plain").model_copy(update={"limits": {"click": {"categories": 14}}})
    rows = pl.DataFrame({"title": ["x"], "categories": [["Skin Care", "Face", "Cleansers"]]})
    assert behaviour.write("click", rows) == ["chose x - Cleansers"]
    assert behaviour.write("candidate", rows) == ["x - Skin Care, Face, Cleansers"]


PARTS = {
    "profile": [],
    "click": ["{title}"],
    "query": [],
    "candidate": ["{title}"],
    "statistic": [],
    "words": {},
    "limits": {},
    "separator": "; ",
}


@pytest.mark.parametrize("segment", ["profile", "click", "query", "candidate"])
@pytest.mark.parametrize("field", ["item", "user", "item_id", "user_id", "id"])
def test_a_behaviour_that_would_show_an_id_is_refused(segment, field):
    with pytest.raises(ValidationError, match="would show the id"):
        Behaviour(**{**PARTS, segment: [f"{{{field}}}"]})


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"click": ["chose something"]}, "names no field"),
        ({"click": ["{title!r}"]}, "plain field"),
        ({"click": ["{popularity}"]}, "only a profile and a candidate"),
        ({"statistic": ["{title}"]}, "no figures of an item"),
        ({"statistic": ["{popularity}"]}, "no words for the bands of popularity"),
        ({"words": {"popularity": ["a", "b"]}}, "has 6 bands, not 2"),
        ({"words": {"fame": ["a"]}}, "is no figure"),
        ({"colour": "red"}, "Extra inputs"),
    ],
)
def test_a_malformed_behaviour_is_refused(wrong, why):
    with pytest.raises(ValidationError, match=why):
        Behaviour(**{**PARTS, **wrong})


def test_an_unknown_behaviour_names_the_nearest():
    with pytest.raises(UsageError, match="did you mean 'counted'"):
        load_behaviour("count")


def test_a_digest_follows_the_wording():
    digests = {load_behaviour(name).digest for name in behaviour_names()}
    assert len(digests) == len(behaviour_names())
    plain = load_behaviour("plain")
    assert plain.digest != plain.model_copy(update={"separator": " / "}).digest


@pytest.mark.parametrize(
    ("tables", "why"),
    [
        ({"users": pl.DataFrame({"who": [1]})}, "users: the table lacks user"),
        ({"queries": pl.DataFrame({"row": [0]})}, "queries: the table lacks query"),
        ({"queries": pl.DataFrame({"row": [1], "query": ["x"]})}, "position of one of the 1 requests"),
    ],
)
def test_tables_that_do_not_fit_are_refused(tables, why):
    with pytest.raises(UsageError, match=why):
        writer().click_rows(np.array([1]), Ragged.empty(1), np.array([7001]), ITEMS, **tables)
