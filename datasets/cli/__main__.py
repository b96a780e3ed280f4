"""``python -m datasets.cli`` is ``shardwright``."""

import sys

from datasets.cli.main import main

sys.exit(main())
