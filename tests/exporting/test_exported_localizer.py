"""An exported model localizes as its checkpoint, in every format, and refuses what is not its own in one line."""

import json
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from spg_lightning import Localizer, UserError
from spg_lightning.exporting.exported_localizer import ExportedLocalizer
from spg_lightning.localizer import resize_to_square
from tests.trees import photo_like

PACKAGES = {
    "onnx": ("onnx", "onnxscript", "onnxruntime"),
    "torch_export": (),
    "openvino": ("onnx", "onnxscript", "openvino"),
}


@pytest.fixture(params=PACKAGES)
def model(request, exported):
    for package in PACKAGES[request.param]:
        pytest.importorskip(package)
    return exported(request.param)


@pytest.fixture
def onnx_model(exported):
    for package in PACKAGES["onnx"]:
        pytest.importorskip(package)
    return exported("onnx")


@pytest.fixture
def checkpoint(tiny_run):
    return Localizer.load(tiny_run[0].checkpoint, score_map="attention", threshold=0.3)


def test_boxes_and_masks_are_the_checkpoints(model, checkpoint):
    images = [photo_like(size, seed) for seed, size in enumerate([(80, 60), (64, 64), (33, 90)])]
    loaded = Localizer.load(model)
    assert isinstance(loaded, ExportedLocalizer)
    assert (loaded.name, loaded.threshold, loaded.crop) == ("attention", 0.3, checkpoint.crop)
    assert loaded.class_names == checkpoint.class_names
    for ours, theirs in zip(loaded.localize(images, 2), checkpoint.localize(images, 2), strict=True):
        for one, other in zip(ours, theirs, strict=True):
            assert (one.class_name, one.box) == (other.class_name, other.box)
            assert one.score == pytest.approx(other.score, abs=1e-5)
            assert np.abs(one.score_map - other.score_map).max() < 1e-4
            assert np.array_equal(one.mask, other.mask)
    maps = [found.score_map for found in loaded.localize(images, 2)[0]]
    assert np.abs(maps[0] - maps[1]).max() > 0.01, "a class has its own map"


def test_the_program_resizes_and_cuts_masks_itself(model, checkpoint):
    """What a program in another language gets: images of any size and number in, masks out."""
    loaded = Localizer.load(model)
    image = photo_like((81, 57), 3)
    probabilities, classes, maps, masks = loaded._runtime(np.stack([image, image[:, ::-1]]))
    assert probabilities.shape == (2, 3)
    assert probabilities.sum(1) == pytest.approx(1, abs=1e-5)
    assert maps.shape == masks.shape == (2, 2, 64, 64)
    assert masks.dtype == bool
    resized = resize_to_square(image, 64)
    reference = checkpoint.run(resized[None], 2)
    assert classes[0].tolist() == reference.classes[0].tolist()
    assert np.abs(maps[0, 0] - reference.maps[0][0]).max() < 1e-4, "it resizes as OpenCV"
    quantized = (maps * 255).astype(np.uint8)
    levels = (0.3 * quantized.max((2, 3))).astype(int)
    assert np.array_equal(masks, quantized > levels[..., None, None])
    own = loaded._runtime(resized[None])
    assert np.abs(own[2][0, 0] - reference.maps[0][0]).max() < 1e-4, "at the network's own size nothing is resized"


def test_threads_get_what_one_gets(model):
    loaded = Localizer.load(model)
    images = [photo_like((64, 64), seed) for seed in range(8)]
    alone = [loaded(image)[0].score_map for image in images]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda image: loaded(image)[0].score_map, images))
    for one, other in zip(alone, together, strict=True):
        assert np.abs(one - other).max() < 1e-6


def test_options(model, tmp_path):
    loaded = Localizer.load(model, threshold=0.7)
    assert loaded.threshold == 0.7
    assert loaded(photo_like((64, 64), 0))[0].threshold == 0.7
    again = pickle.loads(pickle.dumps(loaded))
    assert (again.path, again.threshold) == (loaded.path, 0.7)
    with pytest.raises(UserError, match=r"top_k=3: .* was exported with top_k=2; export it again with top_k=3"):
        loaded(photo_like((64, 64), 0), top_k=3)
    with pytest.raises(UserError, match="load the checkpoint"):
        loaded.maps(None, [0])
    with pytest.raises(UserError, match="no such file"):
        Localizer.load(tmp_path / f"missing{model.suffix}")


