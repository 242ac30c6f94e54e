"""The file names of an image's results."""

from pathlib import Path

import pytest

from spg_lightning.utils.file_names import result_name


def test_no_two_images_share_a_file_name():
    images = [
        Path(p) for p in ("a/x.jpg", "a/x.png", "a/X.jpg", "r/a/b_c/x.jpg", "r/a_b/c/x.jpg", "other/r/a_b/c/x.jpg")
    ]
    taken: set[str] = set()
    names = []
    for image in images:
        names.append(result_name(image, taken))
        taken.add(names[-1].lower())
    assert names[:2] == ["a_x", "a_x_png"]
    assert len(taken) == len(images)


@pytest.mark.parametrize(
    "name", ["a\nb", "<script>", 'q"uote', "x" * 250, "鳥" * 80, b"caf\xe9".decode(errors="surrogateescape")]
)
def test_every_name_gives_a_file_name(name, tmp_path):
    found = result_name(Path("folder") / f"{name}.jpg", set())
    (tmp_path / f".{found}.png.tmp").write_bytes(b"")
    assert "\n" not in found
    assert "/" not in found
