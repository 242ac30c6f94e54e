"""Augmentation as a config: the seed determines every draw, boxes follow, and a wrong size is refused."""

import albumentations as A
import numpy as np
import pytest
from torchvision.transforms import v2

from spg_lightning.config.build import instantiate_node
from spg_lightning.config.compose import compose
from spg_lightning.data.transforms import augmentation_transform, is_paper_augmentation, seed_transform, train_transform
from spg_lightning.errors import UserError

RESIZE, CROP = 72, 48
CHOICES = ("paper", "none", "color", "resized_crop", "torchvision")
BOX = np.array([[30, 20, 110, 80]], dtype=float)


def steps_of(name):
    size = [f"dataset.resize={RESIZE}", f"dataset.crop={CROP}"]
    return instantiate_node(compose("train", [f"augmentation={name}", *size, "output_dir=x"]).augmentation.steps)


def image(bright=True):
    """A grey image of 140 x 100 with noise and, if wanted, a bright box."""
    pixels = np.random.default_rng(0).integers(0, 60, (100, 140, 3), dtype=np.uint8)
    if bright:
        pixels[20:80, 30:110] = 220
    return pixels


def run(transform, seed):
    seed_transform(transform, seed)
    return transform(image=image(), bboxes=BOX, box_rows=[0])


@pytest.mark.parametrize("name", CHOICES)
def test_a_seed_determines_every_draw(name):
    transform, other = (augmentation_transform(steps_of(name), RESIZE, CROP) for _ in range(2))
    forwards = [run(transform, seed) for seed in range(20)]
    backwards = [run(other, seed) for seed in reversed(range(20))][::-1]
    for one, two in zip(forwards, backwards, strict=True):
        assert np.array_equal(one["image"], two["image"])
        assert np.array_equal(one["bboxes"], two["bboxes"])
    if name != "none":
        assert len({out["image"].tobytes() for out in forwards}) == 20


def test_steps_inside_of_others_follow_the_seed():
    steps = [
        A.Resize(CROP, CROP),
        A.SomeOf([A.ColorJitter(), A.GaussNoise(), A.CoarseDropout()], n=2, p=1.0),
        A.OneOf([A.Rotate(p=1.0), A.Sequential([A.HorizontalFlip(), A.RandomBrightnessContrast()])], p=0.9),
    ]
    transform = augmentation_transform(steps, RESIZE, CROP)
    forwards = [run(transform, seed)["image"] for seed in range(20)]
    backwards = [run(transform, seed)["image"] for seed in reversed(range(20))][::-1]
    assert np.array_equal(forwards, backwards)


def test_paper_is_the_transform_of_the_paper_bit_for_bit():
    configured, written = augmentation_transform(steps_of("paper"), RESIZE, CROP), train_transform(RESIZE, CROP)
    for seed in range(50):
        one, two = run(configured, seed), run(written, seed)
        assert np.array_equal(one["image"], two["image"])
        assert np.array_equal(one["bboxes"], two["bboxes"])


@pytest.mark.parametrize("name", CHOICES)
def test_boxes_follow(name):
    transform = augmentation_transform(steps_of(name), RESIZE, CROP)
    for seed in range(30):
        out = run(transform, seed)
        bright = out["image"].min(-1).astype(int) > 0.5 * out["image"].max() if name == "color" else None
        bright = out["image"].min(-1) > 140 if bright is None else bright
        if not len(out["bboxes"]):  # the window lies beside the box
            assert name == "resized_crop"
            continue
        rows, columns = np.where(bright.any(1))[0], np.where(bright.any(0))[0]
        found = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
        assert np.abs(out["bboxes"][0] - found).max() <= 1.5


WRONG = {
    "no step sets the size": ([A.HorizontalFlip()], "gives 72 x 72 x 3, uint8, from an image of 72 x 72"),
    "only some images are cropped": ([A.Resize(72, 72), A.RandomCrop(48, 48, p=0.5)], "gives 72 x 72 x 3"),
    "small images are not resized": ([A.RandomCrop(48, 48)], "fails on an image of 25 x 96"),
    "normalized twice": ([A.Resize(48, 48), A.Normalize()], "gives 48 x 48 x 3, float32"),
    "a tensor": ([A.Resize(48, 48), A.ToTensorV2()], "gives 3 x 48 x 48, torch.uint8"),
    "not a transform": (["flip"], "'flip' is not an albumentations transform"),
    "of both libraries": ([A.Resize(48, 48), v2.RandomHorizontalFlip()], "v2 transforms cannot be mixed"),
    "torchvision without a size": ([v2.RandomHorizontalFlip()], "gives 72 x 72 x 3, uint8, from an image of 72 x 72"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_does_not_give_the_networks_input_is_refused(name):
    steps, words = WRONG[name]
    with pytest.raises(UserError, match=words) as error:
        augmentation_transform(steps, RESIZE, CROP)
    assert "augmentation" in str(error.value)
    assert "\n" not in str(error.value)
    if "transform" not in words:
        assert "dataset.crop=48" in str(error.value)


def test_only_the_papers_steps_are_the_papers():
    assert is_paper_augmentation(steps_of("paper"), RESIZE, CROP)
    for name in CHOICES[1:]:
        assert not is_paper_augmentation(steps_of(name), RESIZE, CROP)
    assert not is_paper_augmentation(steps_of("paper"), RESIZE, CROP - 1)
    assert not is_paper_augmentation([*steps_of("paper")[:2], A.HorizontalFlip(p=0.4)], RESIZE, CROP)
