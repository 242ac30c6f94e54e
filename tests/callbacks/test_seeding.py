"""Seeded guidance in whole runs: cache, rounds, exact resumption, and mistakes."""

import json
import shutil

import numpy as np
import pytest
import torch

from spg_lightning import UserError, compose, evaluate, predict
from spg_lightning.localizer import Localizer
from spg_lightning.spg import Thresholds, cascade, seeded
from spg_lightning.utils.run_dir import RunDir
from tests.callbacks.helpers import Died, assert_same, dies, run

SEEDED = (
    "guidance=seeded", "stem.weights=imagenet", "training_free.image_side=64", "training_free.side=16",
    "training_free.refine.side=32", "seeds.rounds=[0.5]", "trainer.max_epochs=2", "seeds.round_name=b1",
    "stem.pretrained.weights=imagenet",
)  # fmt: skip


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.getbasetemp() / "seed-cache"
    monkeypatch.setenv("SPG_LIGHTNING_CACHE", str(folder))
    return folder


@pytest.fixture(scope="module")
def seeded_run(cub, tmp_path_factory):
    folder = tmp_path_factory.mktemp("seeded")
    patch = pytest.MonkeyPatch()
    patch.setenv("SPG_LIGHTNING_CACHE", str(tmp_path_factory.getbasetemp() / "seed-cache"))
    run(cub, folder, *SEEDED, "refine=[none,pamr]", "score_map.name=[b1,c]")
    patch.undo()
    return folder


def test_seeds_supervise_the_chosen_branches():
    draw = torch.Generator().manual_seed(0)
    attention, b1, b2 = (torch.rand(2, 1, 16, 16, generator=draw) for _ in range(3))
    seeds = torch.randint(-1, 2, (2, 1, 16, 16), generator=draw, dtype=torch.int8)
    thresholds = Thresholds.of([(0.7, 0.1), (0.5, 0.05), (0.6, 0.2)])
    usual = cascade(attention, b1, b2, thresholds)
    masks = seeded(attention, b1, b2, thresholds, branches=["b1"], seeds=seeds)
    assert torch.equal(masks["b1"], seeds)
    assert torch.equal(masks["b2"], usual["b2"])
    assert torch.equal(masks["c"], usual["c"])
    assert list(seeded(attention, b1, b2, thresholds, branches=["b1", "c"])) == ["b2"], "a gallery has no seeds to show"
    with pytest.raises(UserError, match="b9 is not among b2, b1 and c"):
        seeded(attention, b1, b2, thresholds, branches=["b9"], seeds=seeds)


def test_seeds_are_cached_and_a_round_comes_from_the_network(seeded_run, cache):
    maps = np.stack([np.load(file) for file in (cache / "training_free").rglob("*.npy")])
    own = np.load(seeded_run / "seeds/round1.npy")
    assert len(maps) > len(own), "those of val and test, too: the floor"
    assert maps.shape[1:] == own.shape[1:] == (16, 16)
    assert maps.dtype == own.dtype == np.uint8
    assert not any(np.array_equal(values, round1) for values in maps for round1 in own)
    assert all(values.max() > 150 and values.min() < 50 for values in maps), "each map uses its range"


def test_the_second_run_takes_the_cached_seeds_and_is_the_same(cub, seeded_run, tmp_path, cache, monkeypatch):
    monkeypatch.setattr(
        "spg_lightning.evaluation.cached_maps.TrainingFreeMaps._fit", lambda *_: pytest.fail("computed again")
    )
    run(cub, tmp_path, *SEEDED, "refine=[none,pamr]", "score_map.name=[b1,c]")
    assert_same(tmp_path, seeded_run)


def test_a_killed_run_resumes_exactly_in_every_round(cub, seeded_run, tmp_path):
    """Inside round 0; after its last step, before round 1 is written; inside round 1."""
    overrides = (*SEEDED, "refine=[none,pamr]", "score_map.name=[b1,c]", "checkpoint_every_steps=1")
    for step in (2, 3, 4):
        with pytest.raises(Died):
            run(cub, tmp_path, *overrides, *dies(step), "resume=auto")
    run(cub, tmp_path, *overrides, "resume=auto")
    assert_same(tmp_path, seeded_run)
    assert np.array_equal(np.load(tmp_path / "seeds/round1.npy"), np.load(seeded_run / "seeds/round1.npy"))


