"""Videos and streams over HTTP: what `speak serve` runs."""
