"""Turns labelled examples into thresholds with a guarantee: exact bounds, sequential tests, certificates."""
