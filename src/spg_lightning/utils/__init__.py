"""Helpers that know nothing of networks: files, processes, signals, devices."""
