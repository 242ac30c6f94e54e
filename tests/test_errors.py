"""What is left of an error's text on one line."""

from spg_lightning.errors import shorten_words


def test_words_that_are_no_paths_lose_their_middle():
    path = "/" + "folder/" * 40 + "image.jpg"
    assert shorten_words(f"{path} is missing") == f"{path} is missing"
    short = shorten_words(f"class_labels.txt: no row for {'x' * 1_000_000}; add it")
    assert short == f"class_labels.txt: no row for {'x' * 60}...{'x' * 19}; add it"
