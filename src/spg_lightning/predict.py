"""The verb `predict` of the command line."""

from spg_lightning.cli import run


def main() -> None:
    """Run `predict` from the command line."""
    run("predict")


if __name__ == "__main__":
    main()
