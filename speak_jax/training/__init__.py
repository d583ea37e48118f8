"""The loop, its state, sharding, checkpoints and logs."""
