"""Paints all parts of one person into one RGBA atlas."""

import numpy as np
from jaxtyping import Float, UInt8

from data_pipelines.synthetic.identity import Identity
from data_pipelines.synthetic.texture import (
  clothes,
  eyes,
  hair,
  mouth,
  skin,
)
from data_pipelines.synthetic.texture.atlas import REGIONS, SHAPE, Region
from data_pipelines.synthetic.texture.beard import paint_beard


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
  # All draw from one generator: another order is another person.
  rng = np.random.default_rng((*person.seed, 5))
  face = REGIONS["skin"]
  images = {
    "skin": skin.paint_skin(
      person,
      _enlarge(head.astype(np.float32), face),
      _enlarge(scalp.astype(np.float32), face),
      anchor,
      rng,
    ),
    "hair": hair.paint_hair(person, rng),
    "wisps": hair.paint_wisps(person, rng),
    "beard": paint_beard(person, rng),
    "cloth": clothes.paint_cloth(person, rng),
    "neck": skin.paint_neck(person, rng),
    "eye": eyes.paint_eye(person),
    "lid": eyes.paint_lid(person),
    "lash": eyes.paint_lash(person),
    "upper_lip": mouth.paint_lips(person, True, rng),
    "lower_lip": mouth.paint_lips(person, False, rng),
    "mouth": mouth.paint_mouth(),
    "teeth": mouth.paint_teeth(),
    "brow": eyes.paint_brow(person, rng),
    "shine": eyes.paint_shine(),
    "frame": clothes.paint_frame(person),
    "lens": clothes.paint_lens(),
    "collar": clothes.paint_collar(person),
    "ear": skin.paint_ear(person),
  }
  atlas = np.zeros((*SHAPE, 4), np.float32)
  atlas[..., 3] = 255
  for name, image in images.items():
    at = REGIONS[name]
    atlas[at.y : at.y + at.h, at.x : at.x + at.w, : image.shape[-1]] = image
  return np.clip(atlas, 0, 255).astype(np.uint8)


def _enlarge(
  grid: Float[np.ndarray, "r c *d"], region: Region
) -> Float[np.ndarray, "h w *d"]:
  """Bilinear to a region's texels, corners on corners, as the UVs assume."""
  rows, columns = grid.shape[:2]
  at_x = np.linspace(0, columns - 1, region.w, dtype=np.float32)
  at_y = np.linspace(0, rows - 1, region.h, dtype=np.float32)
  low_x = np.minimum(at_x.astype(int), columns - 2)
  low_y = np.minimum(at_y.astype(int), rows - 2)
  fx = (at_x - low_x).reshape(1, -1, *[1] * (grid.ndim - 2))
  fy = (at_y - low_y).reshape(-1, 1, *[1] * (grid.ndim - 2))
  wide = grid[:, low_x] * (1 - fx) + grid[:, low_x + 1] * fx
  return wide[low_y] * (1 - fy) + wide[low_y + 1] * fy
