"""The verb `convert` of the command line."""

from spg_lightning.cli import run


def main() -> None:
    """Run `convert` from the command line."""
    run("convert")


if __name__ == "__main__":
    main()
