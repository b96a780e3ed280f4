"""Arrays: .npy, .npz and IDX files, and arrays in memory."""
