"""The command line: what it prints, what it writes, and its exit codes."""
