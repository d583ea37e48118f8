"""How a video says that it is synthetic: watermark, tags, signed manifest."""
