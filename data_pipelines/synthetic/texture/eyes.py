"""Eyes: ball, lid, lashes, the light in them, and brows."""

import cv2
import numpy as np
from jaxtyping import Float

from data_pipelines.synthetic.bumps import step
from data_pipelines.synthetic.identity import Identity
from data_pipelines.synthetic.texture.atlas import REGIONS
from data_pipelines.synthetic.texture.grain import mix, take

EYE_SPAN = 0.24  # head units from the middle of the eye texture to its edge
_IRIS = 0.31  # of EYE_SPAN


def paint_eye(person: Identity) -> Float[np.ndarray, "h w 3"]:
  """Eyeball: iris, pupil, veins; +-1 spans EYE_SPAN head units."""
  region = REGIONS["eye"]
  u, v = region.grid()
  x, y = (u - 0.5) * 2, (v - 0.5) * 2
  r = np.hypot(x, y) / _IRIS
  angle = np.arctan2(y, x)
  image = np.full((region.h, region.w, 3), (236, 230, 224), np.float32)
  image = mix(image, (214, 180, 170), 0.5 * step(0.45, 0.9, np.abs(x)))
  spokes = 0.86 + 0.14 * np.sin(angle * 23 + 2 * np.sin(angle * 7))
  iris = person.iris.astype(np.float32) * spokes[..., None]
  iris = iris * (0.80 + 0.5 * step(-0.8, 1.0, y / _IRIS))[..., None]
  iris = mix(iris, person.iris * 0.30, step(0.72, 1.0, r))
  mask = step(1.06, 0.94, r)
  image = image * (1 - mask[..., None]) + iris * mask[..., None]
  return mix(image, (10, 8, 8), step(0.50, 0.40, r))


def paint_lid(person: Identity) -> Float[np.ndarray, "h w 4"]:
  """Upper lid with its crease and eye shadow, see-through to the sides."""
  region = REGIONS["lid"]
  u, v = region.grid()
  skin = person.skin * np.array([0.88, 0.80, 0.78])
  shadow = person.skin * np.array([0.58, 0.42, 0.46])
  colour = skin * (1 - 0.5 * person.makeup) + shadow * 0.5 * person.makeup
  image = np.broadcast_to(colour.astype(np.float32), (region.h, region.w, 3))
  crease = np.exp(-0.5 * ((v - 0.30) / 0.10) ** 2)
  image = image * (1 - 0.40 * crease)[..., None]
  cover = step(0.0, 0.34, v) * step(0.5, 0.40, np.abs(u - 0.5))
  return np.dstack([image, 255 * cover])


def paint_lash(person: Identity) -> Float[np.ndarray, "h w 4"]:
  """Lashes: ink that is thicker with make-up."""
  region = REGIONS["lash"]
  u, v = region.grid()
  thick = 0.55 + 0.45 * person.makeup
  cover = step(0.0, 0.35, v) * thick * step(0.5, 0.44, np.abs(u - 0.5))
  ink = np.broadcast_to(np.array([22, 16, 15]), (region.h, region.w, 3))
  return np.dstack([ink, 255 * np.clip(cover + 0.25, 0, 1) * (v > 0.02)])


def paint_shine() -> Float[np.ndarray, "h w 4"]:
  """The light that an eye mirrors: a soft white disc."""
  region = REGIONS["shine"]
  u, v = region.grid()
  disc = step(0.5, 0.22, np.hypot(u - 0.5, v - 0.5))
  return np.dstack(
    [np.full((region.h, region.w, 3), 255, np.float32), 235 * disc]
  )


def paint_brow(
  person: Identity, rng: np.random.Generator
) -> Float[np.ndarray, "h w 4"]:
  """Brow from its inner end (u = 0); v = 0 is the upper edge."""
  region = REGIONS["brow"]
  u, v = region.grid()
  rows = np.arange(region.h)[:, None] + 0 * u
  cols = np.arange(region.w)[None] - (1 - v) * 14 + 0 * u
  strands = cv2.remap(
    take("strands", (region.h + 40, region.w + 40), rng),
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
