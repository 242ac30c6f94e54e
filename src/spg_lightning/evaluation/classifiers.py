"""Other classifiers' labels for the classes to localize (paper section 4.3, table 3).

A classifier is named by a file of predictions, a checkpoint of this package, or a model of torchvision or timm. Its label space
is matched with the data set's by the classes' names; what it predicts beyond the data set's classes counts as wrong.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import timm
import torch
import torchvision
from jaxtyping import Int
from timm.data import ImageNetInfo
from torch import Tensor, nn
from torch.nn import functional as F

from spg_lightning.checkpoints.rebuild import load_network
from spg_lightning.data.predictions import OTHER, Ranking, read_predictions
from spg_lightning.data.readers.benchmark_metadata import natural
from spg_lightning.errors import UserError, first_line, nearest
from spg_lightning.stems.weights import torchvision_state_dict

TOP = 5


def open_classifier(
    name: str, class_names: Sequence[str], image_ids: Sequence[str], trust: Sequence[str] = ()
) -> Ranking:
    """Return what ranks a data set's classes for its images.

    Args:
        name: path of a .csv file of rows <image id>,<class>,<second class>,... (names, or indices from 0;
            "-" for a class that the data set does not have); path of a .ckpt or
            .safetensors checkpoint of this package; or a model's name, of torchvision or else of timm, with the weights
            that the library has for it (`timm/<name>` where both have one).
        class_names: of the data set.
        image_ids: those that a file of predictions has to cover.

    Raises:
        UserError: no such file, model or weights; a class of the data set that the classifier does not know.
    """
    path = Path(name).expanduser()
    if path.suffix == ".csv":
        return _from_file(path, class_names, image_ids)
    if path.suffix in (".ckpt", ".safetensors"):
        return _Network(*_of_checkpoint(path, class_names, trust))
    return _Network(*_of_library(name, class_names))


def match_classes(wanted: Sequence[str], known: Sequence[Sequence[str]], classifier: str) -> Int[Tensor, " outputs"]:
    """Return for each output of a classifier the data set's class index, or OTHER.

    Names are compared without case, punctuation and a leading number ("001.Black_footed_Albatross" is "Black-footed
    albatross"); a name that several outputs bear matches none of them.

    Args:
        wanted: the data set's class names.
        known: each output's names.
        classifier: what it was called, for the message.

    Raises:
        UserError: a class of the data set is no output's.
    """
    _require_different(wanted)
    bearers: dict[str, set[int]] = {}
    for output, names in enumerate(known):
        for text in names:
            bearers.setdefault(_plain(text), set()).add(output)
    of_output = torch.full((len(known),), OTHER)
    for index, text in enumerate(wanted):
        found = bearers.get(_plain(text), set())
        if len(found) != 1:
            why = "has several classes of that name" if found else f"does not know it among its {len(known)} classes"
            raise UserError(
                f"classifier={classifier}: the data set's class {text!r} is not its own: it {why} ({known[0][0]}, ...); "
                "take a classifier of the same classes, or give its predictions as a .csv file"
            )
        of_output[found.pop()] = index
    return of_output


def _require_different(class_names: Sequence[str]) -> None:
    """Refuse class names that are one name where case and punctuation do not count."""
    first: dict[str, str] = {}
    for name in class_names:
        if (other := first.setdefault(_plain(name), name)) != name:
            raise UserError(f"classifier=: the data set's classes {other!r} and {name!r} cannot be told apart by name")


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "", re.sub(r"^\d+\.", "", name).casefold())


class _Network:
    """A network as a classifier: images of any size in, ranked classes of the data set out."""

    def __init__(
        self, network: nn.Module, size: int | None, mean: Sequence[float], std: Sequence[float], of_output: Tensor
    ) -> None:
        self.network = network.eval()
        self.size, self.of_output = size, of_output
        self.mean, self.std = (torch.tensor(values).view(1, 3, 1, 1) for values in (mean, std))

    @torch.no_grad()
    def __call__(self, images: Tensor, image_ids: Sequence[str]) -> Tensor:
        device = images.device
        self.network.to(device)
        x = (images.float() / 255 - self.mean.to(device)) / self.std.to(device)
        if self.size is not None and x.shape[-2:] != (self.size, self.size):
            x = F.interpolate(x, (self.size, self.size), mode="bilinear", antialias=True)
        scores = self.network(x)
        best = scores.topk(min(TOP, scores.shape[1]), dim=1).indices
        return self.of_output.to(device)[best]


class _Logits(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(images, ()).logits
        return logits


def _of_checkpoint(
    path: Path, class_names: Sequence[str], trust: Sequence[str]
) -> tuple[nn.Module, int, Sequence[float], Sequence[float], Tensor]:
    network, description = load_network(path, trust)
    of_output = match_classes(class_names, [[name] for name in description.class_names], str(path))
    return _Logits(network), description.crop, network.stem.mean, network.stem.std, of_output


def _of_library(
    name: str, class_names: Sequence[str]
) -> tuple[nn.Module, int | None, Sequence[float], Sequence[float], Tensor]:
    bare = name.split("/", 1)[-1]
    torchvisions = torchvision.models.list_models(module=torchvision.models)
    if bare in torchvisions and not name.startswith("timm/"):
        weights = torchvision.models.get_model_weights(bare).DEFAULT
        of_output = match_classes(class_names, _imagenet(weights.meta["categories"]), name)
        network = torchvision.models.get_model(bare, weights=None)
        network.load_state_dict(torchvision_state_dict(weights))
        if hasattr(
            network, "transform_input"
        ):  # Inception-v3, GoogLeNet: what their builders do where they load weights
            network.transform_input = True
        how = weights.transforms()
        return network, how.crop_size[0], how.mean, how.std, of_output
    if not timm.is_model(bare.split(".")[0]):
        raise UserError(
            f"classifier={name}: neither a file (.csv, .ckpt, .safetensors) nor a model of torchvision or timm."
            f"{nearest(bare, [*torchvisions, *timm.list_models()])}"
        )
    try:
        config = timm.get_pretrained_cfg(bare)
    except RuntimeError as error:
        tags = ", ".join(timm.list_pretrained(f"{bare.split('.')[0]}.*")) or "none"
        raise UserError(f"classifier={name}: timm has no such weights; it has {tags}") from error
    if config is None or config.num_classes != len(_imagenet(None)):
        raise UserError(
            f"classifier={name}: timm does not say which classes these weights know; give its predictions as a .csv file"
        )
    of_output = match_classes(class_names, _imagenet(None), name)
    try:
        network = timm.create_model(bare, pretrained=True)
    except (RuntimeError, OSError) as error:
        raise UserError(
            f"classifier={name}: timm's weights cannot be had ({first_line(error)}); give its predictions as a .csv file"
        ) from error
    size = config.input_size[-1] if config.fixed_input_size else None
    return network, size, config.mean, config.std, of_output


def _imagenet(categories: Sequence[str] | None) -> list[list[str]]:
    """Return the names of each of ImageNet's classes: WordNet's id, its synonyms, and a library's own name."""
    info = ImageNetInfo()
    names = [[info.index_to_label_name(k), *info.index_to_description(k).split(",")] for k in range(info.num_classes())]
    if categories is None:
        return names
    if len(categories) != len(names):
        return [[category] for category in categories]
    return [[*synonyms, category] for synonyms, category in zip(names, categories, strict=True)]


def _from_file(path: Path, class_names: Sequence[str], image_ids: Sequence[str]) -> Ranking:
    _require_different(class_names)
    index_of = {_plain(name): index for index, name in enumerate(class_names)}

    def class_of(word: str) -> int:
        if word == "-":
            return OTHER
        return index_of[_plain(word)] if _plain(word) in index_of else natural(word, len(class_names))

    table = read_predictions(path, tuple(image_ids), "classifier", class_of)
    most = min(TOP, *(len(row) for row in table.values()))  # rows of one length

    def rank(images: Tensor, ids: Sequence[str]) -> Tensor:
        return torch.tensor([table[image][:most] for image in ids], device=images.device)

    return rank
