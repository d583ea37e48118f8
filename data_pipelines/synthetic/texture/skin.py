"""Skin: of the head with its blush, folds and hair roots, of neck and ears."""

import cv2
import numpy as np
from jaxtyping import Float

from data_pipelines.synthetic.bumps import Bump, add, bump, step
from data_pipelines.synthetic.identity import Identity
from data_pipelines.synthetic.texture.atlas import REGIONS
from data_pipelines.synthetic.texture.beard import beard_mask, moustache_mask
from data_pipelines.synthetic.texture.grain import mix, take


def _flush(person: Identity, anchor: dict[str, float]) -> tuple[Bump, ...]:
  """Where the skin is redder; amounts are shares of the red."""
  eye_x, nose = anchor["eye_x"], anchor["nose_y"]
  chin, rouge = anchor["chin_y"], 0.3 * person.makeup
  return (
    Bump("cheeks", 0.40, eye_x + 0.08, nose + 0.1, 0.17, 0.13),
    Bump("nose", 0.38, 0, nose + 0.05, 0.12, 0.1, both=False),
    Bump("chin", 0.22, 0, chin + 0.14, 0.16, 0.08, both=False),
    Bump("rouge", rouge, eye_x + 0.15, nose + 0.12, 0.14, 0.1),
  )


def _shadows_of_eyes(
  person: Identity, anchor: dict[str, float]
) -> tuple[Bump, ...]:
  """Baked occlusion from the eyes to the nose; amounts are darkness."""
  eye_x, eye = anchor["eye_x"], anchor["eye_y"]
  nose, wing = anchor["nose_y"], anchor["nose_w"]
  bags = 0.10 + 0.20 * person.age
  return (
    Bump("beside the bridge", 0.30, eye_x - 0.14, eye + 0.05, 0.08, 0.10),
    Bump("sockets", 0.20, eye_x, eye + 0.03, 0.19, 0.10),
    Bump("bags", bags, eye_x - 0.03, eye - 0.13, 0.10, 0.035),
    Bump("under the nose", 0.16, 0, nose - 0.06, wing * 0.9, 0.03, both=False),
  )


def _shadows_of_mouth(anchor: dict[str, float]) -> tuple[Bump, ...]:
  """Baked occlusion of nose and mouth; amounts are darkness."""
  nose, mouth, width = anchor["nose_y"], anchor["mouth_y"], anchor["mouth_w"]
  return (
    Bump("sides of the nose", 0.14, 0.13, nose + 0.22, 0.05, 0.14),
    Bump("under the lip", 0.22, 0, mouth - 0.145, 0.14, 0.03, both=False),
    Bump("corners of the mouth", 0.12, width + 0.02, mouth, 0.04, 0.04),
    Bump("philtrum", 0.05, 0, mouth + 0.16, 0.022, 0.05, both=False),
  )


def paint_skin(
  person: Identity,
  xyz: Float[np.ndarray, "h w 3"],
  scalp: Float[np.ndarray, "h w"],
  anchor: dict[str, float],
  rng: np.random.Generator,
) -> Float[np.ndarray, "h w 3"]:
  """Skin of the head: colour, blush, baked occlusion, beard, scalp hair.

  Args:
    person: Colours, age, beard.
    xyz: Neutral position of every texel, head units.
    scalp: Height of every texel below the hair's edge (> 0: bare skin).
    anchor: Where the features are.
    rng: Of the grain.

  Returns:
    RGB, 0 to 255.
  """
  x, y, z = xyz[..., 0], xyz[..., 1], xyz[..., 2]
  front = step(-0.1, 0.3, z)
  image = _bare(person, x, y, front, anchor, rng)
  dark = _occlusion(person, x, y, z, anchor)
  dark = _add_lines_of_age(dark, person, x, y, anchor)
  image *= 1 - (np.clip(dark, 0, 0.8) * front)[..., None] * np.array(
    [0.80, 1.0, 1.04], np.float32
  )
  ax, eye_x, nose = np.abs(x), anchor["eye_x"], anchor["nose_y"]
  nostril = bump(ax, y, anchor["nose_w"] * 0.50, nose - 0.042, 0.026, 0.014)
  image = mix(image, person.skin * 0.22, np.clip(1.3 * nostril, 0, 0.85))
  shadow = bump(ax, y, eye_x + 0.02, anchor["eye_y"] + 0.07, 0.13, 0.05)
  shadow = person.makeup * shadow
  image = mix(image, person.skin * np.array([0.62, 0.45, 0.5]), 0.5 * shadow)
  image = _with_roots(image, person, scalp, rng)
  return _with_stubble(image, person, xyz, anchor, rng)


