"""Whether this machine measures what it should, before a number is trusted."""
