"""Free text against Hugging Face's own generation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_models.decoding import write

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

VOCABULARY, PAD, END = 24, 0, 1


@pytest.fixture(scope="module")
def network():
    from llm_models.p5.network import P5Network

    torch.manual_seed(4)
    config = transformers.T5Config(
        vocab_size=VOCABULARY,
        d_model=16,
        d_ff=32,
        d_kv=8,
        num_heads=2,
        num_layers=2,
        decoder_start_token_id=PAD,
        pad_token_id=PAD,
        eos_token_id=END,
        initializer_factor=2.0,
    )
    network = P5Network(transformers.T5ForConditionalGeneration(config)).eval()
    torch.nn.init.zeros_(network.whole_word.weight)
    with torch.no_grad():
        # Texts that end, at different places.
        network.t5.shared.weight[END] *= 2.5
    return network


def prompts(count: int, seed: int):
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(2, VOCABULARY, (count, 9), generator=generator)
    ids[0, 5:] = PAD
    return ids


def ours(network, ids, **how):
    from llm_models.p5.network import TrieStepper

    with torch.inference_mode():
        memory = network.encode(ids, torch.zeros_like(ids))
        return write(TrieStepper(network, memory), end=END, pad=PAD, **how)


@pytest.mark.parametrize("beams", [1, 2, 4])
@pytest.mark.parametrize(("shortest", "longest"), [(0, 8), (3, 12), (0, 1), (5, 5)])
def test_it_is_hugging_faces_text(network, beams: int, shortest: int, longest: int) -> None:
    ids = prompts(12, 10 * beams + shortest)
    expected = network.t5.generate(
        input_ids=ids,
        attention_mask=(ids != PAD).long(),
        num_beams=beams,
        do_sample=False,
        early_stopping=False,
        length_penalty=1.0,
        min_new_tokens=shortest,
        max_new_tokens=longest,
    )[:, 1:]
    written = ours(network, ids, beams=beams, shortest=shortest, longest=longest)
    # After the end mark Hugging Face's beams repeat it, where greedy search pads.
    assert cut(written.tolist()) == cut(expected.tolist())
    lengths = {len(text) for text in cut(written.tolist())}
    assert min(lengths) >= min(shortest + 1, longest)
    assert len(lengths) > 1 or longest - shortest < 2


def cut(texts: list[list[int]]) -> list[list[int]]:
    """Up to the end mark."""
    return [text[: text.index(END) + 1] if END in text else text for text in texts]


@given(st.data())
@settings(max_examples=20, deadline=None)
def test_each_prompt_is_answered_for_itself(network, data) -> None:
    ids = prompts(6, data.draw(st.integers(0, 1000)))
    how = {"beams": data.draw(st.integers(1, 3)), "shortest": data.draw(st.integers(0, 2)), "longest": 6}
    together = ours(network, ids, **how)
    order = data.draw(st.permutations(range(6)))
    again = ours(network, ids[order], **how)
    np.testing.assert_array_equal(again, together[order])
    alone = ours(network, ids[order[0] : order[0] + 1], **how)[0]
    np.testing.assert_array_equal(alone, together[order[0]][: len(alone)])
    assert (together[order[0]][len(alone) :] == PAD).all()
