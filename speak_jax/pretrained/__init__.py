"""Public weights: read safely, converted to our trees, proved equal."""
