"""Who is alive, and where the time went; no JAX program depends on it."""
