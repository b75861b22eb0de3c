"""Code: licences, comments, docstrings and then bodies folded, the longest and the least asked for first."""

from __future__ import annotations

from thrift_core.compression.brace_code import brace_folds
from thrift_core.compression.folding import fold_to
from thrift_core.compression.python_code import python_folds
from thrift_core.compression.work import Draft, Job

# Without a budget, folding goes on until this share of the tokens is left.
_SHARE = 0.55


def code(text: str, job: Job) -> Draft | None:
    """Return code with parts folded; None where nothing may be lost or too little can be folded."""
    if not job.may_cut:
        return None
    budget = job.max_tokens if job.max_tokens is not None else int(_SHARE * job.tokens)
    folds = python_folds(text, job.question)
    comment = "# "
    if folds is None:
        folds, comment = brace_folds(text, job.question)
    return fold_to(text, folds, budget, job.count, comment)
