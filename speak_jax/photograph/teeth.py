"""Teeth and gums that many portraits have taught, and the light inside a mouth.

One texture of the upper teeth and one of the lower, left half as right half,
which `python -m speak_jax.tools.train_teeth` makes. Lengths are in distances
between the outer corners of the eyes, some 92 mm.
"""

import json
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from safetensors.numpy import load_file, save

from speak_jax.common import files

WEIGHTS = Path(__file__).parents[1] / "assets" / "teeth.safetensors"
TEXEL = 0.00375
BLUR = 0.8  # texels, of colours and of the logit of opacity
COLUMNS = 96  # of half a row of teeth
UPPER_ROWS, LOWER_ROWS = 64, 48
# The first row, below the edge of the teeth at the middle.
UPPER_TOP, LOWER_TOP = -0.19, -0.07
FRONT = np.s_[24:46, :42]  # texels of the front teeth, whose colour is 1
BOW, LOWER_BOW = 0.30, 0.20  # by which a row rises to its sides; per length
LOWER_EDGE = 0.04  # of the teeth above the lower lip


class Teeth(NamedTuple):
  """What portraits taught."""

  # Colour over that of the light on front teeth, and the logit of opacity.
  upper: Float[np.ndarray, "64 96 4"]
  lower: Float[np.ndarray, "48 96 4"]
  cavity: Float[np.ndarray, "3"]  # colour behind the teeth, over the same
  shade: Float[np.ndarray, "9"]  # as for `light`
  below_nose: Float[np.ndarray, ""]  # of the upper teeth's edge
  # Luma of the light on front teeth, 0 to 1: by that of the cheeks, for itself,
  # and at most over that of the cheeks.
  bright: Float[np.ndarray, "3"]


def light(
  across: Any, below: Any, above: Any, side: Any, shade: Any, xp: ModuleType
) -> Any:
  """Finds how much light gets to places between the lips.

  Args:
    across: From the middle of the teeth; its sign does not matter.
    below, above: Distance from the upper and the lower lip.
    side: From the nearer corner of the gap.
    shade: Logarithms: how deep the shade of the upper lip, of the lower one and
      of a corner is, and by how much the arch turns away from the light; how
      wide the three are; how much deeper each is for green and for blue.
    xp: Module whose `exp` is used.

  Returns:
    Red, green and blue, 0 to 1.
  """
  depth, width, cooler = (xp.exp(x) for x in (shade[:4], shade[4:7], shade[7:]))
  dark = depth[0] * xp.exp(-below / width[0])
  dark = dark + depth[1] * xp.exp(-above / width[1])
  dark = dark + depth[2] * xp.exp(-side / width[2])
  dark = -(dark + depth[3] * across**2)
  return xp.stack([xp.exp(dark * k) for k in (1, cooler[0], cooler[1])], -1)


def write(path: Path, teeth: Teeth) -> None:
  """Writes teeth, float16; `describe` must follow."""
  tensors = {
    name: np.asarray(value, np.float16)
    for name, value in teeth._asdict().items()
  }
  files.write(path, save(tensors))


def describe(path: Path, report: dict[str, Any]) -> None:
  """Writes the JSON beside teeth: a report, and the SHA-256 that is checked."""
  content = {**report, "sha256": files.sha256(path)}
  files.write(path.with_suffix(".json"), json.dumps(content, indent=2) + "\n")


def read(path: Path = WEIGHTS) -> Teeth:
  """Reads teeth.

  Raises:
    FileError: the file is not the one that the JSON beside it describes.
  """
  report = json.loads(path.with_suffix(".json").read_text())
  if files.sha256(path) != report["sha256"]:
    raise files.FileError(path, "is damaged: its SHA-256 differs; install anew")
  return Teeth(
    **{x: value.astype(np.float32) for x, value in load_file(path).items()}
  )
