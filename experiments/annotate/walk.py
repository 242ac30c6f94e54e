"""Follow docs/annotate.md with photos whose boxes are known: make the folder, correct ten photos on the page, count right boxes.

python experiments/annotate/walk.py photos <CUB_20> <folder>
python experiments/annotate/walk.py correct <CUB_20> <output_dir of predict> <corrected.json>
python experiments/annotate/walk.py score <CUB_20> <predictions.json> ...
"""

import json
import random
import shutil
import sys
from pathlib import Path

import torch
from torchvision.ops import box_iou

PER_CLASS, CORRECTED = 20, 10


def true_boxes(root: Path) -> dict[str, list[float]]:
    """Return x0 y0 x1 y1 of each image, by class folder and file name."""
    names = [line.split() for line in (root / "images.txt").read_text().splitlines()]
    rows = [line.split() for line in (root / "bounding_boxes.txt").read_text().splitlines()]
    boxes = {number: [float(value) for value in values] for number, *values in rows}
    return {name: [x, y, x + w, y + h] for number, name in names for x, y, w, h in [boxes[number]]}


def photos(root: Path, folder: Path) -> None:
    """Copy twenty photos of every second class."""
    draw = random.Random(0)
    for source in sorted(path for path in (root / "images").iterdir() if path.is_dir())[::2]:
        (folder / source.name).mkdir(parents=True)
        for path in draw.sample(sorted(source.glob("*.jpg")), PER_CLASS):
            shutil.copy(path, folder / source.name / path.name)


def correct(root: Path, output_dir: Path, saved: Path) -> None:
    """Type the true boxes of the first photos of the page, accept them, and save."""
    from playwright.sync_api import sync_playwright

    boxes = {Path(name).stem: box for name, box in true_boxes(root).items()}
    program = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as running:
        browser = running.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1440, "height": 900}, accept_downloads=True)
        page.goto((output_dir.absolute() / "page" / "index.html").as_uri())
        page.locator("#grid canvas").first.click()
        for _ in range(CORRECTED):
            page.wait_for_timeout(500)
            name = page.locator("#name").inner_text().replace("\u200b", "")
            box = next(box for stem, box in boxes.items() if name.endswith(stem))
            for k, corner in enumerate(box):
                field = page.locator("#corners input").nth(k)
                field.fill(str(corner))
                field.press("Enter")
            page.locator("#large [data-decide=accepted]").click()  # steps to the next photo
        page.keyboard.press("Escape")
        with page.expect_download() as download:
            page.locator("#save").click()
        download.value.save_as(saved)
        browser.close()


def score(root: Path, *files: Path) -> None:
    """Print how many boxes reach IoU 0.5 with the true one."""
    boxes = true_boxes(root)
    print("| predictions | images | right | mean IoU | found |\n| --- | --- | --- | --- | --- |")
    for file in files:
        rows = json.loads(file.read_text())
        drawn = torch.tensor([list(row["box"].values()) for row in rows])
        true = torch.tensor([boxes["/".join(Path(row["image"]).parts[-2:])] for row in rows])
        overlaps = box_iou(drawn, true).diagonal().tolist()
        right, found = sum(overlap >= 0.5 for overlap in overlaps), sum(row["found"] for row in rows)
        print(f"| {file} | {len(rows)} | {right} | {sum(overlaps) / len(rows):.2f} | {found} |")


if __name__ == "__main__":
    {"photos": photos, "correct": correct, "score": score}[sys.argv[1]](*map(Path, sys.argv[2:]))