def _bare(
  person: Identity,
  x: Float[np.ndarray, "h w"],
  y: Float[np.ndarray, "h w"],
  front: Float[np.ndarray, "h w"],
  anchor: dict[str, float],
  rng: np.random.Generator,
) -> Float[np.ndarray, "h w 3"]:
  """Grained colour of the skin, its blush, its pale forehead, its freckles."""
  shape = x.shape
  nose, brow = anchor["nose_y"], anchor["brow_y"]
  image = np.broadcast_to(person.skin.astype(np.float32), (*shape, 3)).copy()
  tone = 1 + 0.022 * take("broad", shape, rng)
  tone += 0.012 * take("medium", shape, rng)
  tone += (0.012 + 0.012 * person.age) * take("fine", shape, rng)
  image *= tone[..., None]
  red = person.skin * np.array([1.03, 0.80, 0.76])
  flush = add(np.zeros(shape, np.float32), _flush(person, anchor), x, y)
  image = mix(image, red, np.clip(flush * front, 0, 0.8))
  pale = person.skin * np.array([1.05, 1.04, 1.02])
  image = mix(image, pale, 0.4 * front * bump(x, y, 0, brow + 0.3, 0.4, 0.2))
  spots = (take("fine", shape, rng) > 1.5) * front
  spots = cv2.GaussianBlur(spots.astype(np.float32), (0, 0), 0.7)
  spots *= bump(np.abs(x), y, 0.25, nose + 0.12, 0.3, 0.15) * person.freckles
  return mix(image, person.skin * np.array([0.72, 0.6, 0.5]), spots * 0.9)


def _occlusion(
  person: Identity,
  x: Float[np.ndarray, "h w"],
  y: Float[np.ndarray, "h w"],
  z: Float[np.ndarray, "h w"],
  anchor: dict[str, float],
) -> Float[np.ndarray, "h w"]:
  """Darkness of hollows, of the temples and under the chin."""
  ax, nose, wing = np.abs(x), anchor["nose_y"], anchor["nose_w"]
  dark = np.zeros(x.shape, np.float32)
  dark = add(dark, _shadows_of_eyes(person, anchor), x, y)
  dark += 0.26 * np.exp(
    -0.5 * ((ax - wing - 0.035) / 0.022) ** 2
    - 0.5 * ((y - nose - 0.02) / 0.06) ** 2
  )
  dark = add(dark, _shadows_of_mouth(anchor), x, y)
  dark += 0.16 * step(0.1, -0.3, z) * step(0.3, 0.1, y)
  under = step(anchor["chin_y"] + 0.10, anchor["chin_y"] - 0.05, y)
  dark += 0.25 * under * step(0.62, 0.35, z)
  return dark


