"""Cascades of models: which tier to ask, whether its answer will do, and a bound on what that loses."""

from thrift_core.routing.decision import Attempt, Decision, ErrorKind
from thrift_core.routing.draft import Draft
from thrift_core.routing.policy import Estimate, Policy
from thrift_core.routing.router import CascadeRouter
from thrift_core.routing.settings import RouterSettings
from thrift_core.routing.tier import Tier

__all__ = [
    "Attempt",
    "CascadeRouter",
    "Decision",
    "Draft",
    "ErrorKind",
    "Estimate",
    "Policy",
    "RouterSettings",
    "Tier",
]
