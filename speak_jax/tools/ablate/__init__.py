"""Ablations at equal steps: what is run, running it, the table."""
