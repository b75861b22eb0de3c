"""The demo: real workloads on a local provider, and what each lever does to their bill."""

from thrift_core.demo.rates import reasoning_tokens
from thrift_core.demo.run import ROWS, Row, RowFigures, run_row
from thrift_core.demo.workload import Figures, Outcome, Result, Setup, Workload, discover

__all__ = [
    "ROWS",
    "Figures",
    "Outcome",
    "Result",
    "Row",
    "RowFigures",
    "Setup",
    "Workload",
    "discover",
    "reasoning_tokens",
    "run_row",
]
