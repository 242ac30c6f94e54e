"""Training-free maps of whole splits: cache, floor, boxes to choose by, and faults."""

import logging
import shutil

import numpy as np
import pytest

from spg_lightning import UserError, build_network, compose
from spg_lightning.config.build import build_data, build_training_free
from spg_lightning.evaluation.cached_maps import own_threshold
from spg_lightning.localization.metrics import summarize
from spg_lightning.reporting.tables import result_table
from tests.callbacks.helpers import SMALL, run
from tests.trees import write_cub

OWN = (
    *SMALL, "stem.weights=imagenet", "stem.pretrained.weights=imagenet", "training_free.image_side=64", "training_free.side=16",
    "training_free.refine.side=32",
)  # fmt: skip


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SPG_LIGHTNING_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "training_free"


def build(root, *overrides):
    cfg = compose("train", [*OWN, f"dataset.root={root}", "output_dir=unused", *overrides])
    data = build_data(cfg)
    data.setup()
    return build_training_free(cfg), build_network(cfg, num_classes=len(data.class_names)), data


def test_an_image_is_computed_once_and_a_changed_one_again(cub, cache, monkeypatch):
    maps, network, data = build(cub)
    files = maps.compute(network, data, "train")
    before = {path: path.stat().st_mtime_ns for path in cache.rglob("*.npy")}
    assert len(before) == len(data.records["train"])
    assert files(0).shape == (16, 16)
    assert files(0).dtype == np.uint8
    monkeypatch.setattr(type(maps), "_maps", lambda *_: pytest.fail("computed again"))
    maps, network, data = build(cub, "seed=1")  # another val split of the same images: only those new here are missing
    monkeypatch.undo()
    monkeypatch.setenv("SPG_LIGHTNING_CACHE", str(cache.parent))
    maps.compute(network, data, "train")
    after = {path: path.stat().st_mtime_ns for path in cache.rglob("*.npy")}
    assert {path: after[path] for path in before} == before
    assert len(before) < len(after) <= len(before) + len(data.records["val"])
    other, network, data = build(cub, "training_free.name=pretrained_cam")
    assert other.compute(network, data, "val").folder != files.folder


def test_maps_that_are_fitted_are_the_same_for_every_val_split(cub, cache):
    fitted, folders = [], set()
    for seed in (0, 1):
        maps, network, data = build(cub, "training_free.name=feature_pca", f"seed={seed}")
        folders.add(maps.compute(network, data, "test").folder)
        maps._fit(network, data)
        fitted.append(maps.parts["feature_pca"].state()["component"].numpy())
    assert len(folders) == 1
    assert not np.array_equal(data.records["train"].images, build(cub)[2].records["train"].images)
    assert np.allclose(*fitted, atol=1e-4)


def test_a_killed_computation_goes_on_where_it_was(cub, cache, monkeypatch):
    maps, network, data = build(cub)
    write, written = "spg_lightning.evaluation.cached_maps.write_maps", []

    def dies(path, levels):
        if len(written) == 5:
            raise KeyboardInterrupt
        written.append(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, levels)

    with monkeypatch.context() as patch:
        patch.setattr(write, dies)
        with pytest.raises(KeyboardInterrupt):
            maps.compute(network, data, "test")
    stamps = {path: path.stat().st_mtime_ns for path in written}
    maps.compute(network, data, "test")
    assert {path: path.stat().st_mtime_ns for path in written} == stamps
    assert len(list(cache.rglob("*.npy"))) == len(data.records["test"])


def test_a_damaged_file_is_computed_again(cub, cache):
    maps, network, data = build(cub)
    files = maps.compute(network, data, "test")
    whole = files(3).astype(int)
    files.path(3).write_bytes(files.path(3).read_bytes()[:200])
    assert not files.has(3)
    assert np.abs(maps.compute(network, data, "test")(3) - whole).max() <= 1  # in a batch of another size


