"""tar files, in webdataset's layout."""
