"""Formats that are broken on purpose, one fault each: the checks of the suite must find them."""
