"""Files on disk: reading, writing, hashes and locks."""
