"""Values: how they become bytes, and values again."""
