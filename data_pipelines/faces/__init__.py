"""Where the face is, and the crops that follow it."""