def _add_lines_of_age(
  dark: Float[np.ndarray, "h w"],
  person: Identity,
  x: Float[np.ndarray, "h w"],
  y: Float[np.ndarray, "h w"],
  anchor: dict[str, float],
) -> Float[np.ndarray, "h w"]:
  """Darkens the lines of forehead, nose to mouth, and beside the eyes."""
  ax = np.abs(x)
  eye_x, eye, brow = anchor["eye_x"], anchor["eye_y"], anchor["brow_y"]
  nose, mouth, width = anchor["nose_y"], anchor["mouth_y"], anchor["mouth_w"]
  t = np.clip((y - mouth + 0.02) / (nose - mouth + 0.1), 0, 1)
  fold = np.exp(
    -0.5 * ((ax - (width + 0.10 - t * (width - 0.06))) / 0.022) ** 2
  ) * (step(mouth - 0.1, mouth, y) * step(nose + 0.1, nose, y))
  lines = (0.5 + 0.5 * np.cos((y - brow - 0.17) * 52 + np.sin(x * 9))) ** 4
  lines = lines * bump(x, y, 0, brow + 0.28, 0.32, 0.11)
  crow = (0.5 + 0.5 * np.cos((y - eye) * 90)) * bump(
    ax, y, eye_x + 0.24, eye, 0.05, 0.07
  )
  dark += (0.10 + 0.3 * person.age**1.5) * fold
  dark += 0.22 * person.age**2 * (lines + crow)
  return dark


def _with_roots(
  image: Float[np.ndarray, "h w 3"],
  person: Identity,
  scalp: Float[np.ndarray, "h w"],
  rng: np.random.Generator,
) -> Float[np.ndarray, "h w 3"]:
  """Hair roots: they reach beyond the hair's shell, which so has no edge."""
  roots = step(0.05, -0.03, scalp + 0.012 * take("medium", scalp.shape, rng))
  bald = person.style == "bald"
  strength = 0.16 * (1 - 0.6 * person.age) if bald else 0.92
  return mix(image, person.hair * 0.8, strength * roots)


def _with_stubble(
  image: Float[np.ndarray, "h w 3"],
  person: Identity,
  xyz: Float[np.ndarray, "h w 3"],
  anchor: dict[str, float],
  rng: np.random.Generator,
) -> Float[np.ndarray, "h w 3"]:
  """Roots of beard and moustache, or a man's shaved shade."""
  x, y, z = xyz[..., 0], xyz[..., 1], xyz[..., 2]
  grain = take("white", x.shape, rng)
  mask = beard_mask(x, y, z, anchor)
  lip = moustache_mask(x, y, anchor)
  shade = 0.0 if person.feminine else 0.10
  cover = np.clip(person.beard * 1.25, 0, 1)
  hairs = 0.62 + 0.38 * np.clip(0.5 + 0.6 * grain, 0, 1)
  growth = mask * np.maximum(shade, cover * hairs * 0.85)
  growth = np.maximum(
    growth,
    lip * np.maximum(shade, np.clip(person.moustache, 0, 1) * hairs * 0.92),
  )
  return mix(image, person.hair * 0.72 + 4, growth)


def paint_neck(
  person: Identity, rng: np.random.Generator
) -> Float[np.ndarray, "h w 3"]:
  """Neck: shadow of the chin above, two cords, shadow of the cloth below."""
  region = REGIONS["neck"]
  u, v = region.grid()
  tone = 0.93 + 0.02 * take("medium", (region.h, region.w), rng)
  tone = tone - 0.36 * step(0.42, 0.12, v) * step(0.5, 0.15, np.abs(u - 0.5))
  cord = np.exp(
    -0.5 * ((np.abs(u - 0.5) - 0.13 + 0.09 * v) / 0.018) ** 2
  ) * step(0.2, 0.5, v)
  tone = tone - 0.07 * cord
  tone = tone - 0.20 * step(0.75, 1.0, v)
  return person.skin * tone[..., None] * np.array([1.0, 0.97, 0.95])


def paint_ear(person: Identity) -> Float[np.ndarray, "h w 3"]:
  """Ear: u goes round it, v from its middle to the rim."""
  _, v = REGIONS["ear"].grid()
  tone = (
    0.60
    + 0.42 * step(0.15, 0.75, v)
    - 0.12 * np.exp(-0.5 * ((v - 0.72) / 0.05) ** 2)
  )
  return person.skin * np.array([1.02, 0.9, 0.88]) * tone[..., None]
