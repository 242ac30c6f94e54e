"""The verb `prepare` of the command line."""

from spg_lightning.cli import run


def main() -> None:
    """Run `prepare` from the command line."""
    run("prepare")


if __name__ == "__main__":
    main()
