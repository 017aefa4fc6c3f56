from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from bench.models import Ragged, Training
from bench.models.testing import small_world
from llm_models.indexing import random_ids
from llm_models.p5.model import P5
from llm_models.p5.settings import P5Settings

pytest.importorskip("sentencepiece")


def mixture(training: Training, settings: P5Settings, seed: int = 0):
    from llm_models.p5.artefacts import make_tokenizer
    from llm_models.p5.prompting import Mixture, Writer

    users = random_ids(training.user, seed=1, digits=2, prefix="user_")
    items = random_ids(training.item, seed=0, digits=2)
    tokenizer = make_tokenizer(settings, P5.prompts(), users, items)
    return Mixture(training, Writer(tokenizer, users, items), P5.prompts(), settings, seed)


def read(mix, text: str) -> tuple[int, list[int]]:
    """The user (-1: nobody) and the items that a prompt names, as codes."""
    users, items = mix.writer.users.code_of, mix.writer.items.code_of
    named = {users[word] for word in text.split() if word in users}
    assert len(named) <= 1
    return (named.pop() if named else -1), [items[word] for word in text.split() if word in items]


def test_training_prompts_are_cuts_of_the_sequences() -> None:
    training = small_world().training()
    settings = P5Settings(max_history=3, targets=2, sequential_share=0.5)
    mix = mixture(training, settings)
    of_user = dict(zip(training.user.tolist(), [row.tolist() for row in training.sequences], strict=True))
    families = {"nameless": 0, "sequential": 0, "direct": 0}
    for text, targets in mix.examples(600):
        user, shown = read(mix, text)
        asked = training.item[targets].tolist()
        assert 1 <= len(asked) <= 2
        candidates = [of_user[user]] if user >= 0 else list(of_user.values())
        if shown:
            families["sequential" if user >= 0 else "nameless"] += 1
            run = [*shown, *asked]
            places = [
                (sequence, start)
                for sequence in candidates
                for start in range(len(sequence))
                if sequence[start : start + len(run)] == run
            ]
            assert places
            assert len(shown) == 3 or any(start == 0 for _, start in places)
        else:
            families["direct"] += 1
            assert set(asked) <= set(of_user[user])
            assert len(set(asked)) == len(asked)
    assert 230 < families["direct"] < 370
    # Two of six sequential templates name nobody.
    assert 0.2 < families["nameless"] / (families["nameless"] + families["sequential"]) < 0.47


def test_every_interaction_but_the_first_of_a_user_is_asked_for() -> None:
    training = small_world().training()
    mix = mixture(training, P5Settings(targets=1, sequential_share=1.0))
    asked = np.zeros(len(training.item), int)
    for _, targets in mix.examples(3000):
        asked[targets] += 1
    later = np.delete(training.sequences.values, training.sequences.offsets[:-1])
    assert set(training.item[asked > 0]) == set(later.tolist())


def test_batches_are_of_one_length_nearly_and_seeded() -> None:
    training = small_world().training()
    settings = P5Settings(batch=8, targets=3)
    one, same, other = (iter(mixture(training, settings, seed)) for seed in (0, 0, 1))
    filled, total, differ = 0, 0, False
    for _ in range(32):
        batch, again, another = next(one), next(same), next(other)
        np.testing.assert_array_equal(batch.ids, again.ids)
        np.testing.assert_array_equal(batch.words, again.words)
        np.testing.assert_array_equal(batch.target, again.target)
        differ |= batch.ids.shape != another.ids.shape or bool((batch.ids != another.ids).any())
        filled, total = filled + int((batch.ids > 0).sum()), total + batch.ids.size
        assert batch.target.max() < len(training.item)
    assert differ
    assert filled / total > 0.9


@pytest.mark.parametrize("targets", [1, 3, 50])
def test_answers_per_prompt_are_those_drawn(targets: int) -> None:
    mix = mixture(small_world().training(), P5Settings(targets=targets, sequential_share=0.5))
    drawn = [len(asked) for _, asked in mix.examples(4000)]
    # Five standard errors.
    assert abs(np.mean(drawn) - mix.answers_per_prompt) <= 5 * np.std(drawn) / np.sqrt(4000)


def test_users_with_one_item_give_direct_prompts_only() -> None:
    world = small_world()
    training = dataclasses.replace(
        world.training(), sequences=Ragged.from_lists([[int(world.warm[0])]] * len(world.users))
    )
    mix = mixture(training, P5Settings())
    for text, targets in mix.examples(20):
        user, shown = read(mix, text)
        assert user >= 0
        assert not shown
        assert training.item[targets].tolist() == [world.warm[0]]


def test_ids_of_one_length_need_no_end_mark() -> None:
    from llm_models.p5.prompting import id_sequences

    class Letters:
        def word(self, word: str) -> list[int]:
            return [ord(letter) for letter in word]

    assert id_sequences(random_ids(np.arange(3), seed=0, digits=2), Letters())[0][-1] != 1
    uneven = dataclasses.replace(random_ids(np.arange(2), seed=0, digits=2), word=("12", "123"))
    assert [sequence[-1] for sequence in id_sequences(uneven, Letters())] == [1, 1]
