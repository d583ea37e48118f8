"""Mouth: lips, its inside, the upper teeth."""

import numpy as np
from jaxtyping import Float

from data_pipelines.synthetic.bumps import step
from data_pipelines.synthetic.identity import Identity
from data_pipelines.synthetic.texture.atlas import REGIONS
from data_pipelines.synthetic.texture.grain import mix, take


def paint_lips(
  person: Identity, upper: bool, rng: np.random.Generator
) -> Float[np.ndarray, "h w 4"]:
  """Lip from its outer edge (v = 0) to the seam (v = 1)."""
  region = REGIONS["upper_lip" if upper else "lower_lip"]
  u, v = region.grid()
  lines = take("strands", (region.h, region.w), rng)
  image = np.broadcast_to(
    person.lip.astype(np.float32), (region.h, region.w, 3)
  )
  tone = 1 + 0.05 * lines
  tone *= (0.92 if upper else 1.06) - 0.16 * step(0.55, 1.0, v)
  if not upper:
    gloss = np.exp(
      -0.5 * ((v - 0.45) / 0.16) ** 2 - 0.5 * ((np.abs(u - 0.5)) / 0.2) ** 2
    )
    tone = tone + (0.14 + 0.16 * person.makeup) * gloss
  image = image * tone[..., None]
  cover = step(0.0, 0.30 - 0.14 * person.makeup, v)
  corner = step(0.5, 0.46, np.abs(u - 0.5))
  return np.dstack([image, 255 * cover * (0.3 + 0.7 * corner)])


def paint_mouth() -> Float[np.ndarray, "h w 3"]:
  """Inside of the mouth from the lower lip (v = 1) up; everybody's alike."""
  region = REGIONS["mouth"]
  u, v = region.grid()
  x, up = (u - 0.5) * 2, 1 - v
  image = np.broadcast_to(np.array([48, 15, 17]), (region.h, region.w, 3))
  image = image * (0.55 + 0.6 * step(0.8, 0.0, up))[..., None]
  top = 0.42 * np.sqrt(np.clip(1 - (x / 0.62) ** 2, 0, 1))
  tongue = step(top + 0.03, top - 0.03, up) * (np.abs(x) < 0.62)
  light = 0.75 + 0.35 * np.exp(-0.5 * ((up - top + 0.08) / 0.07) ** 2)
  groove = 1 - 0.2 * np.exp(-0.5 * (x / 0.05) ** 2)
  image = image * (1 - tongue[..., None]) + tongue[..., None] * (
    np.array([168, 78, 78]) * (light * groove)[..., None]
  )
  lower = step(0.17, 0.12, up) * step(0.72, 0.60, np.abs(x))
  gaps = 1 - 0.3 * np.exp(-0.5 * (((x * 9 + 0.5) % 1 - 0.5) / 0.10) ** 2)
  return mix(image, np.array([196, 186, 170]) * gaps[..., None], 0.75 * lower)


def paint_teeth() -> Float[np.ndarray, "h w 4"]:
  """Upper teeth from the gum (v = 0) down; everybody's alike."""
  region = REGIONS["teeth"]
  u, v = region.grid()
  x = (u - 0.5) * 2
  within = ((np.abs(x) / 0.17) % 1) - 0.5
  length = 0.60 - 0.10 * np.abs(x) ** 2 - 0.09 * (2 * within) ** 4
  length = length + 0.02 * (np.abs(x) < 0.17)
  gaps = 1 - 0.30 * np.exp(-0.5 * ((0.5 - np.abs(within)) / 0.05) ** 2)
  colour = np.array([240, 235, 222]) * gaps[..., None]
  colour = colour * (1.04 - 0.62 * step(0.25, 1.0, np.abs(x)))[..., None]
  colour = mix(colour, (150, 78, 78), step(0.10, 0.02, v))
  colour = colour * (0.80 + 0.20 * step(0.0, 0.45, v))[..., None]
  cover = step(length + 0.04, length - 0.04, v)
  return np.dstack([colour, 255 * cover])