def test_the_description(model, tiny_run):
    description = Localizer.load(model).description
    assert description.license == "unknown", "the tiny run has no pretrained weights"
    assert description.provenance["checkpoint"] == "last.ckpt"
    assert len(description.provenance["sha256"]) == 64
    assert str(tiny_run[0].output_dir) not in model.read_bytes().decode(errors="replace"), (
        "tells nothing of this machine"
    )
    assert b"/spg_lightning/" not in model.read_bytes()


@pytest.mark.parametrize("damage", ["truncated", "random", "empty"])
def test_damaged_files(model, tmp_path, damage):
    content = model.read_bytes()
    damaged = {"truncated": content[: len(content) // 2], "random": bytes(range(256)) * 40, "empty": b""}[damage]
    file = tmp_path / f"model{model.suffix}"
    file.write_bytes(damaged)
    with pytest.raises(UserError, match="damaged or not") as error:
        Localizer.load(file)
    assert "\n" not in str(error.value)


def test_weights_that_are_missing_or_cut(exported, tmp_path):
    pytest.importorskip("openvino")
    pytest.importorskip("onnxscript")
    model = exported("openvino")
    file = tmp_path / "model.xml"
    file.write_bytes(model.read_bytes())
    with pytest.raises(UserError, match=r"its \.bin file"):
        Localizer.load(file)
    file.with_suffix(".bin").write_bytes(model.with_suffix(".bin").read_bytes()[:1000])
    with pytest.raises(UserError, match="damaged"):
        Localizer.load(file)


def test_files_of_other_programs(onnx_model, tmp_path):
    import onnx

    model = onnx.load(onnx_model)
    foreign = tmp_path / "foreign.onnx"
    stored = json.loads(model.metadata_props[0].value)
    for value, message in (
        (None, "is an ONNX file of another program"),
        ("nonsense", "its description is damaged"),
        (json.dumps({**stored, "format": 99}), "has format 99, this version reads format 1"),
        (json.dumps({"format": 1}), "its description is damaged"),
    ):
        del model.metadata_props[:]
        if value is not None:
            model.metadata_props.add(key="spg_lightning", value=value)
        onnx.save(model, foreign)
        with pytest.raises(UserError, match=message):
            Localizer.load(foreign)


def test_a_missing_runtime_is_named(onnx_model, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UserError, match=r"needs onnxruntime: pip install 'spg-lightning\[export\]'"):
        Localizer.load(onnx_model)


def modules_after(code: str) -> set[str]:
    """Names of the top modules that a fresh Python has imported after some code."""
    code += "\nimport sys; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_onnx_needs_no_torch(onnx_model, tiny_run):
    photo = next((tiny_run[1] / "images").rglob("*.jpg"))
    code = (
        f"from spg_lightning import Localizer; (best,) = Localizer.load({str(onnx_model)!r})({str(photo)!r}); best.mask"
    )
    loaded = modules_after(code)
    assert "onnxruntime" in loaded
    assert not loaded & {"hydra", "pytorch_lightning", "lightning_fabric", "torch", "omegaconf", "torchvision", "timm"}


def test_a_checkpoint_needs_no_lightning(tiny_run):
    photo = next((tiny_run[1] / "images").rglob("*.jpg"))
    loaded = modules_after(
        f"from spg_lightning import Localizer; Localizer.load({str(tiny_run[0].checkpoint)!r})({str(photo)!r})"
    )
    assert "torch" in loaded
    assert not loaded & {"pytorch_lightning", "lightning_fabric", "torchmetrics", "albumentations", "matplotlib"}


def test_importing_the_localizer_is_fast():
    code = "import time; start = time.perf_counter(); import spg_lightning; spg_lightning.Localizer; print(time.perf_counter() - start)"
    times = [
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
        for _ in range(3)
    ]
    assert min(times) < 2
