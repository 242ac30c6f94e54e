"""The images of a prediction."""

import io
import os

import pytest

from spg_lightning.errors import UserError
from spg_lightning.predicting.inputs import find_images


def photos(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"a photo")
    return folder


def names_of(images, root):
    return [str(image.relative_to(root)) for image in images]


def test_a_folder_is_searched_in_order_without_the_results(tmp_path):
    photos(
        tmp_path,
        "b/2.jpg",
        "a/1.PNG",
        "0.webp",
        "notes.txt",
        "out/overlays/1.png",
        "old/overlays/1.png",
        "old/predictions.jsonl",
    )
    found = find_images(str(tmp_path), tmp_path / "out")
    assert names_of(found, tmp_path) == ["0.webp", "a/1.PNG", "b/2.jpg"]
    assert names_of(find_images(f"{tmp_path}/**/*.png", tmp_path / "out"), tmp_path) == ["old/overlays/1.png"]


def test_pipes_broken_links_and_loops_are_skipped_in_words(tmp_path, caplog):
    photos(tmp_path, "a/1.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nothing.jpg")
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    (tmp_path / "folder.jpg").mkdir()
    assert names_of(find_images(str(tmp_path)), tmp_path) == ["a/1.jpg"]
    for word in ("pipe.jpg: a pipe", "gone.jpg: a broken link", "a folder that was visited already"):
        assert word in caplog.text
    with pytest.raises(UserError, match="no regular file"):
        find_images(str(tmp_path / "pipe.jpg"))


def test_a_link_to_itself_is_no_image(tmp_path, caplog):
    (tmp_path / "self.jpg").symlink_to(tmp_path / "self.jpg")
    with pytest.raises(UserError, match="images="):
        find_images(str(tmp_path / "self.jpg"), tmp_path / "out")
    assert "self.jpg: a broken link" in caplog.text


def test_a_linked_folder_is_read_once(tmp_path):
    photos(tmp_path, "real/1.jpg")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "link").symlink_to(tmp_path / "real")
    assert names_of(find_images(str(tmp_path / "photos")), tmp_path) == ["photos/link/1.jpg"]


def test_lists_of_paths(tmp_path, monkeypatch):
    photos(tmp_path, "x/2.jpg", "x/1.jpg")
    listed = tmp_path / "list.txt"
    listed.write_text(f"x/2.jpg\n\n{tmp_path}/x/1.jpg\nx/2.jpg\n")
    assert names_of(find_images(str(listed)), tmp_path) == ["x/2.jpg", "x/1.jpg"]
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{tmp_path}/x/1.jpg\n"))
    assert names_of(find_images("-"), tmp_path) == ["x/1.jpg"]
    listed.write_text("x/3.jpg\n")
    with pytest.raises(UserError, match=r"list\.txt, line 1: x/3\.jpg is missing"):
        find_images(str(listed))
    listed.write_text("\n")
    with pytest.raises(UserError, match="names no image"):
        find_images(str(listed))


def test_nothing_there_is_one_line(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no image in this folder"):
        find_images(str(tmp_path / "empty"))
    with pytest.raises(UserError, match="no such file or folder"):
        find_images(str(tmp_path / "nowhere"))


def test_brackets_and_commas_are_letters_of_an_existing_path(tmp_path):
    photos(tmp_path, "fol[a]der/1.jpg", "a,b.jpg")
    assert names_of(find_images(str(tmp_path / "fol[a]der")), tmp_path) == ["fol[a]der/1.jpg"]
    assert names_of(find_images(str(tmp_path / "a,b.jpg")), tmp_path) == ["a,b.jpg"]
