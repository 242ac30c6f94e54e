"""Panels of the gallery: proportions, colours, captions and legends."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from PIL import ImageFont

from spg_lightning.reporting import gallery, overlay
from spg_lightning.reporting.gallery import SIDE, panels
from spg_lightning.reporting.samples import SampleView


def view_of(shape, truth=(), masks=None):
    """Return a view of a grey photo of `shape` (height, width), whose map is high in its upper half."""
    score_map = np.repeat([1.0, 0.0], 4)[:, None].repeat(8, 1).astype(np.float32)
    return SampleView(
        0, "test/a", "wren", "wren", np.full((*shape, 3), 128, np.uint8), list(truth), (0, 0, shape[1], shape[0] / 2), 0.5,
        score_map, masks or {}, "c", score_map, 0.5, None,
    )  # fmt: skip


@pytest.mark.parametrize("shape", [(80, 320), (320, 80), (100, 100)])
def test_every_panel_has_the_proportions_of_the_photo(shape):
    masks = {"b1": np.zeros((8, 8), np.int8)}
    drawn = panels(view_of(shape, masks=masks))
    assert len(drawn) == 6
    for caption, panel in drawn:
        assert max(panel.shape) == SIDE, caption
        assert panel.shape[0] / panel.shape[1] == pytest.approx(shape[0] / shape[1], rel=0.01), caption


def test_boxes_follow_the_photo_to_the_size_of_its_panel():
    panel = dict(panels(view_of((80, 320), truth=[(160.0, 0.0, 320.0, 80.0)])))["ground truth"]
    green = np.argwhere((panel == overlay.TRUTH).all(-1))
    assert green[:, 1].min() == pytest.approx(SIDE / 2, abs=2)
    assert green[:, 1].max() == pytest.approx(SIDE, abs=2)


def test_without_boxes_no_panel_is_called_ground_truth():
    assert next(caption for caption, _ in panels(view_of((80, 80)))) == "image"


def test_colours_of_boxes_and_masks_differ_by_far():
    colours = [*overlay.BOXES.values(), *overlay.MASK.values(), *overlay.TERNARY.values()]
    for one, other in itertools.combinations(colours, 2):
        assert np.linalg.norm(np.subtract(one, other)) > 100, (one, other)


@pytest.mark.parametrize("width", [150, 260, 900])
def test_a_legend_takes_the_lines_that_it_needs(width):
    entries = overlay.BOXES | overlay.MASK | overlay.TERNARY
    drawn = overlay.legend(width, entries)
    assert drawn.shape[1] == width
    assert (drawn[:, -1] == 255).all(), "something reaches the edge"
    for text, colour in entries.items():
        assert (drawn == colour).all(-1).sum() > 80, text


def test_a_long_caption_stays_in_its_column():
    row = overlay.panel_row(
        [("Yellow headed Blackbird of the western mountains (wrong)", np.zeros((9, 60, 3), np.uint8))], 60
    )
    assert (row[:20, :5] == 255).all()
    assert (row[:20, -5:] == 255).all()
    assert ImageFont.load_default(size=14).getlength("Yellow headed Blackbird") > 60


def test_every_image_has_a_file_of_its_own(monkeypatch, tmp_path):
    images = ("a/b_c.jpg", "a_b/c.jpg", "overview.jpg", f"{'long' * 80}.jpg")
    views = [replace(view_of((80, 80)), image=image) for image in images]
    monkeypatch.setattr(gallery, "collect_views", lambda *_: views)
    gallery.write_gallery(tmp_path, None, None, None, len(views))
    assert len(list(tmp_path.iterdir())) == len(views) + 1
