"""Torch-style datasets."""
