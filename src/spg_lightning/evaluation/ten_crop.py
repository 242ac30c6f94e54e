"""Class scores as the mean over ten crops of a test image (paper section 4.1)."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor
from torchvision.transforms.functional import ten_crop

from spg_lightning.data.images import ImageFiles
from spg_lightning.errors import UserError
from spg_lightning.localizer import resize_to_square
from spg_lightning.spg.network import SPGNetwork

CROPS = 10
TOP = 5


class TenCrop:
    """Ranks the classes of images by their mean probability over four corners and the centre, each also mirrored.

    The whole image is resized to `resize` x `resize` first, as in training; score maps see it at `crop` x `crop`, uncropped.

    Args:
        network: in evaluation mode.
        files: of the images, which are read again.
        resize, crop: sides in pixels of the resized image and of its crops.

    Raises:
        UserError: the crops would all be the whole image.
    """

    def __init__(self, network: SPGNetwork, files: ImageFiles, resize: int, crop: int) -> None:
        if resize <= crop:
            raise UserError(
                f"crops={CROPS}: images of {resize} pixels have no corners of {crop}; give `dataset=` with a larger "
                "dataset.resize, or leave crops out"
            )
        self.network, self.resize, self.crop = network, resize, crop
        records, self.read = files.records, files
        self.index_of = {image: index for index, image in enumerate(records.images)}

    def __call__(self, images: UInt8[Tensor, "B 3 Y X"], image_ids: Sequence[str]) -> Int[Tensor, "B n"]:
        """Return the most probable classes, at most five, the most probable first; see `Ranking`."""
        mean = self.probabilities(image_ids)
        return mean.topk(min(TOP, mean.shape[1]), dim=1).indices

    @torch.no_grad()
    def probabilities(self, image_ids: Sequence[str]) -> Float[Tensor, "B K"]:
        """Return the mean probabilities of images of the records."""
        with ThreadPoolExecutor(torch.get_num_threads()) as pool:  # decoders release Python's lock
            resized = np.stack([*pool.map(self._resized, image_ids)])
        photos = torch.from_numpy(resized).permute(0, 3, 1, 2).to(next(self.network.parameters()).device)
        crops = ten_crop(photos, self.crop)
        scores = [self.network(self.network.stem.normalize(crop), ()).logits.float().softmax(1) for crop in crops]
        return torch.stack(scores).mean(0)

    def _resized(self, image_id: str) -> UInt8[np.ndarray, "S S 3"]:
        return resize_to_square(self.read(self.index_of[image_id]), self.resize)
