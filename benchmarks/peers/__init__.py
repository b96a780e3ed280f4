"""One small module per library that is measured; each is skipped where its library is missing."""
