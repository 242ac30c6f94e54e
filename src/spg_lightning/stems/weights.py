"""Read weights for a stem from where they are: a local file, an installed package, or torchvision's cache."""

import logging
from pathlib import Path
from urllib.error import URLError

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision.models import WeightsEnum

from spg_lightning.errors import UserError, first_line
from spg_lightning.utils.torch_files import load_torch_file

log = logging.getLogger(__name__)


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """Return the tensors of a `.safetensors` or PyTorch file, without running any code stored in it.

    Raises:
        UserError: the file is missing, damaged, or holds more than plain tensors.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise UserError(f"weights file {path} does not exist; give the path of a .safetensors or .pth file")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        loaded = load_torch_file(path)
    except Exception as error:  # every reader fails in its own way on a damaged or foreign file
        raise UserError(f"{path} cannot be read as plain weights ({first_line(error)})") from error
    state_dict = loaded.get("state_dict", loaded) if isinstance(loaded, dict) else loaded
    if not isinstance(state_dict, dict) or not all(isinstance(v, Tensor) for v in state_dict.values()):
        raise UserError(f"{path} holds no state dict; expected parameter names with tensors")
    return state_dict


def torchvision_state_dict(weights: WeightsEnum) -> dict[str, Tensor]:
    """Return the state dict of a torchvision weights enum entry, downloaded once into torch's hub folder.

    Raises:
        UserError: there is no network and no cached file.
    """
    try:
        return dict(weights.get_state_dict(progress=False, check_hash=True))
    except (URLError, OSError) as error:
        name, folder = Path(weights.url).name, Path(torch.hub.get_dir()) / "checkpoints"
        raise UserError(
            f"ImageNet weights {name} cannot be downloaded ({first_line(error)}); put that file into {folder}"
        ) from error


def load_backbone(stem: nn.Module, weights: str, enum: type[WeightsEnum], default: WeightsEnum) -> None:
    """Load a torchvision backbone's weights into a stem that keeps its names; what the stem has not is left out.

    Args:
        stem: whose state dict's names are torchvision's.
        weights: "none"; "imagenet" for `default`, or the name of another entry of `enum` (IMAGENET1K_V2); "auto" for
            `default` where it is or can be downloaded, and none with a warning elsewhere; or the path of a state dict.
        enum: the architecture's weights in torchvision.
        default: of them.

    Raises:
        UserError: the weights cannot be had or do not fit.
    """
    if weights == "none":
        return
    if weights in ("auto", "imagenet") or weights in enum.__members__:
        try:
            state_dict = torchvision_state_dict(enum[weights] if weights in enum.__members__ else default)
        except UserError as error:
            error = UserError(f"{error}, or set stem.weights=<its path>, or stem.weights=none to train from scratch")
            if weights != "auto":
                raise error from None
            log.warning("TRAINING FROM SCRATCH: %s; stem.weights=imagenet makes this an error", error)
            return
    else:
        state_dict = read_state_dict(weights)
    load_subset(stem, state_dict, f"stem.weights={weights}: not torchvision's {enum.__name__.removesuffix('_Weights')}")


def load_subset(module: nn.Module, state_dict: dict[str, Tensor], complaint: str) -> None:
    """Load every entry a module has from a state dict that may hold more.

    Raises:
        UserError: `complaint`, with how many entries are missing or of another shape, and the first of them.
    """
    own = module.state_dict()
    lacking = [n for n, value in own.items() if n not in state_dict or state_dict[n].shape != value.shape]
    if lacking:
        raise UserError(
            f"{complaint}: {len(lacking)} of {len(own)} entries are missing or of another shape "
            f"(first: {', '.join(lacking[:3])})"
        )
    module.load_state_dict({name: state_dict[name] for name in own})
