"""A prepared data set on disk: its records, written and read."""
