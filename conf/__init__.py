"""Hydra configuration, installed as spg_lightning.conf."""
