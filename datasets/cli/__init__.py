"""The command line: ``shardwright``, or ``python -m datasets.cli``."""
