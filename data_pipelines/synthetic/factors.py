"""What each frame of a synthetic clip shows, by name."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int


class Factors(NamedTuple):
  """One column a factor, in the order in which records store them."""

  yaw: Float[np.ndarray, "n"]  # degrees, > 0 to the picture's right
  pitch: Float[np.ndarray, "n"]  # degrees, > 0 up
  roll: Float[np.ndarray, "n"]  # degrees, > 0 clockwise in the picture
  shift_x: Float[np.ndarray, "n"]  # share of the picture, > 0 to the right
  shift_y: Float[np.ndarray, "n"]  # share of the picture, > 0 down
  scale: Float[np.ndarray, "n"]  # head's height over the picture's
  mouth_open: Float[np.ndarray, "n"]  # 0 shut, 1 as wide as it goes
  mouth_wide: Float[np.ndarray, "n"]  # -1 narrow, 1 wide
  mouth_round: Float[np.ndarray, "n"]  # 0 to 1, pursed
  mouth_press: Float[np.ndarray, "n"]  # 0 to 1, lips pressed together
  blink: Float[np.ndarray, "n"]  # 0 open, 1 shut
  gaze_x: Float[np.ndarray, "n"]  # about -1 to 1
  gaze_y: Float[np.ndarray, "n"]
  light_x: Float[np.ndarray, "n"]  # x of the direction to the key light
  light_y: Float[np.ndarray, "n"]

  @property
  def pose(self) -> Float[np.ndarray, "n 3"]:
    """Yaw, pitch, roll in degrees."""
    return np.stack([self.yaw, self.pitch, self.roll], -1)

  def stacked(self) -> Float[np.ndarray, "n f"]:
    """All columns side by side, as records store them."""
    return np.stack(self, -1)

  def rows(self, at: Int[np.ndarray, "k"]) -> "Factors":
    """Some frames of them."""
    return Factors(*(column[at] for column in self))

  def with_columns_of(
    self, other: "Factors", names: tuple[str, ...]
  ) -> "Factors":
    """The same with some columns of another one."""
    return self._replace(**{name: getattr(other, name) for name in names})


FACTORS = Factors._fields
POSE = ("yaw", "pitch", "roll", "shift_x", "shift_y", "scale")
MOUTH = ("mouth_open", "mouth_wide", "mouth_round", "mouth_press")


def zeros(n: int) -> Factors:
  """n frames of zeros."""
  return Factors(*np.zeros((len(FACTORS), n)))


def join(parts: list[Factors]) -> Factors:
  """Frames one after another."""
  return Factors(*map(np.concatenate, zip(*parts, strict=True)))
