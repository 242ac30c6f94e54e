"""The images of a prediction and the names of its files."""

from pathlib import Path

from spg_lightning.predicting.inputs import result_names


def test_no_two_images_share_a_file_name():
    images = [
        Path(p) for p in ("a/x.jpg", "a/x.png", "a/X.jpg", "r/a/b_c/x.jpg", "r/a_b/c/x.jpg", "other/r/a_b/c/x.jpg")
    ]
    names = result_names(images)
    assert names[images[0]] == "a_x"
    assert names[images[1]] == "a_x_png"
    assert len({name.lower() for name in names.values()}) == len(images)
