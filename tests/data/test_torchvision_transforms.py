"""The paper's augmentation by torchvision: for the same window and flip, boxes, mask and image are those of albumentations."""

import albumentations as A
import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from spg_lightning.data.torchvision_transforms import TorchvisionCompose
from spg_lightning.data.transforms import compose_steps

RESIZE, CROP = 72, 48
BOXES = np.array([[30, 20, 110, 80], [0, 0, 12, 9], [131, 90, 140, 100]], dtype=float)  # two of them in corners
STEPS = (v2.Resize((RESIZE, RESIZE)), v2.RandomCrop((CROP, CROP)), v2.RandomHorizontalFlip(p=0.5))


def arguments():
    """A smooth image of 140 x 100 with three boxes, and a mask of the first box."""
    y, x = np.mgrid[:100, :140]
    mask = np.zeros((100, 140), np.int8)
    mask[20:80, 30:110], mask[:, 120:] = 1, -1
    image = np.stack([x * 1.5, y * 2.0, 60 + x * 0.5 + y], -1).astype(np.uint8)
    return {"image": image, "bboxes": BOXES, "box_rows": [0, 1, 2], "mask": mask}


def drawn(seed):
    """The window and the flip that torchvision's steps draw."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        window = STEPS[1].make_params([torch.zeros(3, RESIZE, RESIZE)])
        return window["top"], window["left"], bool(torch.rand(1) < 0.5)


@pytest.mark.parametrize("seed", range(40))
def test_the_same_window_and_flip_give_the_same_boxes(seed):
    top, left, flip = drawn(seed)
    same = compose_steps([
        A.Resize(RESIZE, RESIZE), A.Crop(left, top, left + CROP, top + CROP), A.HorizontalFlip(p=float(flip))
    ])  # fmt: skip
    transform = TorchvisionCompose(STEPS)
    transform.seed(seed)
    got, expected = transform(**arguments()), same(**arguments())
    assert got["box_rows"].tolist() == list(expected["box_rows"])
    assert np.allclose(got["bboxes"], expected["bboxes"], atol=1e-3)
    assert (got["mask"] != expected["mask"]).mean() < 0.05  # nearest neighbours at the edges
    assert set(np.unique(got["mask"])) <= {-1, 0, 1}
    assert np.abs(got["image"].astype(int) - expected["image"].astype(int)).max() <= 4


def test_draws_are_its_own():
    transform = TorchvisionCompose(STEPS)
    transform.seed(3)
    before = torch.get_rng_state()
    first, second = (transform(**arguments())["image"] for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before)
    assert not np.array_equal(first, second)
    transform.seed(3)
    assert np.array_equal(transform(**arguments())["image"], first)
