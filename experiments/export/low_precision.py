"""Share of photos whose box a model of lower precision keeps: OpenVINO in bfloat16, ONNX Runtime in dynamic int8. See README.md."""

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
import onnxruntime as ort
import openvino
from onnxruntime.quantization import QuantType, quantize_dynamic

from spg_lightning import Localizer
from spg_lightning.data.images import read_image


def bfloat16(path: Path):
    """Return a runtime of an OpenVINO model in bfloat16."""
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(path), "CPU", {"INFERENCE_PRECISION_HINT": "bf16"})
    return lambda images: tuple(np.array(output) for output in compiled(images).values())


def int8(path: Path):
    """Return a runtime of an ONNX file whose weights are int8, and whose activations are quantized as they come."""
    with TemporaryDirectory() as folder:
        model, out = onnx.load(path), Path(folder) / "int8.onnx"
        del model.graph.value_info[:]  # its shapes of symbolic batches confuse the quantizer
        onnx.save(model, Path(folder) / "float.onnx")
        quantize_dynamic(Path(folder) / "float.onnx", out, weight_type=QuantType.QUInt8, op_types_to_quantize=["Conv"])
        session = ort.InferenceSession(out)
    return lambda images: tuple(session.run(None, {"images": images}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=100)
    parser.add_argument("--onnx", type=Path, required=True)
    parser.add_argument("--openvino", type=Path, required=True)
    args = parser.parse_args()
    photos = sorted(args.photos.rglob("*.jpg"))
    photos = [photos[i] for i in np.linspace(0, len(photos) - 1, args.limit).astype(int)]
    reference = Localizer.load(args.onnx)
    for name, source, make in (("openvino bfloat16", args.openvino, bfloat16), ("onnxruntime int8", args.onnx, int8)):
        other = Localizer.load(source)
        other._runtime = make(source)
        boxes = classes = 0
        for path in photos:
            image = read_image(path, apply_exif_orientation=True)
            (one,), (two,) = reference(image), other(image)
            classes += one.class_index == two.class_index
            boxes += one.box == two.box
        print(f"{name}: {boxes} of {len(photos)} boxes and {classes} classes equal", flush=True)


if __name__ == "__main__":
    main()
