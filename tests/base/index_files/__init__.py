"""Files of other programs, indexed where they lie and read like converted splits."""
