"""Who sees whom: against the rule written out token by token, and positions against counting."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from llm_models.backbones.layout import Layout, attention_bias  # noqa: E402

ROWS = st.lists(
    st.tuples(
        st.lists(st.integers(1, 4), min_size=1, max_size=3),  # sources
        st.lists(st.integers(1, 4), max_size=3),  # targets after them
    ).map(lambda row: [(length, False) for length in row[0]] + [(length, True) for length in row[1]]),
    min_size=1,
    max_size=4,
)


def _tokens(row):
    """(segment, place within it, target) of each token."""
    return [(number, place, target) for number, (length, target) in enumerate(row) for place in range(length)]


def _reads(row, reader, read, *, blocks, only_ends):
    """Whether one token reads another, by the words of the definition."""
    (segment, place, mine), (other, before, target) = reader, read
    if target:
        return segment == other and before <= place
    if only_ends and mine and place < row[segment][0] - 1:
        return False
    return segment == other if blocks else True


@given(ROWS, st.booleans(), st.booleans())
def test_every_token_sees_what_the_definition_says(rows, blocks, only_ends):
    layout = Layout.of(rows)
    visible = layout.visible(blocks=blocks, only_ends=only_ends)
    for number, row in enumerate(rows):
        tokens = _tokens(row)
        assert layout.real[number].sum() == len(tokens)
        for place, token in enumerate(tokens):
            for other, read in enumerate(tokens):
                assert visible[number, place, other].item() == _reads(
                    row, token, read, blocks=blocks, only_ends=only_ends
                )
        assert not visible[number, : len(tokens), len(tokens) :].any()  # nobody reads padding
    assert visible.diagonal(dim1=1, dim2=2).all()


@given(ROWS)
def test_positions_restart_in_each_segment_or_go_on_as_if_each_target_were_the_only_one(rows):
    layout = Layout.of(rows)
    restarted, counted = layout.positions(restart=True), layout.positions(restart=False)
    for number, row in enumerate(rows):
        sources = sum(length for length, target in row if not target)
        source = 0
        for place, (_, within, target) in enumerate(_tokens(row)):
            assert restarted[number, place] == within
            assert counted[number, place] == (sources + within if target else source)
            source += not target


@given(ROWS, st.integers(0, 3))
def test_soft_prompts_stand_before_every_row_as_one_more_source(rows, prompts):
    with_prompts = [[(prompts, False), *row] if prompts else row for row in rows]
    expected, found = Layout.of(with_prompts), Layout.of(rows).prepended(prompts)
    assert torch.equal(found.segment, expected.segment)
    assert torch.equal(found.target, expected.target)


def test_the_bias_hides_with_the_most_negative_number_of_its_type():
    bias = attention_bias(torch.tensor([[[True, False]]]), torch.bfloat16)
    assert bias.shape == (1, 1, 1, 2)
    assert bias.flatten().tolist() == [0.0, torch.finfo(torch.bfloat16).min]
