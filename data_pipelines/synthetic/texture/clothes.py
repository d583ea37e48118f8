"""What a person wears: clothes, their collar, glasses."""

import numpy as np
from jaxtyping import Float

from data_pipelines.synthetic.bumps import step
from data_pipelines.synthetic.identity import Identity
from data_pipelines.synthetic.texture.atlas import REGIONS
from data_pipelines.synthetic.texture.grain import mix, take


def paint_cloth(
  person: Identity, rng: np.random.Generator
) -> Float[np.ndarray, "h w 3"]:
  """The torso seen from the front, u over its width, v from the neck down."""
  region = REGIONS["cloth"]
  u, v = region.grid()
  shape = (region.h, region.w)
  x = (u - 0.5) * 2
  weave = 1 + 0.03 * take("fine", shape, rng) + 0.05 * take("broad", shape, rng)
  image = np.broadcast_to(person.cloth.astype(np.float32), (*shape, 3))
  if person.pattern == 1 and person.clothes != "suit":
    stripe = (np.sin(v * 60) > 0.35).astype(np.float32)
    image = mix(image, person.cloth2, 0.6 * stripe)
  if person.pattern == 2 and person.clothes != "suit":
    check = 0.5 * (np.sin(u * 80) > 0.5) + 0.5 * (np.sin(v * 60) > 0.5)
    image = mix(image, person.cloth2, 0.5 * check)
  image = image * weave[..., None]
  neck = dict(tee=0.17, shirt=0.10, suit=0.10, vneck=0.17, hoodie=0.08)
  depth = neck.get(person.clothes, 0.0)
  if person.clothes == "vneck":
    opening = step(0.012, -0.012, np.abs(x) - 0.36 * (0.42 - v) / 0.42)
    rim = np.abs(np.abs(x) - 0.36 * (0.42 - v) / 0.42) * (v < 0.46)
  else:
    radius = np.hypot(x / 0.36, v / max(depth, 0.01))
    opening = step(1.03, 0.97, radius) * (depth > 0)
    rim = np.abs(radius - 1.08) * 0.3
  if person.clothes in ("tee", "vneck"):
    image = mix(image, person.cloth * 0.78, 0.7 * step(0.035, 0.02, rim))
  if person.clothes == "shirt":
    image = mix(
      image, person.cloth * 0.7, 0.8 * step(0.010, 0.004, abs(x - 0.05))
    )
    button = ((v * 9) % 1 - 0.5) ** 2 * 0.01 + x**2 < 0.00022
    image = mix(image, (225, 222, 215), 0.8 * button.astype(np.float32))
  if person.clothes == "suit":
    spread = 0.42 * np.clip(1 - v / 0.85, 0, 1) ** 0.8
    shirt = step(0.015, -0.015, np.abs(x) - spread)
    image = mix(image, person.cloth2 * weave[..., None], shirt)
    tie = step(0.01, -0.01, np.abs(x) - 0.045 - 0.05 * v) * shirt
    image = mix(image, person.glasses_colour * 0 + (110, 34, 44), tie)
    lapel = np.exp(-0.5 * ((np.abs(x) - spread - 0.15) / 0.012) ** 2)
    image = mix(image, person.cloth * 0.5, 0.8 * lapel * (v < 0.8))
    edge = np.exp(-0.5 * ((np.abs(x) - spread) / 0.012) ** 2)
    image = mix(image, person.cloth * 0.4, 0.8 * edge * (v < 0.85))
  if person.clothes == "hoodie":
    for at in (-0.13, 0.13):
      cord = np.exp(-0.5 * ((x - at) / 0.012) ** 2) * (v < 0.5)
      image = mix(image, person.cloth * 0.55 + 60, cord)
  image = mix(image, person.skin * 0.80, opening)
  sleeve = np.exp(-0.5 * ((np.abs(x) - 0.80 - 0.05 * v) / 0.012) ** 2)
  image = image * (1 - 0.25 * sleeve * (v > 0.15))[..., None]
  return image * (1 - 0.30 * step(0.22, 0.0, v))[..., None]


def paint_collar(person: Identity) -> Float[np.ndarray, "h w 3"]:
  """The collar of a shirt under a suit, or the cloth's own edge."""
  colour = person.cloth2 if person.clothes == "suit" else person.cloth
  _, v = REGIONS["collar"].grid()
  return colour * (0.88 + 0.2 * v)[..., None]


def paint_frame(person: Identity) -> Float[np.ndarray, "h w 3"]:
  """The frame of the glasses, of one colour."""
  region = REGIONS["frame"]
  colour = person.glasses_colour.astype(np.float32)
  return np.broadcast_to(colour, (region.h, region.w, 3))


def paint_lens() -> Float[np.ndarray, "h w 4"]:
  """A lens: hardly there, but for a band of glare."""
  region = REGIONS["lens"]
  u, v = region.grid()
  glare = 18 + 46 * np.exp(-0.5 * ((u + v - 0.75) / 0.12) ** 2)
  return np.dstack(
    [np.full((region.h, region.w, 3), (225, 232, 240), np.float32), glare]
  )
