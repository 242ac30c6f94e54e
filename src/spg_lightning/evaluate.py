"""The verb `evaluate` of the command line."""

from spg_lightning.cli import run


def main() -> None:
    """Run `evaluate` from the command line."""
    run("evaluate")


if __name__ == "__main__":
    main()
