"""Losses: arrays in, per-example float32 values out; no models, no weights."""
