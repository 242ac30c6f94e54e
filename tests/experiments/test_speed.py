"""Fast, and yet the definition: the plain step in experiments/speed and ours have the same losses."""

import csv
import gc
import shutil
from importlib.util import module_from_spec, spec_from_file_location
from types import SimpleNamespace
from weakref import WeakSet

import pytest
import pytorch_lightning as pl
import torch
from benchmark import Case, module_of
from step_timing import photos, training
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from spg_lightning import UserError, build_module, build_network, compose, load_network, train
from spg_lightning.callbacks.progress_bar import ProgressBar
from spg_lightning.callbacks.throughput import step_flops
from spg_lightning.config.build import build_data, build_trainer
from spg_lightning.score_maps import resolve, score_map_context
from spg_lightning.spg import masked_bce, spg_loss, upsampled_bce
from spg_lightning.spg.maps import upsample
from spg_lightning.utils.compile import eager
from tests.conftest import ROOT, TINY
from tests.spg.test_losses import BANDS, LABELS, output
from tests.trees import write_cub

SMALL = ("stem.weights=none", "stem.a3_channels=16", "stem.b_channels=8", "stem.c_channels=8")


def first_losses():
    spec = spec_from_file_location("first_losses", ROOT / "experiments/speed/first_losses.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def ours(*overrides, classes=5):
    torch.manual_seed(0)
    cfg = compose("train", [*overrides, "output_dir=unused"])
    return build_module(cfg, build_network(cfg, num_classes=classes)).train()


@pytest.mark.parametrize(
    ("stem", "dtype", "limit"),
    # float32 through a network without batch norm, which at this size and with untrained weights blows rounding up
    [("inception_v3", torch.float64, 1e-9), ("vgg16", torch.float32, 1e-4)],
)
def test_twenty_steps_have_the_losses_of_the_plain_step(stem, dtype, limit):
    overrides = (f"stem={stem}", *SMALL, "stem.dropout=0.5", "stem.b2_input=a2_penultimate")
    steps = first_losses().differences(overrides, dtype, size=32, batch=3, steps=20, classes=5, moved=False)
    largest = torch.tensor(list(steps)).amax(0)
    assert largest.shape == (2,)
    assert largest.max() < limit


@pytest.mark.slow
@pytest.mark.timeout(3600)  # eighty steps of ten seconds on two cores
def test_twenty_steps_of_inception_v3_at_full_size():
    """On its own each training blows rounding up: ours goes no further from the plain one than another plain one does."""
    overrides = ("stem=inception_v3", "stem.weights=none")
    steps = first_losses().differences(overrides, torch.float32, size=224, batch=8, steps=20, classes=200)
    same_weights, on_its_own, moved = torch.tensor(list(steps)).amax(0)
    assert same_weights < 1e-4
    assert on_its_own < 5 * moved


def test_the_upsampled_loss_is_the_loss_of_what_is_upsampled():
    draw = torch.Generator().manual_seed(0)
    mask = torch.randint(-1, 2, (2, 1, 24, 24), generator=draw, dtype=torch.int8)
    logits = torch.randn(2, 1, 4, 4, generator=draw, dtype=torch.float64)
    both = [logits.clone().requires_grad_() for _ in range(2)]
    (3 * masked_bce(upsample(both[0], (24, 24)), mask)).backward()
    (3 * upsampled_bce(both[1], mask)).backward()
    assert upsampled_bce(logits, mask) == masked_bce(upsample(logits, (24, 24)), mask)
    torch.testing.assert_close(both[0].grad, both[1].grad, rtol=1e-12, atol=0)


class Held:
    """A tensor that waits for the backward."""

    def __init__(self, value):
        self.value = value


def test_the_loss_keeps_nothing_of_the_images_size():
    waiting, out = WeakSet(), output()

    def pack(value):
        held = Held(value)
        waiting.add(held)
        return held

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda held: held.value):
        total = spg_loss(out, LABELS, BANDS)["total"]
    gc.collect()
    assert 0 < max(held.value.numel() for held in waiting) <= 3 * 4 * 4, "maps, not images"
    total.backward()


def test_bfloat16_counts_in_float32_and_keeps_channels_last():
    module, layouts = ours(*SMALL), []
    for layer in module.network.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(
                lambda _, __, out: layouts.append((out.dtype, out.is_contiguous(memory_format=torch.channels_last)))
            )
    images = torch.randint(256, (2, 3, 64, 64), dtype=torch.uint8)
    with torch.autocast("cpu", torch.bfloat16):
        out = module.network(module._inputs(images))
        terms = module.loss(out, torch.tensor([0, 1]))
        with score_map_context(
            module.network.eval(), module._inputs(images), resolve(["attention", "b1"], module.network.branches)
        ) as seen:
            maps = [seen.map(name, torch.tensor([0, 1])) for name in ("attention", "b1")]
    assert layouts
    assert set(layouts) == {(torch.bfloat16, True)}
    assert out.class_maps.dtype == torch.bfloat16
    assert {value.dtype for value in (out.logits, *terms.values(), *maps)} == {torch.float32}
    terms["total"].backward()
    assert {weight.grad.dtype for weight in module.network.parameters()} == {torch.float32}


