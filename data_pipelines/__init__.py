"""From raw video, or from nothing, to records and batches; no JAX here."""
