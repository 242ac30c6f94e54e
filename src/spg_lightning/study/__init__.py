"""Several runs side by side: variants, means over seeds, paired differences, one page."""

from spg_lightning.study.assemble import Report, report

__all__ = ["Report", "report"]
