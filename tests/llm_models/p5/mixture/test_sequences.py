"""Sequential and direct prompts: which items are shown, and which are right."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest


def test_sequences_end_anywhere_but_at_the_first_item(tiny, read, write_prompts, lines) -> None:
    reader = read(
        tiny.training,
        write_prompts(lines["sequential"]),
        users=tiny.users,
        items=tiny.items,
        sampling={"sequential": [1, 0, 0]},
        targets=2,
        max_history=2,
    )
    drawn = Counter(reader.prompts(4000))
    assert set(drawn) == {
        ("s1 user_31 1305", ("1200", "1511")),
        ("s1 user_31 1305 , 1200", ("1511", "1406")),
        ("s1 user_31 1305 -> 1200", ("1511", "1406")),
        ("s1 user_31 1200 , 1511", ("1406",)),
        ("s1 user_31 1200 -> 1511", ("1406",)),
        ("s1 user_08 1200", ("1620",)),
    }
    # Every place is as likely: 1000 times, five standard errors; comma and arrow as often.
    assert abs(drawn["s1 user_31 1305", ("1200", "1511")] - 1000) < 140
    assert abs(drawn["s1 user_08 1200", ("1620",)] - 1000) < 140
    assert abs(drawn["s1 user_31 1200 , 1511", ("1406",)] - 500) < 105


@pytest.mark.parametrize("length", [2, 3, 4, 7])
def test_windows_of_the_original(read, write_prompts, lines, training_of, length: int) -> None:
    """Counted from 1 as the original does: start in 1..3, target among the last three, two items shown where it can."""
    training = training_of([list(range(length)), [0]], items=length)
    reader = read(
        training,
        write_prompts(lines["sequential"]),
        sampling={"sequential": [1, 0, 0]},
        targets=1,
        windows="original",
    )
    word = reader.items.word
    expected = set()
    for target in range(max(min(3, length), length - 2), length + 1):
        for start in range(1, 1 + max(1, min(3, target - 2))):
            shown = [word[i - 1] for i in range(start, target)]
            expected |= {
                (f"s1 {reader.users.word[0]} {mark.join(shown)}", (word[target - 1],)) for mark in (" , ", " -> ")
            }
    assert set(reader.prompts(1500)) == expected


def test_yes_and_no_are_about_what_came_next_and_what_was_never_met(read, write_prompts, lines, training_of) -> None:
    training = training_of([[0, 1, 2], [3, 4], [5]], items=6)
    reader = read(training, write_prompts(lines["sequential"]), sampling={"sequential": [0, 0, 1]}, max_history=1)
    code = reader.items.code_of
    seen = Counter()
    for text, (answer,) in reader.prompts(6000):
        _, shown, asked = text.split()
        seen[code[shown], code[asked], answer] += 1
    expected = {(0, 1, "yes"), (1, 2, "yes"), (3, 4, "yes")}
    expected |= {(shown, other, "no") for shown in (0, 1) for other in (3, 4, 5)}
    expected |= {(3, other, "no") for other in (0, 1, 2, 5)}
    assert set(seen) == expected
    assert abs(seen[0, 1, "yes"] - 1000) < 150
    # Every item never met is as likely, whether another user's or one that nobody meets after it.
    assert all(abs(seen[1, other, "no"] - 1000 / 3) < 90 for other in (3, 4, 5))


def test_candidates_are_the_right_one_among_those_never_met(read, write_prompts, lines, training_of) -> None:
    training = training_of([[0, 1, 2], [3, 4], [5, 6, 7, 8, 9]], items=10)
    prompts = write_prompts(lines["sequential"] + "\ndirect | d1 | d1 {user} of {candidates} | {item}")
    reader = read(training, prompts, sampling={"sequential": [0, 1, 0], "direct": [0, 1, 0]}, candidates=4)
    code, place = reader.items.code_of, Counter()
    user = {word: number for number, word in enumerate(reader.users.word)}
    for text, (answer,) in reader.prompts(3000):
        before, _, after = text.partition(" of ")
        listed = [code[word] for word in after.split(" , ")]
        right = code[answer]
        if text.startswith("d1"):
            own = training.sequences[user[before.split()[1]]].tolist()
            assert right in own
        else:
            shown = [code[word] for word in before.replace(",", "").replace("->", "").split()[1:]]
            own = next(row for row in training.sequences if row.tolist()[: len(shown)] == shown).tolist()
            assert own[len(shown)] == right
        assert len(set(listed)) == len(listed) == 4
        assert [one for one in listed if one in own] == [right]
        place[listed.index(right)] += 1
    assert all(abs(place[nth] - 750) < 130 for nth in range(4))


def test_direct_prompts_ask_for_any_of_the_users_items(tiny, read, write_prompts) -> None:
    prompts = write_prompts(
        """
        direct | d1 | d1 {user} | {item}
        direct | d2 | d2 {name} {title} | {yes_no}
        direct | d3 | d3 {user} {item} | {yes_no}
        """
    )
    fields = {"users": tiny.users, "items": tiny.items}
    own = {"user_31": {"1305", "1200", "1511", "1406"}, "user_08": {"1200", "1620"}, "user_99": {"1406"}}
    several = read(tiny.training, prompts, sampling={"direct": [0, 0, 1]}, targets=3, **fields)
    for text, answers in several.prompts(500):
        mine = own[text.removeprefix("d1 ")]
        assert len(set(answers)) == len(answers) == min(3, len(mine))
        assert set(answers) <= mine
    one = Counter(read(tiny.training, prompts, sampling={"direct": [0, 0, 1]}, targets=1, **fields).prompts(3500))
    assert set(one) == {(f"d1 {user}", (item,)) for user, mine in own.items() for item in mine}
    assert all(abs(number - 500) < 110 for number in one.values())
    # As the original does, users are as likely as one another.
    even = Counter(
        text
        for text, _ in read(
            tiny.training, prompts, sampling={"direct": [0, 0, 1]}, windows="original", **fields
        ).prompts(3000)
    )
    assert all(abs(number - 1000) < 140 for number in even.values())

    title = {"Red Drum": "1200", "Blue Horn": "1305", "Reed": "1511", "Bell": "1620"}
    name = {"Ann Baker": "user_31"}
    asked = read(tiny.training, prompts, sampling={"direct": [1, 0, 0]}, **fields).prompts(2000)
    for text, (answer,) in asked:
        if text.startswith("d2"):
            # An item without a title is asked about by its id.
            who, item = next((text[3 : -len(t) - 1], i) for t, i in title.items() if text.endswith(t))
        else:
            who, item = text.split()[1:]
        assert (item in own[name.get(who, who)]) == (answer == "yes")
    assert abs(np.mean([answer == ("yes",) for _, answer in asked]) - 0.5) < 0.06


def test_too_long_lists_of_candidates_are_shortened_or_left_out(read, write_prompts, training_of) -> None:
    training = training_of([[n] for n in range(400)], items=400)
    prompts = write_prompts("direct | d2 | d2 {user} of {candidates} | {item}\ndirect | d3 | d3 {user} | {item}")
    reader = read(training, prompts, sampling={"direct": [0, 1, 1]}, candidates=300)
    listed = reader.mixture.describe()["families"]["direct"]["listed"]["d2"]
    assert 100 < listed < 300
    lists = [text.partition(" of ")[2].split(" , ") for text, _ in reader.prompts(300) if text.startswith("d2")]
    assert {len(words) for words in lists} == {listed}
