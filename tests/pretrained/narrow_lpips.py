"""State dicts of LPIPS in every public form, with few channels."""

import numpy as np

from speak_jax.pretrained import goldens

PLACES = (0, 3, 6, 8, 10)
WIDTHS = (4, 5, 6, 5, 4)


def alexnet(widths=WIDTHS):
  """torchvision's keys."""
  sizes = (11, 5, 3, 3, 3)
  before = (3, *widths)
  shapes = {
    f"features.{place}.weight": (width, c, size, size)
    for place, width, c, size in zip(
      PLACES, widths, before, sizes, strict=False
    )
  }
  shapes |= {
    f"features.{place}.bias": (width,)
    for place, width in zip(PLACES, widths, strict=True)
  }
  return goldens.fill(shapes | {"classifier.1.weight": (2, 2)}, 3)


def linear(widths=WIDTHS):
  """Keys of LPIPS' own file; no weight is negative in the public one."""
  shapes = {
    f"lin{i}.model.1.weight": (1, c, 1, 1) for i, c in enumerate(widths)
  }
  return {k: np.abs(v) for k, v in goldens.fill(shapes, 3).items()}


def whole():
  """State dict of the public code's network."""
  scaling = {
    f"scaling_layer.{name}": np.ones((1, 3, 1, 1), "f4")
    for name in ("shift", "scale")
  }
  slices = {
    f"net.slice{PLACES.index(int(key.split('.')[1])) + 1}.{key[9:]}": value
    for key, value in alexnet().items()
    if key.startswith("features.")
  }
  again = {f"lins.{key[3:]}": value for key, value in linear().items()}
  return scaling | slices | linear() | again
