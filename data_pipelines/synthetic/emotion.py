"""How a face moves: expression channels, MEAD's emotions, fields on skin."""

from typing import Any

import numpy as np
from jaxtyping import Float

from data_pipelines.synthetic.bumps import bump, step
from data_pipelines.synthetic.identity import Identity

# Channels with a displacement field on the skin come first.
FIELDS = (
  "jaw",
  "smile",
  "corner_down",
  "sneer",  # one corner of the mouth: contempt
  "cheek",
  "brow_in",
  "brow_out",
  "frown",
  "wrinkle",
  "lip_up",
  "round",
  "chin",
  "stretch",
  "puff",
)
LIDS = ("lid_wide", "squint", "lid_droop")
CHANNELS = FIELDS + LIDS
# What an emotion adds to the mouth's own factors.
MOUTH = ("open", "wide", "round", "thin")

# Level 3, one row per emotion of spec.EMOTIONS. "open" adds to the mouth.
_TABLE: tuple[dict[str, float], ...] = (
  {},
  dict(
    frown=1.4, brow_out=0.15, wrinkle=0.15, corner_down=0.55, squint=0.25,
    lid_wide=0.6, chin=0.7, thin=0.65, puff=0.2,
  ),
  dict(sneer=1.5, brow_out=0.12, squint=0.35, cheek=0.12, lid_droop=0.45,
       chin=0.3),
  dict(
    wrinkle=1.6, lip_up=1.5, frown=0.35, cheek=0.75, squint=0.85,
    corner_down=0.5, open=0.10, chin=0.3,
  ),
  dict(
    brow_in=1.2, brow_out=0.45, lid_wide=1.0, stretch=1.3,
    corner_down=0.35, frown=0.25, open=0.17, wide=0.7,
  ),
  dict(smile=1.35, cheek=1.0, squint=0.45, brow_out=0.2, open=0.16, wide=0.7),
  dict(
    brow_in=1.25, corner_down=1.3, lid_droop=0.75, brow_out=-0.45, chin=0.7,
    frown=0.2,
  ),
  dict(
    brow_in=1.15, brow_out=1.3, lid_wide=1.1, open=0.45, round=0.45,
  ),
)  # fmt: skip
_LEVELS = (0.0, 0.45, 0.72, 1.0)


def expression(person: Identity, emotion: int, level: int) -> dict[str, float]:
  """Weights of CHANNELS and MOUTH for an emotion on one person's face.

  Args:
    person: Scales every channel by a personal factor.
    emotion: Index into spec.EMOTIONS.
    level: 1 to 3; 0 shows nothing.
  """
  strength = _LEVELS[level] * person.style_factor
  names = (*CHANNELS, *MOUTH)
  return {
    name: value * strength * float(person.quirk[names.index(name)])
    for name, value in _TABLE[emotion].items()
  }


def fields(
  x: Float[np.ndarray, "v"],
  y: Float[np.ndarray, "v"],
  z: Float[np.ndarray, "v"],
  anchor: dict[str, float],
) -> Float[np.ndarray, "k v 3"]:
  """Displacement of skin points for each channel of FIELDS at weight 1.

  Args:
    x, y, z: Neutral positions in head units.
    anchor: Where this person's features are (surface.anchors).
  """
  side = np.sign(x)
  ax = np.abs(x)
  mouth, width = anchor["mouth_y"], anchor["mouth_w"]
  brow, eye_x = anchor["brow_y"], anchor["eye_x"]
  nose = anchor["nose_y"]
  front = np.clip((z + 0.1) / 0.5, 0, 1)
  out = np.zeros((len(FIELDS), *x.shape, 3), np.float32)

  def put(name: str, dx: Any = 0.0, dy: Any = 0.0, dz: Any = 0.0) -> None:
    out[FIELDS.index(name)] += np.stack(
      np.broadcast_arrays(dx * front, dy * front, dz * front), -1
    )

  below = step(mouth + 0.03, mouth - 0.1, y)
  wide = 1 - 0.75 * step(0.2, 0.8, ax)
  put("jaw", dy=-below * wide, dz=-0.25 * below * wide)
  put("jaw", dx=-0.10 * side * bump(ax, y, 0.5, mouth - 0.1, 0.15, 0.25))
  corner = bump(ax, y, width, mouth, 0.13, 0.13)
  put("smile", 0.065 * side * corner, 0.100 * corner, -0.035 * corner)
  lift = bump(ax, y, width + 0.13, mouth + 0.2, 0.14, 0.14)
  put("smile", 0.02 * side * lift, 0.045 * lift, 0.035 * lift)
  put("corner_down", 0.015 * side * corner, -0.085 * corner)
  low = bump(ax, y, width * 0.9, mouth - 0.12, 0.12, 0.1)
  put("corner_down", dy=-0.02 * low, dz=0.02 * low)
  one = bump(x, y, width, mouth, 0.12, 0.14)
  put("sneer", 0.06 * one, 0.10 * one, -0.05 * one)
  other = bump(x, y, width + 0.1, mouth + 0.14, 0.12, 0.14)
  put("sneer", dy=0.05 * other, dz=0.04 * other)
  put("sneer", dy=-0.02 * bump(x, y, -width, mouth, 0.12, 0.12))
  cheek = bump(ax, y, eye_x + 0.08, nose + 0.13, 0.17, 0.13)
  put("cheek", dy=0.05 * cheek, dz=0.05 * cheek)
  inner = bump(ax, y, 0.14, brow, 0.13, 0.16)
  put("brow_in", 0, 0.115 * inner, 0.01 * inner)
  outer = bump(ax, y, eye_x + 0.12, brow, 0.19, 0.17)
  put("brow_out", 0, 0.105 * outer, 0.01 * outer)
  knit = bump(ax, y, 0.15, brow - 0.01, 0.14, 0.13)
  put("frown", -0.045 * side * knit, -0.095 * knit, 0.03 * knit)
  put("frown", dy=-0.02 * outer)
  snarl = bump(ax, y, 0.11, nose + 0.10, 0.10, 0.12)
  put("wrinkle", 0, 0.045 * snarl, 0.03 * snarl)
  put("wrinkle", dy=-0.035 * bump(ax, y, 0.14, brow, 0.13, 0.12))
  upper = bump(ax, y, 0.11, mouth + 0.09, 0.16, 0.075)
  put("lip_up", 0, 0.065 * upper, 0.02 * upper)
  ring = bump(x, y, 0, mouth, 0.24, 0.16)
  put("round", -0.30 * x * ring, 0, 0.085 * ring)
  boss = bump(x, y, 0, mouth - 0.22, 0.18, 0.12)
  put("chin", 0, 0.045 * boss, 0.025 * boss)
  pulled = bump(ax, y, width + 0.03, mouth - 0.04, 0.14, 0.14)
  put("stretch", 0.07 * side * pulled, -0.035 * pulled, -0.04 * pulled)
  full = bump(ax, y, 0.42, mouth + 0.08, 0.16, 0.2)
  put("puff", 0.06 * side * full, 0, 0.05 * full)
  return out


