"""The index that makes start-up instant."""
