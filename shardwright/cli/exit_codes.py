"""What the exit code of a command says; ``shardwright --help`` lists the same."""

__all__ = ["DAMAGE", "DONE", "INTERRUPTED", "STORAGE", "WRONG_ARGUMENTS"]

DONE = 0
DAMAGE = 1  # a problem in the data
WRONG_ARGUMENTS = 2
STORAGE = 3
INTERRUPTED = 130  # 128 + SIGINT; other signals likewise