def test_overwriting_a_run_removes_its_rounds(seeded_run, tmp_path):
    shutil.copytree(seeded_run, tmp_path / "run")
    RunDir(tmp_path / "run").clear()
    assert not (tmp_path / "run/seeds").exists()


def test_a_run_resumes_in_another_folder_with_its_rounds(cub, seeded_run, tmp_path):
    overrides = (*SEEDED, "refine=[none,pamr]", "score_map.name=[b1,c]", "checkpoint_every_steps=1")
    with pytest.raises(Died):
        run(cub, tmp_path / "first", *overrides, *dies(4))
    run(cub, tmp_path / "second", *overrides, f"resume={tmp_path / 'first/checkpoints/resume.ckpt'}")
    assert_same(tmp_path / "second", seeded_run)


def test_a_round_takes_the_map_of_each_images_own_class(cub, tmp_path, monkeypatch):
    asked = []
    maps = Localizer.maps
    monkeypatch.setattr(
        Localizer, "maps", lambda self, images, labels: asked.extend(labels) or maps(self, images, labels)
    )
    run(cub, tmp_path, *SEEDED, "seeds.round_name=attention", "score_map.name=[b1]")
    assert len(set(asked)) > 1


def test_the_checkpoint_localizes_with_its_refinement(seeded_run):
    stored = torch.load(seeded_run / "checkpoints/last.ckpt", weights_only=True)["spg_lightning"]["localization"]
    localizer = Localizer.from_checkpoint(seeded_run / "checkpoints/last.ckpt")
    assert localizer.name == stored["score_map"]
    assert localizer.name in ("b1:none", "b1:pamr", "c:none", "c:pamr")
    image = np.random.default_rng(0).integers(0, 255, (50, 70, 3), np.uint8)
    path = seeded_run / "checkpoints/last.ckpt"
    plain, refined = (
        Localizer.from_checkpoint(path, name, 0.5).localize([image])[0][0].score_map for name in ("b1:none", "b1:pamr")
    )
    assert not np.array_equal(plain, refined)
    with pytest.raises(UserError, match="score_map=b1:ivr: choose from b1:none, b1:pamr"):
        Localizer.from_checkpoint(path, "b1:ivr", 0.5)
    other = {"normalize": {name: {"_target_": "spg_lightning.score_maps.MinMax"} for name in ("one", "two")}}
    with pytest.raises(UserError, match=r"choose from \w+:one:none, \w+:one:pamr, \w+:two:none"):
        Localizer.from_checkpoint(path, threshold=0.5, processing=other)
    assert Localizer.from_checkpoint(path, "c", 0.5, processing={"refine": {"none": None}}).name == "c"
    metrics = json.loads((seeded_run / "metrics.json").read_text())
    assert {"test/b1:none/gt_known_error", "test/c:pamr/gt_known_error"} <= metrics.keys()


