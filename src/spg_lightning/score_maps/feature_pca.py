"""The first principal component of pretrained features: deep descriptor transforming (Wei et al., Pattern Recognition 2019)."""

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor

from spg_lightning.errors import UserError
from spg_lightning.score_maps.training_free import TrainingFreeMap


class FeaturePCA(TrainingFreeMap):
    """Projection of the features on their first principal component over the training images, negative values cut off.

    Deviation: the paper fits one component a class; here one for all classes. Its sign is such that it correlates with the sum
    of the features.
    """

    mean: Tensor | None = None
    component: Tensor | None = None

    def evidence(self, features: Float[Tensor, "B D H W"]) -> Float[Tensor, "B 1 H W"]:
        """Return the projections.

        Raises:
            UserError: nothing was fitted.
        """
        if self.mean is None or self.component is None:
            raise UserError("score_map=feature_pca has not been fitted; train with it, or choose feature_norm")
        mean, component = self.mean.to(features), self.component.to(features)
        projected = torch.einsum("bdhw,d->bhw", features, component) - mean @ component
        return projected.unsqueeze(1).clamp_min(0)

    def fit(self, images: Iterable[Float[Tensor, "B 3 Y X"]]) -> None:
        """Compute mean and first component over all cells of all images, in float64."""
        count, total, products = 0, torch.zeros(()), torch.zeros(())
        for rgb in images:
            cells = self.features(rgb).movedim(1, -1).flatten(0, -2).double()
            count, total, products = count + len(cells), total + cells.sum(0), products + cells.T @ cells
        mean = total / count
        covariance = products / count - torch.outer(mean, mean)
        component = torch.linalg.eigh(covariance).eigenvectors[:, -1]
        sign = 1.0 if (covariance.sum(0) @ component) >= 0 else -1.0  # of the covariance with the sum
        self.mean, self.component = mean.float(), (sign * component).float()

    def state(self) -> dict[str, Tensor]:
        """Return mean and component."""
        return {} if self.mean is None or self.component is None else {"mean": self.mean, "component": self.component}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Restore mean and component."""
        self.mean, self.component = state.get("mean"), state.get("component")
