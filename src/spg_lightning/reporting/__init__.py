"""Overlays, gallery, tables, plots."""