# Skin folds that deepen with the expression: channel weights of each.
FOLDS: tuple[dict[str, float], ...] = (
  dict(smile=0.20, sneer=0.15, lip_up=0.13, wrinkle=0.10),  # nose to mouth
  dict(brow_in=0.26, brow_out=0.22),  # forehead
  dict(frown=0.5, wrinkle=0.15),  # between the brows
  dict(cheek=0.22, squint=0.12),  # beside the eyes
  dict(wrinkle=0.4),  # bridge of the nose
  dict(chin=0.3),  # under the lower lip
  dict(cheek=0.28, squint=0.1),  # under the eyes
)


def folds(
  x: Float[np.ndarray, "v"],
  y: Float[np.ndarray, "v"],
  z: Float[np.ndarray, "v"],
  anchor: dict[str, float],
) -> Float[np.ndarray, "f v"]:
  """Where each of FOLDS darkens the skin, 0 to 1; arguments as `fields`."""
  ax = np.abs(x)
  mouth, width = anchor["mouth_y"], anchor["mouth_w"]
  brow, eye_x = anchor["brow_y"], anchor["eye_x"]
  eye, nose = anchor["eye_y"], anchor["nose_y"]
  front = np.clip(z / 0.3, 0, 1)
  t = np.clip((y - (mouth - 0.02)) / (nose - mouth + 0.1), 0, 1)
  along = width + 0.10 - t * (width - 0.06)
  span = step(mouth - 0.12, mouth + 0.02, y) * step(nose + 0.1, nose, y)
  nasolabial = np.exp(-0.5 * ((ax - along) / 0.036) ** 2) * span
  rows = 0.5 + 0.5 * np.cos((y - brow - 0.17) * 2 * np.pi / 0.12)
  forehead = rows**3 * bump(ax, y, 0, brow + 0.29, 0.33, 0.12)
  knit = np.exp(-0.5 * ((ax - 0.055) / 0.022) ** 2) * np.exp(
    -0.5 * ((y - brow - 0.01) / 0.09) ** 2
  )
  crow = (0.5 + 0.5 * np.cos((y - eye) * 2 * np.pi / 0.07)) * bump(
    ax, y, eye_x + 0.25, eye, 0.05, 0.07
  )
  bridge = (0.5 + 0.5 * np.cos((y - eye) * 2 * np.pi / 0.07)) * bump(
    ax, y, 0.06, eye + 0.02, 0.06, 0.08
  )
  chin = bump(x, y, 0, mouth - 0.17, 0.17, 0.03)
  bag = np.exp(
    -0.5 * ((y - (eye - 0.12 - 0.02 * np.cos((ax - eye_x) * 8))) / 0.02) ** 2
  ) * np.exp(-0.5 * ((ax - eye_x) / 0.12) ** 2)
  return (
    np.stack([nasolabial, forehead, knit, crow, bridge, chin, bag]) * front
  ).astype(np.float32)
