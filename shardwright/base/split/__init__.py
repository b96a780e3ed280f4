"""What was published: paths, manifest, index, and the one who reads them."""
