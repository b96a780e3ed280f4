"""Exports: a split as the files of other tools, so that nobody is locked in."""
