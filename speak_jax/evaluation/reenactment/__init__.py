"""Whole systems on held-out clips: self-driven, cross-driven, other audio."""
