"""Measures trained networks on held-out clips; no flags, no files read."""
