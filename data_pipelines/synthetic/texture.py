"""The painted side of a person: one RGBA atlas for skin, hair, eyes, cloth."""

from functools import lru_cache
from typing import Any, NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from data_pipelines.synthetic.bumps import Bump, add, bump, step
from data_pipelines.synthetic.identity import Identity

SHAPE = (640, 548)


class Region(NamedTuple):
  """A rectangle of the atlas, in its pixels."""

  x: int
  y: int
  w: int
  h: int

  def uv(self, u: Any, v: Any) -> Float[np.ndarray, "*n 2"]:
    """Atlas position of fractions of the region.

    Args:
      u: To the right, 0 to 1; a number or an array.
      v: Down, likewise, of a shape that broadcasts.
    """
    u, v = np.broadcast_arrays(u, v)
    u = self.x + np.clip(u, 0, 1) * (self.w - 1)
    v = self.y + np.clip(v, 0, 1) * (self.h - 1)
    return np.stack([u, v], -1).astype(np.float32)

  def grid(self) -> tuple[np.ndarray, np.ndarray]:
    """Fractions (u, v) of every texel, each (h, w)."""
    v, u = np.mgrid[: self.h, : self.w].astype(np.float32)
    return u / (self.w - 1), v / (self.h - 1)


REGIONS = {
  "skin": Region(0, 0, 320, 320),
  "hair": Region(0, 322, 320, 208),
  "wisps": Region(0, 532, 320, 104),
  "cloth": Region(322, 0, 224, 160),
  "neck": Region(322, 162, 124, 60),
  "eye": Region(448, 162, 96, 96),
  "lid": Region(322, 224, 62, 32),
  "lash": Region(386, 224, 60, 32),
  "upper_lip": Region(322, 260, 96, 32),
  "lower_lip": Region(420, 260, 96, 32),
  "mouth": Region(322, 294, 96, 64),
  "teeth": Region(322, 360, 96, 48),
  "brow": Region(420, 294, 96, 32),
  "shine": Region(420, 328, 32, 32),
  "frame": Region(454, 328, 16, 16),
  "lens": Region(472, 328, 32, 32),
  "collar": Region(506, 328, 32, 32),
  "ear": Region(420, 362, 64, 64),
  "beard": Region(322, 430, 160, 96),
}


@lru_cache(maxsize=1)
def _noise() -> dict[str, Float[np.ndarray, "512 512"]]:
  """Fixed unit noises: fine, medium, broad, and strands along v."""
  rng = np.random.default_rng(7)
  white = rng.normal(0, 1, (512, 512)).astype(np.float32)

  def unit(image: np.ndarray) -> np.ndarray:
    return (image - image.mean()) / image.std()

  def blur(image: np.ndarray, across: float, along: float) -> np.ndarray:
    return cv2.GaussianBlur(
      np.tile(image, (3, 3)), (0, 0), sigmaX=across, sigmaY=along
    )[512:1024, 512:1024]

  strands = unit(blur(white, 0.7, 26)) + 0.7 * unit(
    blur(np.roll(white, 99, 1), 2.2, 40)
  )
  return dict(
    fine=unit(blur(white, 0.6, 0.6)),
    medium=unit(blur(np.roll(white, 50, 0), 4, 4)),
    broad=unit(blur(np.roll(white, 150, 0), 22, 22)),
    strands=unit(strands),
    white=white,
  )


def _take(
  kind: str, shape: tuple[int, int], rng: np.random.Generator
) -> Float[np.ndarray, "h w"]:
  """A randomly shifted piece of one of the noises."""
  h, w = shape
  y, x = rng.integers(0, 512, 2)
  rows = (np.arange(h) + y) % 512
  cols = (np.arange(w) + x) % 512
  return _noise()[kind][np.ix_(rows, cols)]


def _mix(
  base: Float[np.ndarray, "h w 3"],
  colour: Any,
  amount: Float[np.ndarray, "h w"],
) -> Float[np.ndarray, "h w 3"]:
  """Blends a colour into an image by a mask (h, w)."""
  return base + (np.asarray(colour, np.float32) - base) * amount[..., None]


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


