"""Datasets as sources: the names of their values, and whose files are stored as they are."""
