"""The threaded loader and its readers at their edges, on small raw arrays."""
