from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")


def test_dropout_drops_its_share_and_keeps_the_mean() -> None:
    from llm_models.p5.layers import dropout

    torch.manual_seed(0)
    x = torch.full((1003, 7), 2.0, requires_grad=True)
    for rate in (0.1, 0.5):
        dropped = dropout(x, rate)
        kept = dropped != 0
        assert abs(1 - kept.float().mean() - rate) < 0.02
        torch.testing.assert_close(dropped[kept].mean().item(), 2 / (1 - rate), rtol=1e-4, atol=0)
        (gradient,) = torch.autograd.grad(dropped.sum(), x)
        torch.testing.assert_close(gradient, dropped / 2)
        # Neighbours, which share a draw of the generator, are dropped independently.
        both = (~kept.flatten()[:-1] & ~kept.flatten()[1:]).float().mean()
        assert abs(both - rate**2) < 0.01
    assert dropout(x, 0.0) is x


@pytest.mark.parametrize("shape", [(1, 2, 5, 6), (3, 1, 1, 6), (3, 2, 5, 6)])
def test_attention_with_dropout_is_the_plain_one_with_the_same_weights_dropped(shape: tuple[int, ...]) -> None:
    from llm_models.p5.layers import attend

    generator = torch.Generator().manual_seed(3)

    def draw(*size: int):
        return torch.randn(*size, generator=generator, requires_grad=True)

    query, key, bias = draw(3, 2, 5, 4), draw(3, 2, 6, 4), draw(*shape)
    # Values that tell which weight they met, so that what was dropped can be read off.
    torch.manual_seed(1)
    met = attend(query, key, torch.eye(6).expand(3, 2, 6, 6), bias, 0.3).view(3, 5, 2, 6).transpose(1, 2)
    value = draw(3, 2, 6, 4)
    torch.manual_seed(1)
    read = attend(query, key, value, bias, 0.3)
    weights = (query @ key.transpose(2, 3) + bias).softmax(-1)
    kept = (met != 0).float() * 2**16 / (2**16 - round(0.3 * 2**16))
    assert 0.1 < (met == 0).float().mean() < 0.5
    torch.testing.assert_close(met, weights * kept)
    plain = ((weights * kept.detach()) @ value).transpose(1, 2).flatten(2)
    torch.testing.assert_close(read, plain)
    upstream = torch.randn(read.shape, generator=generator)
    wanted = (query, key, value, bias)
    for mine, theirs in zip(
        torch.autograd.grad(read, wanted, upstream), torch.autograd.grad(plain, wanted, upstream), strict=True
    ):
        torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize("block", [1, 7 * 50, 2**24])
def test_cross_entropy_is_torchs(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    """Rows with several tokens, with one and with none; in one block and in many."""
    from llm_models.p5 import layers

    monkeypatch.setattr(layers, "BLOCK", block)
    generator = torch.Generator().manual_seed(2)
    hidden = torch.randn(20, 6, generator=generator, requires_grad=True)
    table = torch.randn(50, 6, generator=generator, requires_grad=True)
    row = torch.tensor([0, 0, 0, 2, 3, 3, 7, 8, 12, 19])
    token = torch.randint(0, 50, row.shape, generator=generator)
    weight = torch.rand(row.shape, generator=generator)
    total, each = layers.cross_entropy(hidden, table, row, token, weight)
    plain = torch.nn.functional.cross_entropy((hidden @ table.T)[row], token, reduction="none")
    torch.testing.assert_close(each, plain.detach())
    assert not each.requires_grad
    torch.testing.assert_close(total, (plain * weight).sum())
    for mine, theirs in zip(
        torch.autograd.grad(3 * total, (hidden, table)),
        torch.autograd.grad(3 * (plain * weight).sum(), (hidden, table)),
        strict=True,
    ):
        torch.testing.assert_close(mine, theirs)
    with torch.no_grad():
        torch.testing.assert_close(layers.cross_entropy(hidden, table, row, token, weight)[0], total.detach())
