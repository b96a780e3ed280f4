"""Speed and memory of this library beside its peers, and beside the limits of the machine."""
