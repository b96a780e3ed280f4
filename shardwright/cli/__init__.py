"""The command line: ``shardwright``, or ``python -m shardwright``."""
