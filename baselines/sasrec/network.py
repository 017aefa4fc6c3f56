"""The SASRec network: a causal Transformer over item embeddings that also serve as the output layer.

Kang and McAuley, "Self-Attentive Sequential Recommendation", ICDM 2018, in the form that later re-runs use: layer norm
after each residual sum and after the embeddings (the paper norms the queries only), GELU, a position-wise layer wider
than the model, weights drawn from N(0, 0.02), biases 0, norms 1. Item vectors are neither scaled on the way in nor
biased on the way out.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

__all__ = ["Network"]

INITIAL_STD = 0.02
NORM_EPS = 1e-12


class Block(nn.Module):
    """Causal self-attention and a position-wise layer, each with dropout, residual sum and layer norm."""

    def __init__(self, size: int, heads: int, inner: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.mix = nn.Linear(size, 3 * size)
        self.out = nn.Linear(size, size)
        self.mix_norm = nn.LayerNorm(size, eps=NORM_EPS)
        self.widen = nn.Linear(size, inner)
        self.narrow = nn.Linear(inner, size)
        self.wide_norm = nn.LayerNorm(size, eps=NORM_EPS)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, length, size) to the same shape."""
        batch, length, size = x.shape
        heads = self.mix(x).view(batch, length, 3, self.heads, size // self.heads)
        query, key, value = heads.permute(2, 0, 3, 1, 4)
        dropout = self.dropout if self.training else 0.0
        seen = functional.scaled_dot_product_attention(query, key, value, dropout_p=dropout, is_causal=True)
        seen = self.out(seen.transpose(1, 2).reshape(batch, length, size))
        x = self.mix_norm(x + functional.dropout(seen, self.dropout, self.training))
        wide = self.narrow(functional.gelu(self.widen(x)))
        return self.wide_norm(x + functional.dropout(wide, self.dropout, self.training))


class Network(nn.Module):
    """Item and position embeddings below a stack of blocks.

    Sequences are padded on the *right*: under the causal mask no real position ever sees the padding, so any item may
    serve as padding and no further mask is needed. Positions count from the oldest item of the window.

    Parameters
    ----------
    items : int
        Size of the vocabulary; indices run from 0.
    size, heads, inner, layers, length : int
    dropout, input_dropout : float
        After each sub-layer and in the attention weights; after the embeddings.
    """

    def __init__(
        self,
        items: int,
        *,
        size: int,
        heads: int,
        inner: int,
        layers: int,
        length: int,
        dropout: float,
        input_dropout: float,
    ) -> None:
        super().__init__()
        self.item = nn.Embedding(items, size)
        self.position = nn.Embedding(length, size)
        self.norm = nn.LayerNorm(size, eps=NORM_EPS)
        self.blocks = nn.ModuleList(Block(size, heads, inner, dropout) for _ in range(layers))
        self.length, self.input_dropout = length, input_dropout
        self.apply(_initialise)

    def forward(self, sequence: Tensor) -> Tensor:
        """Encode every prefix of every sequence at once.

        Parameters
        ----------
        sequence : Tensor, shape (batch, length), int64
            Item indices, oldest first.

        Returns
        -------
        Tensor, shape (batch, length, size), float32
            At position p what is known after items 0..p; its dot product with an item's vector is that item's score.
        """
        positions = self.position.weight[: sequence.shape[1]]
        x = self.norm(self.item(sequence) + positions)
        x = functional.dropout(x, self.input_dropout, self.training)
        for block in self.blocks:
            x = block(x)
        return x


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=INITIAL_STD)
    if isinstance(module, nn.Linear):
        nn.init.zeros_(module.bias)
