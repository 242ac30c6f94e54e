"""The programs that compute exported models: each opens a file as its description and a function of images."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from spg_lightning.errors import UserError, first_line
from spg_lightning.exporting.description import KEY, ModelDescription

Runtime = Callable[[UInt8[np.ndarray, "B Y X 3"]], tuple[np.ndarray, ...]]
Opened = tuple[ModelDescription, Runtime]


def open_onnx(path: Path) -> Opened:
    """Open an ONNX file with ONNX Runtime.

    Raises:
        UserError: onnxruntime is not installed; the file is damaged, or another program's.
    """
    ort = require("onnxruntime", "export", path)
    ort.disable_telemetry_events()  # its packages contain telemetry
    options = ort.SessionOptions()
    options.log_severity_level = 3  # errors: what it warns of while it loads a damaged file is in its exception, too
    try:
        # as bytes: a hostile file cannot name others as its weights
        session = ort.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has a dozen types of its own
        raise _damaged(path, "an ONNX file", error) from error
    stored = session.get_modelmeta().custom_metadata_map.get(KEY)
    description = ModelDescription.from_json(stored, path, "an ONNX file")
    (image,) = session.get_inputs()
    return description, lambda images: tuple(session.run(None, {image.name: images}))


def open_openvino(path: Path) -> Opened:
    """Open an OpenVINO model, an .xml file with a .bin file beside it.

    Raises:
        UserError: openvino is not installed; the files are damaged, or another program's.
    """
    openvino = require("openvino", "openvino", path)
    core = openvino.Core()
    try:
        model = core.read_model(path)
        stored = model.get_rt_info(KEY).astype(str) if model.has_rt_info(KEY) else None
        description = ModelDescription.from_json(stored, path, "an OpenVINO model")
        # by default it computes in bfloat16 where the CPU has it, which moves boxes
        compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    except RuntimeError as error:
        raise _damaged(path, "an OpenVINO model, or its .bin file is not beside it", error) from error

    def run(images: UInt8[np.ndarray, "B Y X 3"]) -> tuple[np.ndarray, ...]:
        found = compiled.create_infer_request().infer(images)  # one for each call, so that threads share none
        return tuple(np.array(found[i]) for i in range(len(compiled.outputs)))

    return description, run


def open_torch_export(path: Path) -> Opened:
    """Open a program of torch.export.

    Raises:
        UserError: the file is damaged, another program's, or would run code while it is loaded.
    """
    import torch

    from spg_lightning.exporting.pt2_archive import checked_archive

    description, archive = checked_archive(path)
    try:
        module = torch.export.load(archive).module()
    except Exception as error:  # of any type: the file may come from another version of torch
        raise _damaged(path, f"a program for torch {torch.__version__}", error) from error

    def run(images: UInt8[np.ndarray, "B Y X 3"]) -> tuple[np.ndarray, ...]:
        with torch.no_grad():
            return tuple(output.numpy() for output in module(torch.from_numpy(images)))

    return description, run


def require(package: str, extra: str, wanted_for: Any) -> Any:
    """Import an optional package.

    Raises:
        UserError: it is not installed; names the extra that brings it.
    """
    try:
        return import_module(package)
    except ImportError as error:
        raise UserError(f"{wanted_for} needs {package}: pip install 'spg-lightning[{extra}]'") from error


def _damaged(path: Path, expected: str, error: Exception) -> UserError:
    return UserError(f"{path} is damaged or not {expected} ({first_line(error)}); export the checkpoint again")


RUNTIMES: dict[str, Callable[[Path], Opened]] = {
    ".onnx": open_onnx,
    ".pt2": open_torch_export,
    ".xml": open_openvino,
}
