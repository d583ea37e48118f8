"""Parametric talking faces whose every factor is known."""
