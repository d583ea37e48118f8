"""Hair of the head: a shell of strands, and wisps over its outline."""

import cv2
import numpy as np
from jaxtyping import Float

from data_pipelines.synthetic.bumps import step
from data_pipelines.synthetic.identity import Identity
from data_pipelines.synthetic.texture.atlas import REGIONS
from data_pipelines.synthetic.texture.grain import mix, take


def paint_hair(
  person: Identity, rng: np.random.Generator
) -> Float[np.ndarray, "h w 4"]:
  """Strands from the crown (top) to the edge (bottom), ragged at the end."""
  region = REGIONS["hair"]
  u, v = region.grid()
  strands = take("strands", (region.h, region.w), rng)
  columns = np.arange(region.w)[None]
  if person.curl <= 0.3:
    # Straight hair is combed away from the parting.
    where = 0.5 + 0.055 * person.parting
    away = np.clip((u - where) * 6, -1, 1) * np.exp(-3 * np.abs(u - where))
    columns = columns - 26 * away * v**1.5
  else:
    columns = columns + 5 * person.curl * np.sin(v * 42 + 5 * np.sin(u * 40))
  strands = cv2.remap(
    strands,
    columns.astype(np.float32),
    (v * (region.h - 1)).astype(np.float32),
    cv2.INTER_LINEAR,
    borderMode=cv2.BORDER_WRAP,
  )
  if person.curl > 0.3:
    strands = 0.6 * strands + 0.9 * person.curl * take(
      "medium", (region.h, region.w), rng
    )
  tone = 1 + 0.11 * strands + 0.05 * take("broad", (region.h, region.w), rng)
  tone += 0.05 * take("fine", (region.h, region.w), rng)
  # A soft band of gloss round the head, and darkness in the tips.
  tone *= 0.94 + 0.20 * np.exp(-0.5 * ((v - 0.42) / 0.12) ** 2)
  tone *= 1 - 0.22 * step(0.7, 1.0, v)
  colour = person.hair.astype(np.float32) * np.clip(tone, 0.35, 1.7)[..., None]
  if person.style in ("medium", "long", "bun", "short"):
    where = 0.5 + 0.055 * person.parting
    part = np.exp(-0.5 * ((u - where) / 0.0035) ** 2) * step(0.15, 0.3, v)
    if person.curl < 0.3 and person.fringe == 0 and person.style != "short":
      colour = mix(colour, person.skin * 0.7, 0.8 * part)
  tips = 0.10 if person.style in ("long", "medium") else 0.11
  reach = 1 - tips * (0.5 + 0.5 * np.clip(strands, -1, 1))
  cover = 1 - step(reach - 0.05, reach + 0.004, v)
  return np.dstack([colour, cover * 255])


def paint_wisps(
  person: Identity, rng: np.random.Generator
) -> Float[np.ndarray, "h w 4"]:
  """Single strands on an outer shell: they break the hair's outline."""
  region = REGIONS["wisps"]
  _, v = region.grid()
  strands = take("strands", (region.h, region.w), rng)
  tone = np.clip(1.06 + 0.16 * strands, 0.6, 1.6) * (1 - 0.2 * step(0.6, 1, v))
  cover = step(0.55, 1.25, strands) * step(0.08, 0.3, v)
  cover *= step(1.0, 0.92, v + 0.04 * strands)
  colour = person.hair.astype(np.float32) * tone[..., None]
  return np.dstack([colour, 215 * cover])
