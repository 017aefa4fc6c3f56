"""Matrix factorisation of ratings, with biases, by alternating least squares."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from baselines.lookup import positions
from baselines.rating.als import Side, group, objective, solve
from baselines.rating.ratings import Ratings
from bench.models import (
    Budget,
    Capabilities,
    FitReport,
    Progress,
    Recommender,
    Requests,
    Selection,
    Settings,
    Training,
    Validate,
)

__all__ = ["MF", "MFSettings"]


class MFSettings(Settings):
    """Settings of :class:`MF`; the defaults were chosen on the validation ratings of MovieLens-100K.

    Attributes
    ----------
    factors : int
        Length of the vectors of users and items.
    ridge : float
        Penalty on the squared entries of every vector.
    bias_ridge : float
        Penalty on the squared biases: as many ratings at the mean are added to each user's and item's own.
    """

    factors: int = Field(16, ge=1)
    ridge: float = Field(15.0, gt=0)
    bias_ridge: float = Field(5.0, gt=0)


class MF(Recommender):
    r"""Stars as the mean of all, plus a bias of the user and of the item, plus the product of their vectors.

    .. math:: \hat r_{ui} = \mu + b_u + b_i + p_u^\top q_i

    minimises squared errors with an L2 penalty (Koren, Bell and Volinsky, "Matrix factorization techniques for
    recommender systems", Computer 42(8), 2009). Users and items are solved for in turn, each bias together with its
    vector, exactly (alternating least squares; Zhou, Wilkinson, Schreiber and Pan, "Large-scale parallel collaborative
    filtering for the Netflix prize", AAIM 2008, here with the same penalty for everyone). Chosen over stochastic
    gradients because a handful of sweeps without a learning rate reaches the optimum they creep towards. A sweep
    over all users and then all items is one step, and one epoch, of the budget.

    Ratings are kept within the range of those in training. Requests show which items a newcomer met but not what they
    thought of them, so there is nothing to fold in: what was never met has bias 0 and a vector of zeros, where
    the penalty leaves parameters that no rating speaks of.
    """

    Settings: ClassVar[type[Settings]] = MFSettings
    capabilities: ClassVar[Capabilities] = Capabilities(
        tasks=frozenset({"rating"}), cold_users="the item's bias", cold_items="the user's bias"
    )
    version: ClassVar[str] = "1"
    side: ClassVar[Literal["classic"]] = "classic"
    libraries: ClassVar[tuple[str, ...]] = ("numpy",)

    settings: MFSettings
    _mean: float
    _range: tuple[float, float]
    _codes: tuple[NDArray[np.int32], NDArray[np.int32]]
    _sides: tuple[Side, Side]

    @classmethod
    def label(cls, settings: Settings) -> str:
        """The name a table prints, with the number of factors."""
        assert isinstance(settings, MFSettings)
        return f"MF-ALS {settings.factors} factors"

    def fit(
        self, training: Training, *, validate: Validate, budget: Budget, seed: int, progress: Progress
    ) -> FitReport:
        """Sweep until the validation number no longer improves; only the items' first vectors are drawn.

        Raises
        ------
        MissingInputError
            When nothing in training is rated.
        ModelError
            When the budget never ends.
        """
        budget.must_end()
        ratings = Ratings.of(training)
        ridge, bias_ridge = self.settings.ridge, self.settings.bias_ridge
        self._codes, self._range, self._mean = (
            (ratings.users, ratings.items),
            ratings.range,
            float(ratings.stars.mean()),
        )
        stars = ratings.stars - self._mean
        of_user, of_item = group(ratings.user, len(ratings.users)), group(ratings.item, len(ratings.items))
        rng = np.random.default_rng(seed)
        items = Side(np.zeros(len(ratings.items)), rng.normal(0, 0.1, (len(ratings.items), self.settings.factors)))
        selection, best, sweep = Selection(budget), None, 0
        while not selection.stopped:
            sweep += 1
            users = solve(of_user, ratings.item, stars, items, ridge=ridge, bias_ridge=bias_ridge)
            items = solve(of_item, ratings.user, stars, users, ridge=ridge, bias_ridge=bias_ridge)
            if not budget.due(sweep, sweep):
                continue
            loss = objective(users, items, ratings.user, ratings.item, stars, ridge=ridge, bias_ridge=bias_ridge)
            self._sides = users, items
            if (
                selection.observe(step=sweep, epoch=sweep, loss=loss / len(stars), validation=validate(self))
                or not best
            ):
                best = self._sides
            progress(sweep, budget.max_epochs or budget.max_steps or sweep, f"validation {selection.best_value:.4f}")
        assert best is not None
        self._sides = best
        learned = 1 + sum(side.bias.size + side.factors.size for side in best)
        return FitReport(parameters_trained=learned, parameters_total=learned, **selection.report_fields())

    def rate(self, requests: Requests) -> NDArray[np.float32]:
        """Predicted stars; see the class for users and items never met."""
        assert requests.item is not None
        (users, items), (of_user, of_item) = self._codes, self._sides
        bias_u, vector_u = _rows(of_user, positions(users, requests.user))
        bias_i, vector_i = _rows(of_item, positions(items, requests.item))
        stars = self._mean + bias_u + bias_i + np.sum(vector_u * vector_i, axis=1)
        return np.clip(stars, *self._range).astype(np.float32)

    def save(self, folder: Path) -> None:
        """Write ``mf.npz``."""
        (users, items), (of_user, of_item) = self._codes, self._sides
        np.savez(
            folder / "mf.npz",
            mean=self._mean,
            range=self._range,
            users=users,
            items=items,
            user_bias=of_user.bias,
            user_factors=of_user.factors,
            item_bias=of_item.bias,
            item_factors=of_item.factors,
        )

    @classmethod
    def load(cls, folder: Path, settings: Settings, *, device: str = "cpu") -> Self:
        """Read ``mf.npz``."""
        model = cls(settings, device=device)
        with np.load(folder / "mf.npz", allow_pickle=False) as stored:
            model._mean, model._range = float(stored["mean"]), tuple(stored["range"].tolist())
            model._codes = stored["users"], stored["items"]
            model._sides = (
                Side(stored["user_bias"], stored["user_factors"]),
                Side(stored["item_bias"], stored["item_factors"]),
            )
        return model


def _rows(side: Side, place: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Biases and vectors at ``place``; zeros for -1."""
    met = place >= 0
    return np.where(met, side.bias[place], 0.0), np.where(met[:, None], side.factors[place], 0.0)
