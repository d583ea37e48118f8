"""A photograph is moved at its own size: mesh, motion, rasterizer, mouth."""