def test_a_contiguous_step_is_the_same_step():
    images, labels = torch.randint(256, (2, 3, 64, 64), dtype=torch.uint8), torch.tensor([0, 1])
    totals, layouts = [], []
    for channels_last in (True, False):
        torch.manual_seed(0)
        module = ours(*SMALL, "stem.dropout=0", f"module.channels_last={channels_last}").double()
        module.network.b1.register_forward_hook(lambda _, __, out: layouts.append(out.is_contiguous()))
        totals.append(module.loss(module(images), labels)["total"])
    assert layouts == [False, True]
    assert totals[0].item() == pytest.approx(totals[1].item(), rel=1e-12)


class NoReading(TorchDispatchMode):
    """Fails where the host would wait for a device: it reads a value, a shape depends on one, or it sends one it has in a list."""

    def __init__(self, sending=False):
        super().__init__()
        reading = ("_local_scalar_dense", "aten.nonzero", "masked_select", "aten.unique")
        self.refused = reading if sending else (*reading, "lift_fresh")

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        assert not any(word in str(func) for word in self.refused)
        return func(*args, **(kwargs or {}))


class Watched(pl.Callback):
    """Watches the steps of a training from the batch on the device to the update of the weights."""

    def __init__(self):
        self.steps, self.mode = 0, None

    def on_train_batch_start(self, trainer, module, batch, index):
        self.mode = NoReading(sending=self.steps == 0)
        self.mode.__enter__()

    def on_before_zero_grad(self, trainer, module, optimizer):
        self.steps += 1

    def on_train_batch_end(self, trainer, module, outputs, batch, index):
        self.mode.__exit__(None, None, None)


@pytest.fixture(scope="module")
def cub(tmp_path_factory):
    return write_cub(tmp_path_factory.mktemp("speed") / "cub")


@pytest.mark.parametrize("method", ["spg", "spg_plain", "has", "adl", "acol"])
def test_a_training_step_never_waits_for_the_device(cub, tmp_path, method):
    """Masks and their shares are logged at each step here. The first step sends what is sent once: normalisation, zeros to log."""
    cfg = compose(
        "train",
        [*TINY, f"method={method}", f"dataset.root={cub}", f"output_dir={tmp_path}", "logger=none",
         "trainer.max_steps=3", "trainer.precision=bf16-mixed", "callbacks.progress=null", "callbacks.throughput=null", "callbacks.learning_rate=null",
         "callbacks.best=null", "trainer.limit_val_batches=0", "callbacks=ema"],
    )  # fmt: skip
    data, watched = build_data(cfg), Watched()
    module = build_module(cfg, build_network(cfg, len(data.class_names)))
    trainer = build_trainer(cfg, [watched])
    trainer.callbacks.sort(key=lambda callback: callback is watched)  # it ends its watch after what the others do
    trainer.fit(module, datamodule=data)
    assert watched.steps == 3
    with pytest.raises(AssertionError), NoReading():
        torch.ones(()).item()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("precision", ["bf16-mixed", "32-true"])
def test_a_step_on_a_gpu_never_waits(precision):
    """As torch itself watches it; the step alone, without Lightning."""
    device = torch.device("cuda:0")
    module = module_of(Case("inception_v3", 4, precision, False, 224, 20, ())).to(device)
    step = training(module, precision, *photos(4, 224, 20, device))
    step()  # sends the normalisation, makes workspaces
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(3):
            loss = step()
        with pytest.raises(RuntimeError, match="synchroniz"):
            loss.item()
    finally:
        torch.cuda.set_sync_debug_mode("default")


def weights_after(cub, folder, *overrides):
    result = train(
        compose(
            "train",
            [
                *TINY,
                "stem=vgg16",
                "method=spg_plain",
                f"dataset.root={cub}",
                f"output_dir={folder}",
                "trainer.max_epochs=2",
                "gallery_images=0",
                "report_images=0",
                "callbacks.progress=null",
                *overrides,
            ],
        )
    )
    rows = [row for row in csv.DictReader((folder / "metrics.csv").open()) if row["lr-SGD/new_weight"]]
    state = torch.load(result.checkpoint, weights_only=True)
    return state["state_dict"], [row["lr-SGD/new_weight"] for row in rows], state["global_step"]


def test_accumulated_gradients_are_those_of_the_whole_batch(cub, tmp_path):
    """Cross-entropy alone, without batch norm and dropout: the mean of two halves is the mean."""
    whole, rates, steps = weights_after(cub, tmp_path / "whole", "dataset.batch_size=4")
    parts, same_rates, same_steps = weights_after(
        cub,
        tmp_path / "parts",
        "dataset.batch_size=2",
        "+trainer.accumulate_grad_batches=2",
        "checkpoint_every_steps=1",
    )
    assert steps == same_steps == 4
    assert set(rates) == set(same_rates), "the schedule counts updates, not batches"
    assert max(float((whole[name] - parts[name]).abs().max()) for name in whole) < 1e-6


