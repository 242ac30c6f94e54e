"""Check every image and mask of a data set: it decodes, and has the size that its records say."""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from spg_lightning.data.decode import read_image
from spg_lightning.data.masks import read_ternary_mask
from spg_lightning.data.records import Records, Splits
from spg_lightning.data.validation.issues import IssueCollector
from spg_lightning.errors import UserError

CHUNK = 16


def verify(
    splits: Splits,
    published: Mapping[str, int] | None,
    issues: IssueCollector,
    workers: int,
    advance: Callable[[int], None],
) -> list[str]:
    """Decode every image and mask; problems go to `issues`.

    Args:
        splits: the records.
        published: part, or "classes", -> how many its authors say there are; None where nobody does.
        issues: collects the problems.
        workers: threads.
        advance: receives the number of images verified since its last call.

    Returns:
        What differs from the published numbers, which may well be meant.
    """
    parts = {"train": splits.train, "val": splits.val, "test": splits.test}
    for records in parts.values():
        if records is not None:
            _decode(records, issues, workers, advance)
    counts = {part: len(records) for part, records in parts.items() if records is not None}
    counts["classes"] = len(splits.train.class_names)
    return [
        f"{counts[what]} {what}{'' if what == 'classes' else ' photos'}, published are {number}"
        for what, number in (published or {}).items()
        if counts.get(what, number) != number
    ]


def _decode(records: Records, issues: IssueCollector, workers: int, advance: Callable[[int], None]) -> None:
    def work(start: int) -> list[tuple[str, Path]]:
        findings = []
        for index in range(start, min(start + CHUNK, len(records))):
            path = records.root / records.images[index]
            try:
                height, width = read_image(path, records.apply_exif_orientation).shape[:2]
                if (width, height) != tuple(records.sizes[index]):
                    raise UserError(f"{path} has {width} x {height} pixels, its header says otherwise; restore it")
                if records.masks:
                    read_ternary_mask(records, index, (width, height))
            except UserError as error:
                findings.append((str(error), path))
        return findings

    with ThreadPoolExecutor(workers) as pool:
        for start, findings in zip(
            range(0, len(records), CHUNK), pool.map(work, range(0, len(records), CHUNK)), strict=True
        ):
            for text, path in findings:
                issues.add(text, path)
            advance(min(CHUNK, len(records) - start))
