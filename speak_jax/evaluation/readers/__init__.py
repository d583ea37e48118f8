"""What is read off frames, real or generated."""
