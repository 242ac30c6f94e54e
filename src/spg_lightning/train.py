"""The verb `train` of the command line."""

from spg_lightning.cli import run


def main() -> None:
    """Run `train` from the command line."""
    run("train")


if __name__ == "__main__":
    main()
