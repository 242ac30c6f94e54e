"""Exports that several tests read."""

import pytest


@pytest.fixture(scope="session")
def exported(tiny_run, tmp_path_factory):
    """Return a function: format -> the exported file of the tiny run's attention maps of two classes, each made once."""
    from spg_lightning import compose, export

    folder, files = tmp_path_factory.mktemp("exported"), {}

    def get(kind: str):
        if kind not in files:
            suffix = {"onnx": ".onnx", "torch_export": ".pt2", "openvino": ".xml"}[kind]
            choices = [
                f"checkpoint={tiny_run[0].checkpoint}", f"format={kind}", f"output={folder}/model{suffix}", "top_k=2",
                "score_map=attention", "threshold=0.3", f"output_dir={folder}",
            ]  # fmt: skip
            files[kind] = export(compose("export", choices))
        return files[kind]

    return get
