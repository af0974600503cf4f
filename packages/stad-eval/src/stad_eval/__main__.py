"""`python -m stad_eval` is the command `stad-eval`."""

import sys

from stad_eval.cli import main

sys.exit(main())
