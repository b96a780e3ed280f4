"""The tests; a package, so that they find their helpers whatever else is installed."""