def test_the_floor_of_a_run_is_the_metric_of_its_maps(cub, cache, tmp_path):
    result = run(cub, tmp_path / "run", *OWN[len(SMALL) :], "trainer.max_epochs=1")
    maps, network, data = build(cub)
    counts = {
        split: maps.counts(maps.compute(network, data, split), data, split, 50, "gt_known") for split in ("val", "test")
    }
    expected = summarize(counts["test"], counts["val"])
    for name in ("gt_known_error", "gt_known_error_oracle", "max_box_acc_v2", "threshold"):
        assert result.metrics[f"test/floor_training_free_{name}"] == expected[name]
    row = next(row for row in result_table(result.evaluation).rows if row.cells[0] == "training-free")
    assert row.kind == "floor"
    assert row.cells[1] == f"{expected['gt_known_error']:.1f}"


def test_masks_are_measured_as_in_an_evaluation(tmp_path, cache):
    """The ground-truth mask comes without its image, and is that of the sample."""
    root = write_cub(tmp_path / "cub", per_class=6, segmentations=True)
    maps, network, data = build(root)
    dataset = data.dataset("test")
    assert all(np.array_equal(dataset.true_mask(index), dataset[index]["mask"]) for index in range(len(dataset)))
    counts = maps.counts(maps.compute(network, data, "test"), data, "test", 100, "gt_known")
    assert counts.has_masks
    assert counts.num_boxed == len(dataset)


def test_boxes_are_in_the_images_pixels(cub, cache):
    maps, network, data = build(cub)
    records = data.records["val"]
    boxes = maps.boxes(maps.compute(network, data, "val"), records)
    assert boxes.shape == (len(records), 4)
    assert (boxes[:, 2:] <= records.sizes).all()
    assert (boxes[:, :2] < boxes[:, 2:]).all()


def test_a_corrupt_image_has_no_map_and_many_stop(tmp_path, cache, caplog):
    root = write_cub(tmp_path / "cub", per_class=6)
    maps, network, data = build(root)
    records = data.records["test"]
    (records.root / records.images[1]).write_bytes(b"no photo")
    files = maps.compute(network, data, "test")
    assert not files.path(1).exists()
    assert maps.boxes(files, records)[1].tolist() == [0, 0, *records.sizes[1].tolist()]
    again = maps.compute(network, data, "test")
    assert not again.path(1).exists(), "the next run does not stop at the one corrupt image"
    shutil.rmtree(cache)
    for image in records.images[2:]:
        (records.root / image).write_bytes(b"none")
    with pytest.raises(UserError, match=r"feature_norm: (\d+) of \d+ test images cannot be read; restore them"):
        maps.compute(network, data, "test")


def test_no_weights_no_floor(cub, caplog):
    cfg = compose("train", [*SMALL, f"dataset.root={cub}", "output_dir=unused"])  # stem.weights=none
    assert build_training_free(cfg) is None
    none = [*SMALL, "stem.weights=imagenet", "training_free=none", f"dataset.root={cub}", "output_dir=unused"]
    assert build_training_free(compose("train", none)) is None
    caplog.set_level(logging.WARNING)
    missing = compose(
        "train", [*SMALL, "stem.pretrained.weights=/nowhere.pth", f"dataset.root={cub}", "output_dir=unused"]
    )
    assert build_training_free(missing) is None
    assert "no training-free baseline" in caplog.text


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training_free.name=b1", "training_free.name=b1: b1 is not in training_free.maps; it has pretrained_cam"),
        ("training_free.threshold=1", "training_free.threshold=1: choose null, or a number, 0 or more and below 1"),
    ],
)
def test_mistakes_have_a_line(cub, override, message, caplog):
    build(cub, override)
    assert message in caplog.text


def test_a_map_has_its_own_threshold():
    values = np.random.default_rng(0).random((30, 40)) * 0.7
    expected = (values.mean() + 0.75 * values.std()) / values.max()
    assert own_threshold(values) == pytest.approx(expected)
    assert own_threshold(values / 3) == pytest.approx(expected)  # a fraction of the maximum: the scale does not matter
    assert own_threshold(np.full((4, 4), 0.5)) == 0.99  # one value: no object, but a box
    assert own_threshold(np.zeros((4, 4))) == 0
