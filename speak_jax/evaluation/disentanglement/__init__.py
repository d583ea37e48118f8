"""What each code holds: swaps, the matrix, linear probes."""
