"""Tells the same question in other words from a near miss, with a stated error rate."""
