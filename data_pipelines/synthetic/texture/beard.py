"""Where beard and moustache grow, and the shell that a full beard is."""

import numpy as np
from jaxtyping import Float

from data_pipelines.synthetic.bumps import bump, step
from data_pipelines.synthetic.identity import Identity
from data_pipelines.synthetic.texture.atlas import REGIONS
from data_pipelines.synthetic.texture.grain import take


def beard_mask(
  x: Float[np.ndarray, "*n"],
  y: Float[np.ndarray, "*n"],
  z: Float[np.ndarray, "*n"],
  anchor: dict[str, float],
) -> Float[np.ndarray, "*n"]:
  """Where a full beard grows, 0 to 1, moustache left out."""
  ax = np.abs(x)
  mouth, width = anchor["mouth_y"], anchor["mouth_w"]
  nose = anchor["nose_y"]
  # The upper edge falls from the sideburn to the corner of the mouth.
  edge = np.interp(
    ax,
    [0, width * 0.55, width + 0.06, width + 0.2, 0.62, 0.72],
    [mouth - 0.13, mouth - 0.12, mouth + 0.02, mouth + 0.07, nose + 0.1, 0.1],
  )
  mask = step(edge + 0.05, edge - 0.07, y)
  mask = mask * step(-0.12, 0.08, z) * step(-1.33, -1.2, y)
  lip = bump(x, y, 0, mouth - 0.04, width * 0.8, 0.09)
  return np.clip(mask * (1 - 0.8 * lip), 0, 1)


def moustache_mask(
  x: Float[np.ndarray, "*n"],
  y: Float[np.ndarray, "*n"],
  anchor: dict[str, float],
) -> Float[np.ndarray, "*n"]:
  """Where a moustache grows, 0 to 1."""
  ax = np.abs(x)
  mouth, width, nose = anchor["mouth_y"], anchor["mouth_w"], anchor["nose_y"]
  top = nose - 0.06 - 0.16 * np.clip(ax / (width + 0.1), 0, 1) ** 2
  low = mouth + 0.05 - 0.07 * np.clip(ax / (width + 0.1), 0, 1) ** 2
  band = step(top + 0.02, top - 0.03, y) * step(low - 0.04, low + 0.02, y)
  side = step(width + 0.14, width + 0.02, ax)
  return band * side * (0.75 + 0.25 * step(0, 0.05, ax))


def paint_beard(
  person: Identity, rng: np.random.Generator
) -> Float[np.ndarray, "h w 4"]:
  """A shell over the jaw: hair strands with a ragged, see-through border."""
  region = REGIONS["beard"]
  strands = take("strands", (region.h, region.w), rng)
  grain = take("fine", (region.h, region.w), rng)
  tone = 1 + 0.20 * strands + 0.12 * grain
  colour = (person.hair * 0.78 + 3).astype(np.float32) * np.clip(
    tone, 0.4, 1.6
  )[..., None]
  edge = 0.5 * strands + 0.5 * grain
  _, v = region.grid()
  return np.dstack([colour, 255 * step(0.35, 0.75, v + 0.06 * edge)])
