"""Write a localizer as an ONNX file, a torch.export program or an OpenVINO model, atomically."""

import copy
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import nn
from torch.export import Dim, ExportedProgram

from spg_lightning.errors import UserError, first_line
from spg_lightning.exporting.description import KEY, ModelDescription
from spg_lightning.exporting.program import INPUT, OUTPUTS, LocalizationProgram
from spg_lightning.exporting.pt2_archive import unsafe_operations
from spg_lightning.exporting.runtimes import require
from spg_lightning.localizer import Localizer
from spg_lightning.score_maps.normalization import MinMax
from spg_lightning.utils.atomic import atomically

DEFAULTS = {"refine": ("refinement", None), "views": ("views", None), "normalize": ("normalize", MinMax())}


def write_onnx(program: ExportedProgram, description: ModelDescription, path: Path) -> None:
    """Write an ONNX file with the description in its metadata."""
    content = _onnx(program, description)
    with atomically(path) as file:
        file.write(content)


def write_torch_export(program: ExportedProgram, description: ModelDescription, path: Path) -> None:
    """Write a .pt2 file with the description as an extra file.

    Raises:
        UserError: the program calls an operation that loading refuses.
    """
    if unsafe := unsafe_operations(_name_of(node.target) for node in program.graph.nodes if node.op == "call_function"):
        raise UserError(
            f"format=torch_export: the program calls {', '.join(unsafe)}, which loading refuses; take format=onnx"
        )
    buffer = BytesIO()
    torch.export.save(program, buffer, extra_files={f"{KEY}.json": description.as_json()})
    with atomically(path) as file:
        file.write(buffer.getvalue())


def write_openvino(program: ExportedProgram, description: ModelDescription, path: Path) -> None:
    """Write an OpenVINO model, converted from ONNX: an .xml file with the description, and a .bin file of weights."""
    openvino = require("openvino", "openvino", "format=openvino")
    with TemporaryDirectory() as folder:
        onnx, xml = Path(folder) / "model.onnx", Path(folder) / "model.xml"
        onnx.write_bytes(_onnx(program, description))
        model = openvino.convert_model(onnx)
        model.set_rt_info(description.as_json(), KEY)
        openvino.save_model(model, xml, compress_to_fp16=False)
        path.unlink(missing_ok=True)  # an .xml file never stands beside another export's weights
        for source, target in ((xml.with_suffix(".bin"), path.with_suffix(".bin")), (xml, path)):
            with atomically(target) as file:
                file.write(source.read_bytes())


FORMATS: dict[str, tuple[str, Callable[[ExportedProgram, ModelDescription, Path], None]]] = {
    "onnx": (".onnx", write_onnx),
    "torch_export": (".pt2", write_torch_export),
    "openvino": (".xml", write_openvino),
}


def write_exported(localizer: Localizer, description: ModelDescription, name: str, path: Path) -> None:
    """Write a localizer in a format.

    Args:
        localizer: of a checkpoint, on the CPU.
        description: of the model; its `top_k` classes are exported.
        name: one of `FORMATS`.
        path: of the file.

    Raises:
        UserError: a package is missing, the format cannot express a part, or the file cannot be written.
    """
    _, write = FORMATS[name]
    for package in () if name == "torch_export" else ("onnx", "onnxscript"):
        require(package, "export", f"format={name}")
    try:
        write(trace(LocalizationProgram(localizer, description.top_k)), description, path)
    except UserError:
        raise
    except OSError as error:
        raise UserError(f"output={path} cannot be written ({first_line(error)})") from error
    except Exception as error:  # exporters have errors of many types
        part = _culprit(localizer, description, name)
        raise UserError(f"{part} cannot be exported as format={name} ({_reason(error)}); choose another") from error


def trace(program: nn.Module) -> ExportedProgram:
    """Return the program for any number and size of images, without traces of this machine's files."""
    example = torch.zeros(2, 50, 70, 3, dtype=torch.uint8)  # three different numbers: none is taken for another
    shapes = ({0: Dim("batch"), 1: Dim("height"), 2: Dim("width")},)
    with torch.no_grad(), _quiet():
        program.eval()(example)  # tensors that are cached at their first use would belong to the tracer
        traced = torch.export.export(program, (example,), dynamic_shapes=shapes)
    for node in traced.graph.nodes:
        for key in ("stack_trace", "nn_module_stack", "source_fn_stack", "torch_fn"):
            node.meta.pop(key, None)
    return traced


def _onnx(program: ExportedProgram, description: ModelDescription) -> bytes:
    from spg_lightning.exporting.decompositions import TABLE

    with torch.no_grad(), _quiet():
        simple = program.run_decompositions(TABLE)
        converted = torch.onnx.export(
            simple, dynamo=True, verbose=False, input_names=[INPUT], output_names=list(OUTPUTS)
        )
    assert converted is not None
    converted.model.metadata_props[KEY] = description.as_json()
    converted.model.producer_name = KEY
    content: bytes = converted.model_proto.SerializeToString()
    return content


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence exporters, which report their progress as warnings."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _culprit(localizer: Localizer, description: ModelDescription, name: str) -> str:
    """Return the key of the part that a format cannot express: the first one without which the rest can be exported."""
    own = localizer.score_maps[localizer.name]
    for key, (attribute, default) in DEFAULTS.items():
        chosen = getattr(own, attribute)
        if type(chosen) is type(default):
            continue
        simpler, variant = copy.copy(localizer), copy.copy(own)
        setattr(variant, attribute, default)
        simpler.score_maps = {localizer.name: variant}
        try:
            with TemporaryDirectory() as folder:
                suffix, write = FORMATS[name]
                write(
                    trace(LocalizationProgram(simpler, description.top_k)), description, Path(folder) / f"model{suffix}"
                )
        except Exception:
            continue
        return f"{key} ({type(chosen).__name__})"
    return f"score_map={localizer.name} of this stem"


def _reason(error: BaseException) -> str:
    """Return the first line of the error at the bottom: exporters wrap it in advice."""
    while error.__cause__ is not None:
        error = error.__cause__
    return first_line(error)


def _name_of(target: object) -> str:
    return (
        f"torch.ops.{target}"
        if isinstance(target, torch._ops.OpOverload)
        else f"_operator.{getattr(target, '__name__', '')}"
    )
