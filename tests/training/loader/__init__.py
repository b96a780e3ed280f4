"""The threaded loader: DataLoader's batches, whatever the threads; safe memory; certain ends."""
