"""NumPy ``.npy`` files."""
