"""The model card of a shared checkpoint, from its metadata and the results of its run."""

from collections.abc import Mapping
from typing import Any

from spg_lightning.checkpoints.metadata import CheckpointMetadata
from spg_lightning.checkpoints.weights_license import license_of_weights

METRICS = {
    "test/gt_known_error": "GT-known localization error",
    "test/loc_top1_error": "Top-1 localization error",
    "test/cls_top1_error": "Top-1 classification error",
    "test/max_box_acc_v2": "MaxBoxAccV2",
    "test/pxap": "PxAP",
}
FLOORS = {
    "test/floor_whole_gt_known_error": "the whole image as box",
    "test/floor_center_gt_known_error": "the best centred box of val",
}
TASK = "object-detection"  # the nearest of the hub's tasks


def model_card(
    metadata: CheckpointMetadata, metrics: Mapping[str, float], provenance: Mapping[str, Any], address: str
) -> str:
    """Return the card as Markdown with the hub's front matter.

    Args:
        metadata: of the checkpoint.
        metrics: of its run, as in metrics.json; empty if unknown.
        provenance: of its run, as in provenance.json; empty if unknown.
        address: that the usage loads from.
    """
    from huggingface_hub import EvalResult, ModelCardData  # takes 0.3 s

    config, license_name = metadata.config, license_of_weights(metadata.config)
    dataset, stem, method = (_name(config, key) for key in ("dataset", "stem", "method"))
    name = address.rstrip("/").rpartition("/")[2]
    shown = {key: label for key, label in METRICS.items() if key in metrics}
    data = ModelCardData(
        library_name="spg_lightning",
        tags=["weakly-supervised-object-localization", "class-activation-map", method, stem],
        license=license_name.lower(),
        pipeline_tag=TASK,
        datasets=[dataset],
        metrics=[key.partition("/")[2] for key in shown],
        model_name=name,
        eval_results=[
            EvalResult(
                task_type=TASK,
                task_name="Weakly supervised object localization",
                dataset_type=dataset,
                dataset_name=dataset,
                dataset_split="test",
                metric_type=key.partition("/")[2],
                metric_name=label,
                metric_value=round(metrics[key], 2),
            )
            for key, label in shown.items()
        ],
    )
    usage = (
        f'Localizer.load("{address}")'
        if metadata.localization
        else f'Localizer.load("{address}", score_map="attention", threshold=0.2)'
    )
    parts = [
        f"---\n{data.to_yaml()}\n---\n",
        f"# {name}\n",
        f"A network that classifies {len(metadata.class_names)} classes and localizes the object, trained from class labels alone: "
        f"method `{method}`, stem `{stem}`, data set `{dataset}`, {metadata.crop} x {metadata.crop} pixels.\n",
        _results(metrics, shown),
        "## Use\n",
        "```python\nfrom spg_lightning import Localizer\n\n"
        f'localizer = {usage}\n(best,) = localizer("photo.jpg")\nprint(best.class_name, best.score, best.box)\n```\n',
        f"    spg-predict checkpoint={address} images=photos/\n",
        _details(metadata, provenance, license_name),
    ]
    return "\n".join(part for part in parts if part)


def _results(metrics: Mapping[str, float], shown: Mapping[str, str]) -> str:
    if not shown:
        return ""
    rows = [f"| {label} | {metrics[key]:.2f} |" for key, label in shown.items()]
    floors = [
        f"| GT-known localization error of {label} | {metrics[key]:.2f} |"
        for key, label in FLOORS.items()
        if key in metrics
    ]
    count = int(metrics.get("test/num_images", 0))
    return "\n".join([
        f"## Results on {count} test images\n",
        "In percent. The last rows are naive baselines on the same images.\n",
        "| | |", "| --- | --- |", *rows, *floors, "",
    ])  # fmt: skip


def _details(metadata: CheckpointMetadata, provenance: Mapping[str, Any], license_name: str) -> str:
    chosen, versions = metadata.localization, provenance.get("versions") or {}
    facts = {
        "score map": chosen.get("score_map", "none chosen"),
        "threshold": f"{chosen['threshold']:.3f} of the map's maximum, chosen on val"
        if "threshold" in chosen
        else "none chosen",
        "licence of the pretrained weights": license_name,
        "terms of the data set": ((metadata.config.get("dataset") or {}).get("about") or {}).get("use"),
        "seed": provenance.get("seed"),
        "commit": provenance.get("commit"),
        "versions": ", ".join(f"{key} {value}" for key, value in versions.items() if value),
        "classes": ", ".join(metadata.class_names),
    }
    return "\n".join(
        ["## Details\n", *(f"* {key}: {value}" for key, value in facts.items() if value not in (None, "")), ""]
    )


def _name(config: Mapping[str, Any], key: str) -> str:
    return str((config.get(key) or {}).get("name", "unknown"))