def test_compiled_training_is_training(cub, tmp_path, monkeypatch):
    original, calls = nn.Module.compile, []

    def counting(graph, inputs):
        calls.append(len(inputs))
        return graph.forward

    monkeypatch.setattr(nn.Module, "compile", lambda self, **options: original(self, backend=counting, **options))
    results = {
        flag: train(
            compose(
                "train",
                [
                    *TINY,
                    f"dataset.root={cub}",
                    f"output_dir={tmp_path / flag}",
                    "trainer.max_epochs=1",
                    "data.eval_batch_size=5",
                    "score_map.name=[attention,grad_cam]",
                    f"module.compile={flag}",
                ],
            )
        )
        for flag in ("false", "true")
    }
    torch._dynamo.reset()
    assert len(calls) == 1, "one graph, for training; evaluation with its hooks and other batches makes no further ones"
    states = [torch.load(result.checkpoint, weights_only=True)["state_dict"] for result in results.values()]
    assert states[0].keys() == states[1].keys()
    assert max(float((states[0][name] - states[1][name]).abs().max()) for name in states[0]) < 1e-4
    load_network(results["true"].checkpoint)


@pytest.mark.slow
def test_compiled_by_inductor(cub, tmp_path):
    """In float64 and without dropout, which draws other numbers there: two trainings would blow rounding up."""
    if shutil.which("g++") is None:
        pytest.skip("no C++ compiler")
    images, labels = torch.randint(256, (2, 3, 64, 64), dtype=torch.uint8), torch.tensor([0, 1])
    terms, gradients = [], []
    for flag in ("false", "true", "reduce-overhead"):
        torch._dynamo.reset()
        module = ours("stem=efficientnet_lite0", *SMALL, "stem.dropout=0", f"module.compile={flag}").double()
        terms.append(module.step(module.network, module.loss, module._inputs(images), labels))
        terms[-1]["total"].backward()
        gradients.append({name: weight.grad for name, weight in module.network.named_parameters()})
    for k in (1, 2):
        torch.testing.assert_close(terms[k], terms[0], rtol=1e-9, atol=0)
        torch.testing.assert_close(gradients[k], gradients[0], rtol=1e-6, atol=1e-9)

    overrides = ("method=spg", "stem=efficientnet_lite0", "trainer.precision=bf16-mixed", "module.compile=true")
    _, _, steps = weights_after(cub, tmp_path, *overrides)
    assert steps == 4


def test_evaluation_is_eager():
    def refuse(graph, inputs):
        raise RuntimeError("compiled")

    class Double(nn.Module):  # torch 2.11 does not compile its own layers on their own
        def forward(self, x):
            return 2 * x

    network = Double()
    network.compile(backend=refuse)
    with eager(network):
        assert network(torch.ones(2, 2)).shape == (2, 2)
    with pytest.raises(Exception, match="compiled"):
        network(torch.ones(2, 2))
    torch._dynamo.reset()


def test_the_mode_with_cuda_graphs_reaches_torch(monkeypatch):
    given = []
    monkeypatch.setattr(nn.Module, "compile", lambda self, **options: given.append(options))
    for flag in ("true", "reduce-overhead"):
        ours(*SMALL, f"module.compile={flag}")
    assert [options["mode"] for options in given] == [None, "reduce-overhead"]


def test_without_a_compiler_there_is_a_line(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(UserError, match=r"module\.compile=true needs a C\+\+ compiler"):
        ours(*SMALL, "module.compile=true")


def test_flops_of_a_step():
    """A 3x3 convolution, 3 to 8 channels, 4 x 4 cells, and its backward; depthwise ones are counted by their groups."""

    class Toy(nn.Module):
        def __init__(self):
            super().__init__()
            self.dense, self.depthwise = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1, groups=8)

    class Module:
        network = Toy()
        loss = None

        @staticmethod
        def step(network, loss, images, labels):
            return {"total": network.depthwise(network.dense(images)).sum()}

    dense, depthwise = (2 * 16 * 8 * channels * 9 for channels in (3, 1))
    # no gradient by the images
    assert step_flops(Module(), batch=5, size=4) == 5 * (2 * dense + 3 * depthwise)


def test_the_progress_bar_reads_where_lightning_logs(monkeypatch):
    read, trainer = [], SimpleNamespace(log_every_n_steps=3, global_step=0, training=True)
    monkeypatch.setattr(pl.callbacks.RichProgressBar, "_update_metrics", lambda *_: read.append(trainer.global_step))
    bar = ProgressBar(leave=False)
    for trainer.global_step in range(1, 8):
        bar._update_metrics(trainer, None)
    assert read == [3, 6]
