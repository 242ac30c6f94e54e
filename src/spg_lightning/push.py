"""The command `push`: a run's checkpoint with a model card, to a folder or the Hugging Face hub.

Heavy libraries are imported inside the functions, so that `--help` and a wrong override are answered at once.
"""

import logging
from pathlib import Path

from omegaconf import DictConfig

from spg_lightning.config.command_line import run_command
from spg_lightning.errors import UserError
from spg_lightning.utils.validation import check_ranges

log = logging.getLogger(__name__)


def push(cfg: DictConfig) -> str:
    """Share a checkpoint as `conf/push.yaml` describes; return the folder, or the address of the commit on the hub.

    Raises:
        UserError: the checkpoint cannot be used, the folder cannot be written, or the upload fails.
    """
    from spg_lightning.checkpoints.hub import upload, write_shared
    from spg_lightning.checkpoints.hub_address import is_address

    check_ranges(cfg)
    checkpoint, target = Path(str(cfg.checkpoint)).expanduser(), str(cfg.to)
    if is_address(str(cfg.checkpoint)):
        raise UserError(f"checkpoint={cfg.checkpoint} is on the hub already; give a file")
    if is_address(target):
        target = upload(checkpoint, target, bool(cfg.private))
    else:
        folder = Path(target).expanduser()
        if folder.is_file():
            raise UserError(f"to={cfg.to} is a file; name a folder, or hf://owner/name")
        write_shared(checkpoint, folder)
    log.info("%s -> %s", checkpoint, target)
    return target


def main() -> None:
    """Run the command."""
    run_command("push")


if __name__ == "__main__":
    main()
