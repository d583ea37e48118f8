"""What each stage trains: groups, optimizers, phases."""
