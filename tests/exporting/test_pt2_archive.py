"""A .pt2 file is loaded only if it holds nothing but tensors and operations on them."""

import io
import json
import pickle
import zipfile

import pytest
import torch

from spg_lightning import Localizer, UserError
from spg_lightning.exporting.pt2_archive import EXPRESSION, MODEL, SAMPLE, checked_archive, unsafe_operations

WEIGHTS = "data/weights/model_weights_config.json"


class Trap:
    """What a hostile pickle does when it is loaded."""

    def __reduce__(self):
        return (open, ("executed.txt", "w"))


@pytest.fixture
def rewrite(exported, tmp_path, monkeypatch):
    """Return a function that writes the exported file with some files of the archive changed: name -> new content."""
    monkeypatch.chdir(tmp_path)

    def write(**changes):
        target = tmp_path / "changed.pt2"
        with zipfile.ZipFile(exported("torch_export")) as old, zipfile.ZipFile(target, "w") as new:
            root = old.namelist()[0].partition("/")[0]
            for name in old.namelist():
                inner = name.partition("/")[2]
                new.writestr(name, changes.pop(inner)(old.read(name)) if inner in changes else old.read(name))
            for inner, make in changes.items():
                new.writestr(f"{root}/{inner}", make(b""))
        return target

    yield write
    assert not (tmp_path / "executed.txt").exists()


def edited(change):
    """Return a function that edits a JSON file's content."""

    def edit(content):
        node = json.loads(content)
        change(node)
        return json.dumps(node).encode()

    return edit


def nodes(model):
    return model["graph_module"]["graph"]["nodes"]


def trap(_):
    buffer = io.BytesIO()
    torch.save((Trap(),), buffer)
    return buffer.getvalue()


def test_pickles_are_not_read(rewrite):
    loaded = Localizer.load(rewrite(**{SAMPLE: trap}))  # torch.export.load would run this one
    assert loaded.name == "attention"
    with pytest.raises(UserError, match=r"holds a file data/weights/evil\.pt; refused"):
        Localizer.load(rewrite(**{"data/weights/evil.pt": trap}))
    with pytest.raises(UserError, match="holds a file data/constants/custom_obj_0"):
        Localizer.load(rewrite(**{"data/constants/custom_obj_0": lambda _: pickle.dumps(Trap())}))

    def unpickle(config):
        next(iter(config["config"].values()))["use_pickle"] = True

    with pytest.raises(UserError, match="holds a pickle"):
        Localizer.load(rewrite(**{WEIGHTS: edited(unpickle), "data/weights/weight_0": trap}))


@pytest.mark.parametrize(
    "name",
    [
        "torch.load",
        "torch.hub.load",
        "torch.ops.aten.from_file.default",
        "torch.ops.prim.device.default",
        "_operator.call",
        "#x",
    ],
)
def test_other_operations_are_refused(rewrite, name):
    with pytest.raises(UserError, match=f"it calls {name}; refused, because loading it could run code"):
        Localizer.load(rewrite(**{MODEL: edited(lambda model: nodes(model)[3].update(target=name))}))


def test_code_is_refused(rewrite):
    evil = "__import__('os').system('touch executed.txt')"
    with pytest.raises(UserError, match="it holds code"):
        Localizer.load(rewrite(**{MODEL: edited(lambda model: model.update(guards_code=[evil]))}))

    def change(model):
        sizes = next(iter(model["graph_module"]["graph"]["tensor_values"].values()))["sizes"]
        sizes[0] = {"as_expr": {"expr_str": evil, "hint": {"as_int": 2}}}

    with pytest.raises(UserError, match="it holds the expression"):
        Localizer.load(rewrite(**{MODEL: edited(change)}))


def test_a_program_that_is_not_ours(tmp_path):
    class Double(torch.nn.Module):
        def forward(self, x):
            return x * 2

    torch.export.save(torch.export.export(Double(), (torch.ones(2),)), tmp_path / "foreign.pt2")
    with pytest.raises(UserError, match=r"is a torch\.export program of another program"):
        checked_archive(tmp_path / "foreign.pt2")


def test_operations():
    good = ["torch.ops.aten.conv2d.default", "torch.ops.aten.gelu.default", "_operator.mul"]
    assert unsafe_operations(iter(good)) == []
    bad = [
        "torch.ops.aten.from_file.default",
        "torch.ops.aten.nothing.default",
        "torch.ops.higher_order.cond",
        "math.sqrt",
    ]
    assert unsafe_operations(iter([*good, *bad])) == sorted(bad)


def test_expressions():
    for good in ("Symbol('s34', positive=True, integer=True)", "Mul(Integer(3), Symbol('s1', integer=True))", "12"):
        assert EXPRESSION.fullmatch(good)
    for bad in ("exit()", "Symbol('x')", "open('a')", "Integer.__class__", "Mul(Integer(2), print(3))", "Mulx(3)"):
        assert not EXPRESSION.fullmatch(bad)
