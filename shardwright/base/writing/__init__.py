"""A conversion: plan, batches, shards, and the end."""
