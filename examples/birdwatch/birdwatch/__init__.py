"""Parts of one's own for spg_lightning: each one file and one YAML."""
