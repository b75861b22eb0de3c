"""Keeps an agent's history lean in dollars: what is new is compacted once, old history only where that pays."""
