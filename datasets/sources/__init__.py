"""Sources: what every input becomes before it is converted."""
