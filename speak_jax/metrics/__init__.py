"""Metrics: NumPy in, rows of sums out that merge over clips and processes."""
