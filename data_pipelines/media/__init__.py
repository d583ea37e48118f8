"""Video, sound, pictures and faces: the same code at prepare and generate."""