def test_evaluate_and_predict_take_other_processing(cub, seeded_run, tmp_path):
    path = seeded_run / "checkpoints/last.ckpt"
    common = [f"checkpoint={path}", "accelerator=cpu"]
    found = evaluate(
        compose("evaluate", [
            *common, "refine=guided_filter", "normalize=[minmax,ivr]", "score_map.name=[b1,b1+c]", "gallery_images=2",
            "num_workers=0", "report_images=1", f"output_dir={tmp_path / 'evaluate'}",
        ])
    )  # fmt: skip
    assert set(found.per_map) == {
        f"{name}:{norm}" for name in ("b1", "b1+c") for norm in ("minmax", "ivr30", "ivr45", "ivr60")
    }
    assert len(list((tmp_path / "evaluate/gallery").glob("*.png"))) == 3  # and the overview
    again = evaluate(
        compose("evaluate", [*common, "num_workers=0", "gallery_images=0", "report_images=0", f"output_dir={tmp_path / 'again'}",
                             "score_map.name=[b1,c]", "num_thresholds=50"])
    )  # fmt: skip
    trained = json.loads((seeded_run / "metrics.json").read_text())
    assert again.metrics["test/b1:pamr/gt_known_error"] == trained["test/b1:pamr/gt_known_error"]
    image = next((cub / "images").rglob("*.jpg"))
    predict(compose("predict", [*common, f"images={image}", "score_map=feature_norm", "score_map.maps.feature_norm.side=64",
                                "threshold=0.5", f"output_dir={tmp_path / 'training-free'}"]))  # fmt: skip
    free = evaluate(compose("evaluate", [*common, "score_map=feature_norm", "num_workers=0", "gallery_images=0", "refine=none",
                                         f"output_dir={tmp_path / 'free'}"]))  # fmt: skip
    assert list(free.per_map) == ["feature_norm"]
    maps = {}
    for name, words in {
        "stored": [],
        "plain": ["refine=none", "score_map=b1", "normalize=minmax", "threshold=0.5"],
    }.items():
        predict(
            compose("predict", [*common, f"images={image}", *words, "save_maps=true", f"output_dir={tmp_path / name}"])
        )
        (file,) = (tmp_path / name).rglob("*.npy")
        maps[name] = np.load(file)
    plain = Localizer.from_checkpoint(path, "b1:none", 0.5)
    from spg_lightning.data.decode import read_image

    assert np.allclose(maps["plain"], plain.localize([read_image(image, True)])[0][0].score_map, atol=1e-6)
    assert maps["stored"].shape == maps["plain"].shape


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("guidance=seeded",), "need a pretrained backbone, and stem.weights=none has none"),
        ((*SEEDED, "method=spg_plain"), "supervises SPG's branches, and this method has none; choose method=spg"),
        ((*SEEDED, "~seeds"), "no mask supervises any branch: .* guidance=seeded needs its seeds"),
        ((*SEEDED, "seeds.low=0.7"), "seeds.high=0.6 and seeds.low=0.7"),
        ((*SEEDED, "training_free.side=0"), r"training_free\.side=0: choose a whole number, 1 or more"),
        (
            ("guidance=seeded", "stem.weights=imagenet", "training_free=none"),
            "guidance=seeded needs training-free maps; choose training_free=default",
        ),
        ((*SEEDED, "seeds.rounds=[1.5]"), r"seeds.rounds=\[1.5\]: choose rising fractions"),
        (
            (*SEEDED, "training_free.name=feature_norm+nothing"),
            r"nothing is not in training_free\.maps; it has pretrained_cam",
        ),
        ((*SEEDED, "seeds.round_name=b9"), "score_map=b9 does not exist"),
        ((*SEEDED, "trainer.max_epochs=1"), r"seeds\.rounds=\[0\.5\] do not fit into trainer\.max_epochs=1"),
    ],
)
def test_mistakes_have_a_line(cub, tmp_path, overrides, message):
    with pytest.raises(UserError, match=message):
        run(cub, tmp_path, *overrides)


def test_without_boxes_the_seeds_boxes_choose_map_and_threshold(cub, tmp_path, caplog, capsys):
    """A plain folder: nothing but photos and classes. The threshold is not the default, and the table says what chose it."""
    run(
        cub, tmp_path, *SEEDED, "dataset=folder", f"dataset.root={cub / 'images'}", "dataset.resize=36", "dataset.crop=32",
        "dataset.batch_size=4", "seeds.rounds=[]", "score_map.name=[b1,c]",
    )  # fmt: skip
    assert "no val image has a box: boxes of feature_norm choose map and threshold" in caplog.text
    stored = torch.load(tmp_path / "checkpoints/last.ckpt", weights_only=True)["spg_lightning"]["localization"]
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    errors = {name: metrics[f"val/{name}/gt_known_error"] for name in ("b1", "c")}
    assert stored["score_map"] == min(errors, key=errors.get)
    assert stored["threshold"] == pytest.approx(metrics["val/threshold"])
    shown = " ".join(capsys.readouterr().out.split())
    assert "localization is not measured" in shown
    assert f"threshold {stored['threshold']:g}, chosen on val by the boxes of feature_norm" in shown
    assert "default threshold" not in shown


def test_maps_that_learn_without_training_travel_in_the_checkpoint(cub, tmp_path):
    run(
        cub,
        tmp_path,
        "stem.weights=imagenet",
        "score_map=feature_pca",
        "score_map.maps.feature_pca.side=64",
        "trainer.max_epochs=1",
    )
    path = tmp_path / "checkpoints/last.ckpt"
    image = np.random.default_rng(0).integers(0, 255, (50, 70, 3), np.uint8)
    values = Localizer.from_checkpoint(path).localize([image])[0][0].score_map
    assert values.max() == 1
    stored = torch.load(path, weights_only=True)["spg_lightning"]["score_map_states"]["feature_pca"]
    assert stored["component"].norm().item() == pytest.approx(1, abs=1e-5)
