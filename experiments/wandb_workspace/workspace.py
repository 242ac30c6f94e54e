"""A Weights & Biases workspace that sets a project's ablations side by side, made by code.

    python experiments/wandb_workspace/workspace.py --entity ME [--project spg_lightning] [--map b1] [--dry-run]

Needs `pip install spg-lightning[workspace]`, and a login unless it only shows the definition (--dry-run).
"""

import argparse
import json
import sys
from typing import Any

from spg_lightning.errors import UserError

LOSSES = ("total", "cls", "b2", "b1", "c")
ERRORS = {
    "gt_known_error": "GT-known error, %",
    "loc_top1_error": "Top-1 localization error, %",
    "loc_top5_error": "Top-5 localization error, %",
    "cls_top1_error": "Top-1 classification error, %",
    "max_box_acc_v2": "MaxBoxAccV2, %",
    "pxap": "PxAP, %",
}
KINDS = ("foreground", "background", "ignored")
IOUS = (30, 50, 70)
RATES = ("images_per_second", "step_seconds", "data_wait_seconds", "memory_gb")


def workspace(entity: str, project: str, score_map: str) -> Any:
    """Return the definition: a line or bar a variant, mean and range over its seeds. Nothing is sent before its `save()`.

    Args:
        entity, project: where it is to be.
        score_map: whose curves are laid over each other; the maps are compared beside it.

    Raises:
        UserError: wandb-workspaces is not installed.
    """
    try:
        import wandb_workspaces.reports.v2 as wr
        import wandb_workspaces.workspaces as ws
    except ImportError as error:
        raise UserError("a workspace needs wandb-workspaces: pip install spg-lightning[workspace]") from error

    spread: dict[str, Any] = {"groupby": "Group", "groupby_aggfunc": "mean", "groupby_rangefunc": "minmax"}

    def bars(title: str, *metrics: str) -> Any:
        return wr.BarPlot(title=title, metrics=list(metrics), **spread)

    def lines(title: str, *metrics: str, x: str = "trainer/global_step", **more: Any) -> Any:
        return wr.LinePlot(title=title, x=x, y=list(metrics), **spread, **more)

    def over_threshold(name: str, curve: str, title: str) -> Any:
        key = f"curve/{name}/{curve}"
        return lines(title, key, x="curve/threshold", title_x="threshold", range_x=(0, 1), range_y=(0, 100))

    maps = list(dict.fromkeys([score_map, "attention", "c", "fused", "b1", "b2"]))
    sections = {
        "Localization on test, threshold from val": [
            *(bars(title, f"test/{metric}") for metric, title in ERRORS.items()),
            bars("GT-known error of the best centred box, %", "test/floor_center_gt_known_error"),
            bars("GT-known error by score map, %", *(f"test/{name}/gt_known_error" for name in maps)),
        ],
        "Right over threshold, test": [
            *(over_threshold(name, "gt_known", f"{name}: IoU 50, largest contour, %") for name in maps),
            *(over_threshold(score_map, f"iou{iou}", f"{score_map}: IoU {iou}, any contour, %") for iou in IOUS),
        ],
        "Photos": [
            wr.MediaBrowser(title="Boxes and masks", media_keys=["test/gallery"], num_columns=4),
            wr.WeavePanelSummaryTable(table_name="test/photos"),
        ],
        "Training": [
            *(lines(f"Loss: {name}", f"train/loss_{name}") for name in LOSSES),
            lines("GT-known error on val, best threshold, %", "val/gt_known_error"),
        ],
        "Masks of B2, B1 and C: fraction of pixels": [
            lines(f"{name.upper()}: {kind}", f"train/mask_{name}/{kind}", range_y=(0, 1))
            for name in ("b2", "b1", "c")
            for kind in KINDS
        ],
        "Rates": [
            lines("Learning rate of the stem", "lr-SGD/stem_weight"),
            lines("Learning rate of new layers", "lr-SGD/new_weight"),
            *(lines(name.replace("_", " "), f"train/{name}") for name in RATES),
        ],
        "What differs": [wr.RunComparer(diff_only="split")],
    }
    return ws.Workspace(
        entity=entity,
        project=project,
        name="SPG ablations",
        sections=[ws.Section(name=name, panels=panels, is_open=True) for name, panels in sections.items()],
        settings=ws.WorkspaceSettings(x_axis="trainer/global_step"),
        runset_settings=ws.RunsetSettings(
            groupby=[ws.Metric("Group")], order=[ws.Ordering(ws.Summary("test/gt_known_error"))],
            pinned_columns=["summary:test/gt_known_error", "summary:test/loc_top1_error", "config:variant", "config:seed"],
        ),
    )  # fmt: skip


def definition(made: Any) -> dict[str, Any]:
    """Return a workspace as the plain data that is sent."""
    return made._to_model().model_dump(by_alias=True, exclude_none=True, mode="json")


def main() -> None:
    """Save the workspace, or print its definition."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entity", required=True, help="user or team")
    parser.add_argument("--project", default="spg_lightning")
    parser.add_argument("--map", default="b1", help="score map whose curves are laid over each other")
    parser.add_argument("--dry-run", action="store_true", help="print the definition; nothing is sent")
    args = parser.parse_args()
    try:
        made = workspace(args.entity, args.project, args.map)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    if args.dry_run:
        print(json.dumps(definition(made), indent=2))
    else:
        made.save()


if __name__ == "__main__":
    main()
