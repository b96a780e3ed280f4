"""Training: a threaded loader, fused transforms, samplers, process groups."""
