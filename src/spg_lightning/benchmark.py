"""The verb `benchmark` of the command line."""

from spg_lightning.cli import run


def main() -> None:
    """Run `benchmark` from the command line."""
    run("benchmark")


if __name__ == "__main__":
    main()
