"""``python -m shardwright`` is the command ``shardwright``."""

import sys

from shardwright.cli.main import main

sys.exit(main())
