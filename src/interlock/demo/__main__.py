"""`python -m interlock.demo`: the same as `interlock demo`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from interlock.demo.story import main

parser = argparse.ArgumentParser(prog="python -m interlock.demo", description="Play the story on a real PostgreSQL, then stay up.")
parser.add_argument("--once", action="store_true", help="end with the story; exit code 0 only when each step did what it claims")
parser.add_argument("--json", action="store_true", help="print the steps as JSON instead of the story")
parser.add_argument("--ready-file", type=Path, help="write addresses and tokens here once clients may come")
parser.add_argument("--keep", action="store_true", help="keep configuration, policy and evidence in ./demo-data")
parser.add_argument("--postgres-port", type=int, default=6432, help="another one is taken when this is not free")
parser.add_argument("--http-port", type=int, default=7080, help="another one is taken when this is not free")
sys.exit(main(**vars(parser.parse_args())))
