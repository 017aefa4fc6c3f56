"""A residual-quantised autoencoder, small enough for a CPU (Zeghidour et al. 2021; Rajput et al. 2023).

It begins as a plain autoencoder, so that the code books, found by residual k-means in its latent space, start where the
data are; codes that no item takes in a pass are moved to what some item's levels left over. Imports torch: import it
inside a method.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from llm_models.indexing.quantise import Quantiser, residual_kmeans

__all__ = ["RQVAESettings", "train_rqvae"]


@dataclass(frozen=True)
class RQVAESettings:
    """How it is built and trained.

    Attributes
    ----------
    hidden, latent : int
        Widths of the layer between, and of what is quantised.
    steps : int or None
        Optimiser steps, of which the first tenth is spent without quantisation; ``None``: 200 passes over the items,
        but 500 steps at least and 2,000 at most.
    batch : int
    learning_rate : float
    commitment : float
        Weight of the loss that draws latent vectors to their codes, beside 1 for codes to vectors.
    """

    hidden: int = 128
    latent: int = 32
    steps: int | None = None
    batch: int = 1_024
    learning_rate: float = 1e-3
    commitment: float = 0.25

    def steps_for(self, items: int) -> int:
        """Optimiser steps on so many items."""
        return self.steps or min(2_000, max(500, 200 * -(-items // self.batch)))


class _Network(nn.Module):
    def __init__(self, width: int, levels: int, codebook: int, settings: RQVAESettings) -> None:
        super().__init__()
        hidden, latent = settings.hidden, settings.latent
        self.encoder = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, latent))
        self.decoder = nn.Sequential(nn.Linear(latent, hidden), nn.ReLU(), nn.Linear(hidden, width))
        self.books = nn.Parameter(torch.zeros(levels, codebook, latent))

    def quantise(self, latent: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Codes (batch, levels), the sum of their vectors (batch, latent), and what each level was given."""
        rest, total, codes, given = latent, torch.zeros_like(latent), [], []
        for book in self.books:
            code = torch.cdist(rest.detach(), book.detach()).argmin(dim=1)
            chosen = book[code]
            codes.append(code)
            given.append(rest)
            total = total + chosen
            # A level answers for what it was given; the encoder hears of it from the commitment alone.
            rest = rest - chosen.detach()
        return torch.stack(codes, dim=1), total, given


def train_rqvae(
    vectors: NDArray[np.float32],
    *,
    levels: int,
    codebook: int,
    seed: int,
    settings: RQVAESettings | None = None,
) -> tuple[Quantiser, list[float]]:
    """Train on unit vectors.

    Parameters
    ----------
    vectors : ndarray of float32, shape (items, width)
    levels, codebook : int
        No more codes than items are made.
    seed : int
        The same seed gives the same code books (on the same number of threads).

    Returns
    -------
    quantiser : Quantiser
    curve : list of float
        Mean squared error of the reconstruction from codes after each pass, in units of the vectors' variance; the
        first is that of the code books as k-means left them.
    """
    settings = settings or RQVAESettings()
    codebook = min(codebook, len(vectors))
    spread = float(np.sqrt(np.mean(np.var(vectors, axis=0)))) or 1.0
    data = torch.from_numpy(vectors / np.float32(spread))
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = _Network(vectors.shape[1], levels, codebook, settings)
    optimiser = torch.optim.AdamW(network.parameters(), lr=settings.learning_rate, weight_decay=0.0, fused=True)
    steps, step = settings.steps_for(len(data)), 0
    warm = steps // 10
    curve: list[float] = []
    while step < steps:
        used = torch.zeros(levels, codebook)
        order = torch.randperm(len(data), generator=generator)
        for rows in order.split(settings.batch):
            if step == warm:
                _start_books(network, data, seed)
                curve.append(_error(network, data))
            loss = _loss(network, data[rows], settings.commitment, used if step >= warm else None)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            step += 1
            if step == steps:
                break
        else:
            if step > warm:
                curve.append(_error(network, data))
                # In the last quarter nothing is moved any more, so that all settles.
                if used.sum() >= levels * len(data) and step < 0.75 * steps:
                    _revive(network, data, used, generator)
    curve.append(_error(network, data))
    inner = [layer for layer in network.encoder if isinstance(layer, nn.Linear)]
    layers = tuple((layer.weight.detach().numpy().T.copy(), layer.bias.detach().numpy().copy()) for layer in inner)
    return Quantiser(layers, network.books.detach().numpy().copy(), 1.0 / spread), curve


def _loss(network: _Network, batch: Tensor, commitment: float, used: Tensor | None) -> Tensor:
    """Reconstruction, and between codes and what they stand for; counts the codes used; no codes: reconstruction."""
    latent = network.encoder(batch)
    if used is None:
        return nn.functional.mse_loss(network.decoder(latent), batch)
    codes, total, given = network.quantise(latent)
    # Straight through: the decoder reads codes, and the encoder gets its gradient as if it had read the latent vector.
    loss = nn.functional.mse_loss(network.decoder(latent + (total - latent).detach()), batch)
    for level, rest in enumerate(given):
        chosen = network.books[level][codes[:, level]]
        used[level] += torch.bincount(codes[:, level], minlength=used.shape[1])
        loss = loss + nn.functional.mse_loss(chosen, rest.detach())
        loss = loss + commitment * nn.functional.mse_loss(rest, chosen.detach())
    return loss


@torch.no_grad()
def _start_books(network: _Network, data: Tensor, seed: int) -> None:
    latent = network.encoder(data).numpy()
    levels, codebook, _ = network.books.shape
    network.books.copy_(torch.from_numpy(residual_kmeans(latent, levels=levels, codebook=codebook, seed=seed)))


@torch.no_grad()
def _error(network: _Network, data: Tensor) -> float:
    _, total, _ = network.quantise(network.encoder(data))
    return float(nn.functional.mse_loss(network.decoder(total), data))


@torch.no_grad()
def _revive(network: _Network, data: Tensor, used: Tensor, generator: torch.Generator) -> None:
    """Move codes that no item took to what random items' earlier levels left over."""
    _, _, given = network.quantise(network.encoder(data))
    for level, rest in enumerate(given):
        dead = (used[level] == 0).nonzero()[:, 0]
        network.books[level, dead] = rest[torch.randint(len(data), (len(dead),), generator=generator)]
