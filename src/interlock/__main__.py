"""`python -m interlock` is the command `interlock`."""

import sys

from interlock.cli import main

sys.exit(main())
