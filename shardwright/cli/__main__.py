"""``python -m shardwright.cli`` is ``shardwright``."""

import sys

from shardwright.cli.main import main

sys.exit(main())
