"""Trains the teeth of photographs that talk."""
