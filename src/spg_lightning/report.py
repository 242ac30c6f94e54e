"""The verb `report` of the command line."""

from spg_lightning.cli import run


def main() -> None:
    """Run `report` from the command line."""
    run("report")


if __name__ == "__main__":
    main()