def _paint_skin(
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
  h, w = xyz.shape[:2]
  x, y, z = xyz[..., 0], xyz[..., 1], xyz[..., 2]
  ax = np.abs(x)
  eye_x, eye, brow = anchor["eye_x"], anchor["eye_y"], anchor["brow_y"]
  nose, mouth, width = anchor["nose_y"], anchor["mouth_y"], anchor["mouth_w"]
  wing = anchor["nose_w"]
  front = step(-0.1, 0.3, z)
  image = np.broadcast_to(person.skin.astype(np.float32), (h, w, 3)).copy()
  tone = 1 + 0.022 * _take("broad", (h, w), rng)
  tone += 0.012 * _take("medium", (h, w), rng)
  tone += (0.012 + 0.012 * person.age) * _take("fine", (h, w), rng)
  image *= tone[..., None]

  red = person.skin * np.array([1.03, 0.80, 0.76])
  flush = add(np.zeros((h, w), np.float32), _flush(person, anchor), x, y)
  image = _mix(image, red, np.clip(flush * front, 0, 0.8))
  pale = person.skin * np.array([1.05, 1.04, 1.02])
  image = _mix(image, pale, 0.4 * front * bump(x, y, 0, brow + 0.3, 0.4, 0.2))
  spots = (_take("fine", (h, w), rng) > 1.5) * front
  spots = cv2.GaussianBlur(spots.astype(np.float32), (0, 0), 0.7)
  spots *= bump(ax, y, 0.25, nose + 0.12, 0.3, 0.15) * person.freckles
  image = _mix(image, person.skin * np.array([0.72, 0.6, 0.5]), spots * 0.9)

  dark = np.zeros((h, w), np.float32)
  dark = add(dark, _shadows_of_eyes(person, anchor), x, y)
  dark += 0.26 * np.exp(
    -0.5 * ((ax - wing - 0.035) / 0.022) ** 2
    - 0.5 * ((y - nose - 0.02) / 0.06) ** 2
  )
  dark = add(dark, _shadows_of_mouth(anchor), x, y)
  dark += 0.16 * step(0.1, -0.3, z) * step(0.3, 0.1, y)
  under = step(anchor["chin_y"] + 0.10, anchor["chin_y"] - 0.05, y)
  dark += 0.25 * under * step(0.62, 0.35, z)
  # Lines of age: forehead, nose to mouth, beside the eyes.
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
  image *= 1 - (np.clip(dark, 0, 0.8) * front)[..., None] * np.array(
    [0.80, 1.0, 1.04], np.float32
  )
  nostril = bump(ax, y, wing * 0.50, nose - 0.042, 0.026, 0.014)
  image = _mix(image, person.skin * 0.22, np.clip(1.3 * nostril, 0, 0.85))

  shadow = person.makeup * bump(ax, y, eye_x + 0.02, eye + 0.07, 0.13, 0.05)
  image = _mix(image, person.skin * np.array([0.62, 0.45, 0.5]), 0.5 * shadow)
  # Hair roots reach a little beyond the shell, so that it has no hard edge.
  roots = step(0.05, -0.03, scalp + 0.012 * _take("medium", (h, w), rng))
  strength = 0.0 if person.style == "bald" else 0.92
  if person.style == "bald":
    strength = 0.16 * (1 - 0.6 * person.age)
  image = _mix(image, person.hair * 0.8, strength * roots)

  grain = _take("white", (h, w), rng)
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
  return _mix(image, person.hair * 0.72 + 4, growth)


def _paint_hair(
  person: Identity, rng: np.random.Generator
) -> Float[np.ndarray, "h w 4"]:
  """Strands from the crown (top) to the edge (bottom), ragged at the end."""
  region = REGIONS["hair"]
  u, v = region.grid()
  strands = _take("strands", (region.h, region.w), rng)
  if person.curl <= 0.3:
    # Straight hair is combed away from the parting.
    where = 0.5 + 0.055 * person.parting
    away = np.clip((u - where) * 6, -1, 1) * np.exp(-3 * np.abs(u - where))
    cols = np.arange(region.w)[None] - 26 * away * v**1.5
    strands = cv2.remap(
      strands, cols.astype(np.float32),
      (v * (region.h - 1)).astype(np.float32), cv2.INTER_LINEAR,
      borderMode=cv2.BORDER_WRAP,
    )  # fmt: skip
  else:
    wave = 5 * person.curl * np.sin(v * 42 + 5 * np.sin(u * 40))
    cols = np.arange(region.w)[None] + wave
    strands = cv2.remap(
      strands, cols.astype(np.float32),
      (v * (region.h - 1)).astype(np.float32), cv2.INTER_LINEAR,
      borderMode=cv2.BORDER_WRAP,
    )  # fmt: skip
    strands = 0.6 * strands + 0.9 * person.curl * _take(
      "medium", (region.h, region.w), rng
    )
  tone = 1 + 0.11 * strands + 0.05 * _take("broad", (region.h, region.w), rng)
  tone += 0.05 * _take("fine", (region.h, region.w), rng)
  # A soft band of gloss round the head, and darkness in the tips.
  tone *= 0.94 + 0.20 * np.exp(-0.5 * ((v - 0.42) / 0.12) ** 2)
  tone *= 1 - 0.22 * step(0.7, 1.0, v)
  colour = person.hair.astype(np.float32) * np.clip(tone, 0.35, 1.7)[..., None]
  if person.style in ("medium", "long", "bun", "short"):
    where = 0.5 + 0.055 * person.parting
    part = np.exp(-0.5 * ((u - where) / 0.0035) ** 2) * step(0.15, 0.3, v)
    if person.curl < 0.3 and person.fringe == 0 and person.style != "short":
      colour = _mix(colour, person.skin * 0.7, 0.8 * part)
  tips = 0.10 if person.style in ("long", "medium") else 0.11
  reach = 1 - tips * (0.5 + 0.5 * np.clip(strands, -1, 1))
  cover = 1 - step(reach - 0.05, reach + 0.004, v)
  return np.dstack([colour, cover * 255])


def _paint_wisps(
  person: Identity, rng: np.random.Generator
) -> Float[np.ndarray, "h w 4"]:
  """Single strands on an outer shell: they break the hair's outline."""
  region = REGIONS["wisps"]
  _, v = region.grid()
  strands = _take("strands", (region.h, region.w), rng)
  tone = np.clip(1.06 + 0.16 * strands, 0.6, 1.6) * (1 - 0.2 * step(0.6, 1, v))
  cover = step(0.55, 1.25, strands) * step(0.08, 0.3, v)
  cover *= step(1.0, 0.92, v + 0.04 * strands)
  colour = person.hair.astype(np.float32) * tone[..., None]
  return np.dstack([colour, 215 * cover])


def _paint_beard(
  person: Identity, rng: np.random.Generator
) -> tuple[Float[np.ndarray, "h w 3"], Float[np.ndarray, "h w"]]:
  """A shell over the jaw: hair strands with a ragged, see-through border."""
  region = REGIONS["beard"]
  strands = _take("strands", (region.h, region.w), rng)
  grain = _take("fine", (region.h, region.w), rng)
  tone = 1 + 0.20 * strands + 0.12 * grain
  colour = (person.hair * 0.78 + 3).astype(np.float32) * np.clip(
    tone, 0.4, 1.6
  )[..., None]
  return colour, 0.5 * strands + 0.5 * grain


def _paint_cloth(
  person: Identity, rng: np.random.Generator
) -> Float[np.ndarray, "h w 3"]:
  """The torso seen from the front, u over its width, v from the neck down."""
  region = REGIONS["cloth"]
  u, v = region.grid()
  shape = (region.h, region.w)
  x = (u - 0.5) * 2
  weave = (
    1 + 0.03 * _take("fine", shape, rng) + 0.05 * _take("broad", shape, rng)
  )
  image = np.broadcast_to(person.cloth.astype(np.float32), (*shape, 3))
  if person.pattern == 1 and person.clothes != "suit":
    stripe = (np.sin(v * 60) > 0.35).astype(np.float32)
    image = _mix(image, person.cloth2, 0.6 * stripe)
  if person.pattern == 2 and person.clothes != "suit":
    check = 0.5 * (np.sin(u * 80) > 0.5) + 0.5 * (np.sin(v * 60) > 0.5)
    image = _mix(image, person.cloth2, 0.5 * check)
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
    image = _mix(image, person.cloth * 0.78, 0.7 * step(0.035, 0.02, rim))
  if person.clothes == "shirt":
    image = _mix(
      image, person.cloth * 0.7, 0.8 * step(0.010, 0.004, abs(x - 0.05))
    )
    button = ((v * 9) % 1 - 0.5) ** 2 * 0.01 + x**2 < 0.00022
    image = _mix(image, (225, 222, 215), 0.8 * button.astype(np.float32))
  if person.clothes == "suit":
    spread = 0.42 * np.clip(1 - v / 0.85, 0, 1) ** 0.8
    shirt = step(0.015, -0.015, np.abs(x) - spread)
    image = _mix(image, person.cloth2 * weave[..., None], shirt)
    tie = step(0.01, -0.01, np.abs(x) - 0.045 - 0.05 * v) * shirt
    image = _mix(image, person.glasses_colour * 0 + (110, 34, 44), tie)
    lapel = np.exp(-0.5 * ((np.abs(x) - spread - 0.15) / 0.012) ** 2)
    image = _mix(image, person.cloth * 0.5, 0.8 * lapel * (v < 0.8))
    edge = np.exp(-0.5 * ((np.abs(x) - spread) / 0.012) ** 2)
    image = _mix(image, person.cloth * 0.4, 0.8 * edge * (v < 0.85))
  if person.clothes == "hoodie":
    for at in (-0.13, 0.13):
      cord = np.exp(-0.5 * ((x - at) / 0.012) ** 2) * (v < 0.5)
      image = _mix(image, person.cloth * 0.55 + 60, cord)
  image = _mix(image, person.skin * 0.80, opening)
  sleeve = np.exp(-0.5 * ((np.abs(x) - 0.80 - 0.05 * v) / 0.012) ** 2)
  image = image * (1 - 0.25 * sleeve * (v > 0.15))[..., None]
  return image * (1 - 0.30 * step(0.22, 0.0, v))[..., None]


def _paint_eye(person: Identity) -> Float[np.ndarray, "h w 3"]:
  """Eyeball: iris, pupil, veins; +-1 spans EYE_SPAN head units."""
  region = REGIONS["eye"]
  u, v = region.grid()
  x, y = (u - 0.5) * 2, (v - 0.5) * 2
  r = np.hypot(x, y) / IRIS
  angle = np.arctan2(y, x)
  image = np.full((region.h, region.w, 3), (236, 230, 224), np.float32)
  image = _mix(image, (214, 180, 170), 0.5 * step(0.45, 0.9, np.abs(x)))
  spokes = 0.86 + 0.14 * np.sin(angle * 23 + 2 * np.sin(angle * 7))
  iris = person.iris.astype(np.float32) * spokes[..., None]
  iris = iris * (0.80 + 0.5 * step(-0.8, 1.0, y / IRIS))[..., None]
  iris = _mix(iris, person.iris * 0.30, step(0.72, 1.0, r))
  mask = step(1.06, 0.94, r)
  image = image * (1 - mask[..., None]) + iris * mask[..., None]
  return _mix(image, (10, 8, 8), step(0.50, 0.40, r))


IRIS = 0.31  # of EYE_SPAN
EYE_SPAN = 0.24  # head units from the middle of the eye texture to its edge


def _paint_lips(
  person: Identity, upper: bool, rng: np.random.Generator
) -> Float[np.ndarray, "h w 4"]:
  """Lip from its outer edge (v = 0) to the seam (v = 1)."""
  region = REGIONS["upper_lip" if upper else "lower_lip"]
  u, v = region.grid()
  lines = _take("strands", (region.h, region.w), rng)
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


def _paint_mouth(
  person: Identity,
) -> tuple[Float[np.ndarray, "h w 3"], Float[np.ndarray, "i j 4"]]:
  """Inside of the mouth from the lower lip (v = 1) up, and upper teeth."""
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
  image = _mix(image, np.array([196, 186, 170]) * gaps[..., None], 0.75 * lower)

  region = REGIONS["teeth"]
  u, v = region.grid()
  x = (u - 0.5) * 2
  size = 0.17 - 0.03 * np.abs(x)
  within = ((np.abs(x) / 0.17) % 1) - 0.5
  length = 0.60 - 0.10 * np.abs(x) ** 2 - 0.09 * (2 * within) ** 4
  length = length + 0.02 * (np.abs(x) < 0.17)
  gaps = 1 - 0.30 * np.exp(-0.5 * ((0.5 - np.abs(within)) / 0.05) ** 2)
  colour = np.array([240, 235, 222]) * gaps[..., None]
  colour = colour * (1.04 - 0.62 * step(0.25, 1.0, np.abs(x)))[..., None]
  colour = _mix(colour, (150, 78, 78), step(0.10, 0.02, v))
  colour = colour * (0.80 + 0.20 * step(0.0, 0.45, v))[..., None]
  cover = step(length + 0.04, length - 0.04, v) * (size > 0)
  return image, np.dstack([colour, 255 * cover])


def _paint_brow(
  person: Identity, rng: np.random.Generator
) -> Float[np.ndarray, "h w 4"]:
  """Brow from its inner end (u = 0); v = 0 is the upper edge."""
  region = REGIONS["brow"]
  u, v = region.grid()
  rows = np.arange(region.h)[:, None] + 0 * u
  cols = np.arange(region.w)[None] - (1 - v) * 14 + 0 * u
  strands = cv2.remap(
    _take("strands", (region.h + 40, region.w + 40), rng),
    (cols + 20).astype(np.float32),
    (rows + 4).astype(np.float32),
    cv2.INTER_LINEAR,
  )
  half = 0.5 - 0.18 * step(0.4, 1.0, u) - 0.12 * step(0.15, 0.0, u)
  cover = step(half, half * 0.45, np.abs(v - 0.5))
  cover = cover * step(0.0, 0.12, u) * step(1.0, 0.9, u)
  cover = cover * np.clip(0.86 + 0.24 * strands, 0, 1)
  cover = np.clip(cover * (1.1 + 0.3 * person.makeup), 0, 1)
  tone = np.clip(1 + 0.2 * strands, 0.5, 1.5)
  image = person.brow.astype(np.float32) * tone[..., None]
  return np.dstack([image, 255 * cover])


def paint(
  person: Identity,
  head: Float[np.ndarray, "r c 3"],
  scalp: Float[np.ndarray, "r c"],
  anchor: dict[str, float],
) -> UInt8[np.ndarray, "h w 4"]:
  """Paints everything of one person.

  Args:
    person: Colours and styles.
    head: Neutral vertices of the head's grid, from crown to chin.
    scalp: Height of every vertex below the hair's edge (> 0: bare skin).
    anchor: Where the features are.
  """
  rng = np.random.default_rng((*person.seed, 5))
  atlas = np.zeros((*SHAPE, 4), np.float32)
  atlas[..., 3] = 255

  def put(name: str, image: np.ndarray) -> None:
    r = REGIONS[name]
    atlas[r.y : r.y + r.h, r.x : r.x + r.w, : image.shape[-1]] = image

  region = REGIONS["skin"]
  rows, cols = head.shape[:2]

  def enlarge(grid: Float[np.ndarray, "r c ..."]) -> np.ndarray:
    """Bilinear, corners on corners, as the vertices' UVs assume."""
    at_x = np.linspace(0, cols - 1, region.w, dtype=np.float32)
    at_y = np.linspace(0, rows - 1, region.h, dtype=np.float32)
    low_x = np.minimum(at_x.astype(int), cols - 2)
    low_y = np.minimum(at_y.astype(int), rows - 2)
    fx = (at_x - low_x).reshape(1, -1, *[1] * (grid.ndim - 2))
    fy = (at_y - low_y).reshape(-1, 1, *[1] * (grid.ndim - 2))
    wide = grid[:, low_x] * (1 - fx) + grid[:, low_x + 1] * fx
    return wide[low_y] * (1 - fy) + wide[low_y + 1] * fy

  put(
    "skin",
    _paint_skin(
      person, enlarge(head.astype(np.float32)),
      enlarge(scalp.astype(np.float32)), anchor, rng,
    ),
  )  # fmt: skip
  put("hair", _paint_hair(person, rng))
  put("wisps", _paint_wisps(person, rng))
  colour, edge = _paint_beard(person, rng)
  r = REGIONS["beard"]
  u, v = r.grid()
  put("beard", np.dstack([colour, 255 * step(0.35, 0.75, v + 0.06 * edge)]))
  put("cloth", _paint_cloth(person, rng))

  r = REGIONS["neck"]
  u, v = r.grid()
  tone = 0.93 + 0.02 * _take("medium", (r.h, r.w), rng)
  tone = tone - 0.36 * step(0.42, 0.12, v) * step(0.5, 0.15, np.abs(u - 0.5))
  cord = np.exp(
    -0.5 * ((np.abs(u - 0.5) - 0.13 + 0.09 * v) / 0.018) ** 2
  ) * step(0.2, 0.5, v)
  tone = tone - 0.07 * cord
  tone = tone - 0.20 * step(0.75, 1.0, v)
  skin = person.skin * tone[..., None] * np.array([1.0, 0.97, 0.95])
  put("neck", skin)

  put("eye", _paint_eye(person))
  r = REGIONS["lid"]
  u, v = r.grid()
  skin = person.skin * np.array([0.88, 0.80, 0.78])
  paintc = person.skin * np.array([0.58, 0.42, 0.46])
  lid = skin * (1 - 0.5 * person.makeup) + paintc * 0.5 * person.makeup
  image = np.broadcast_to(lid.astype(np.float32), (r.h, r.w, 3))
  crease = np.exp(-0.5 * ((v - 0.30) / 0.10) ** 2)
  image = image * (1 - 0.40 * crease)[..., None]
  cover = step(0.0, 0.34, v) * step(0.5, 0.40, np.abs(u - 0.5))
  put("lid", np.dstack([image, 255 * cover]))
  r = REGIONS["lash"]
  u, v = r.grid()
  thick = 0.55 + 0.45 * person.makeup
  cover = step(0.0, 0.35, v) * thick * step(0.5, 0.44, np.abs(u - 0.5))
  ink = np.broadcast_to(np.array([22, 16, 15]), (r.h, r.w, 3))
  put("lash", np.dstack([ink, 255 * np.clip(cover + 0.25, 0, 1) * (v > 0.02)]))
  put("upper_lip", _paint_lips(person, True, rng))
  put("lower_lip", _paint_lips(person, False, rng))
  inside, teeth = _paint_mouth(person)
  put("mouth", inside)
  put("teeth", teeth)
  put("brow", _paint_brow(person, rng))
  r = REGIONS["shine"]
  u, v = r.grid()
  disc = step(0.5, 0.22, np.hypot(u - 0.5, v - 0.5))
  put(
    "shine",
    np.dstack([np.full((r.h, r.w, 3), 255, np.float32), 235 * disc]),
  )
  put("frame", np.broadcast_to(person.glasses_colour, (16, 16, 3)))
  r = REGIONS["lens"]
  u, v = r.grid()
  glare = 18 + 46 * np.exp(-0.5 * ((u + v - 0.75) / 0.12) ** 2)
  put(
    "lens",
    np.dstack([np.full((r.h, r.w, 3), (225, 232, 240), np.float32), glare]),
  )
  collar = person.cloth2 if person.clothes == "suit" else person.cloth
  r = REGIONS["collar"]
  u, v = r.grid()
  put("collar", collar * (0.88 + 0.2 * v)[..., None])
  r = REGIONS["ear"]
  u, v = r.grid()  # u round the ear, v from its middle to the rim
  tone = (
    0.60
    + 0.42 * step(0.15, 0.75, v)
    - 0.12 * np.exp(-0.5 * ((v - 0.72) / 0.05) ** 2)
  )
  put("ear", person.skin * np.array([1.02, 0.9, 0.88]) * tone[..., None])
  return np.clip(atlas, 0, 255).astype(np.uint8)
