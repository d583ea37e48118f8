"""The networks of SPEAK, one per file."""
