"""The method: networks, losses, stages, the loop and its commands."""
