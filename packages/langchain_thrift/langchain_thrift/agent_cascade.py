"""The routing lever of the agent's middleware: each model call goes to the cheapest tier that will do."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from langchain.agents.middleware.types import ModelRequest, ModelResponse
from langchain_core.messages import AIMessage
from thrift_core.accounting.budgets import Budgets
from thrift_core.accounting.ledger import Ledger
from thrift_core.errors import ConfigurationError
from thrift_core.routing import CascadeRouter

from langchain_thrift.cascade import CascadeChatModel
from langchain_thrift.cascade_tiers import Given


class AgentCascade:
    """Puts a cascade in the place of an agent's model, for the calls that go out.

    Args:
        model: the cascade.
    """

    def __init__(self, model: CascadeChatModel) -> None:
        self.model = model
        tiers = list(model.tiers.items())
        self._strongest_name, self._strongest = tiers[-1]
        self.is_mixed = len({type(tier) for _, tier in tiers}) > 1

    @classmethod
    def of(
        cls,
        tiers: Given | None,
        router: CascadeRouter | Any | str | Path | None,
        *,
        ledger: Ledger,
        budgets: Budgets | None,
        side_effects: Collection[str],
    ) -> AgentCascade | None:
        """Return the routing lever; None where no tiers are given.

        Raises:
            ConfigurationError: a router or side effects without tiers, or what `CascadeChatModel` raises.
        """
        if tiers is not None:
            model = CascadeChatModel(tiers, router, ledger=ledger, budgets=budgets, side_effects=side_effects)
            return cls(model)
        if router is not None or side_effects:
            raise ConfigurationError(
                "router and side_effects need the models to route between: give tiers={name: model}"
            )
        return None

    def planned(self, request: ModelRequest[Any]) -> ModelRequest[Any]:
        """Return a request as the other levers shall see it: by the strongest tier's prices and limits."""
        return request.override(model=self._strongest)

    def routed(self, request: ModelRequest[Any]) -> ModelRequest[Any]:
        """Return a request as it is sent; tools and forms are then bound to each tier."""
        return request.override(model=self.model)

    def is_strongest(self, response: ModelResponse[Any]) -> bool:
        """Return whether the strongest tier answered, whose caches the other levers reckon with."""
        answers = [message for message in response.result if isinstance(message, AIMessage)]
        told = answers[0].response_metadata.get("thrift") if answers else None
        return isinstance(told, dict) and told.get("tier") == self._strongest_name
