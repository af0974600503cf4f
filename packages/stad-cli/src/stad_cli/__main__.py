"""`python -m stad_cli`: the same as the command `stad` (what torchrun starts)."""

import sys

from stad_cli.main import main

sys.exit(main())
