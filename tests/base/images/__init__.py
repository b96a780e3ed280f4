"""Images: every rule of decoding, encoding, conversion and resizing, on images made here."""
