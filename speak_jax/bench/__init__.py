"""How fast this machine does what the package does: `speak bench`."""
