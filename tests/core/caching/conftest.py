"""Puts the conversations that these tests share, and the benchmarks, where they can be imported."""

import sys
from pathlib import Path

_HERE = Path(__file__).parent
sys.path[:0] = [str(path) for path in (_HERE, _HERE.parents[2]) if str(path) not in sys.path]
