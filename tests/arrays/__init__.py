"""Arrays as sources: every file format, dtype, order and layout, labels of every kind, and bad input."""
