"""The score maps among which the page lets one choose, and their way to the page."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from spg_lightning.errors import UserError
from spg_lightning.localization.regions import Box
from spg_lightning.localizer import Localization, Localizer
from spg_lightning.predicting.loading import LoadedImage
from spg_lightning.predicting.page import write_photo
from spg_lightning.predicting.rows import ImageRow
from spg_lightning.score_maps.context import ScoreMap
from spg_lightning.score_maps.registry import processed, resolve


def page_score_maps(localizer: Localizer, names: str | Sequence[str]) -> dict[str, ScoreMap]:
    """Return score maps with the views, normalisation and refinement of the localizer's own, and that one without refinement.

    Args:
        localizer: of a network.
        names: see `score_maps.resolve`; "auto" for all that cost nothing beyond the forward.

    Raises:
        UserError: the network lacks one.
    """
    own, base = localizer.score_maps[localizer.name], localizer.name.partition(":")[0]
    try:
        plain = resolve(names, localizer.network.branches) if names else {}
    except UserError as error:
        raise UserError(f"page_maps: {error}") from error
    maps = processed(plain, {"": own.normalize}, {"": own.refinement}, {"": own.views})
    if own.refinement is not None:
        maps = {f"{name}, refined": score_map for name, score_map in maps.items()}
        if base.split("+")[0] in resolve("auto", localizer.network.branches):
            (unrefined,) = processed(
                resolve(base, localizer.network.branches), {"": own.normalize}, {"": None}, {"": own.views}
            ).values()
            maps[f"{base}, not refined"] = unrefined
    maps.pop(f"{base}, refined" if own.refinement is not None else base, None)  # the localizer's own
    return maps


class PhotoWriter:
    """Writes what the page shows of each photo.

    Args:
        folder: of the results.
        chosen: name of the localizer's own score map.
        true_boxes: path of an image -> its boxes, where they are known.
    """

    def __init__(self, folder: Path, chosen: str, true_boxes: Mapping[str, Sequence[Box]]) -> None:
        self.folder, self.chosen, self.true_boxes = folder, chosen, true_boxes

    def __call__(self, name: str, row: ImageRow, loaded: LoadedImage, found: Sequence[Localization]) -> None:
        """Write the photo and the score maps of its most probable class."""
        assert loaded.photo is not None
        maps = {self.chosen: found[0].score_map, **found[0].others}
        write_photo(self.folder, name, row, loaded.photo, maps, self.chosen, self.true_boxes.get(row.image, ()))
