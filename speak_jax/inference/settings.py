"""What a bundle's functions expect of their inputs: sizes, and how to crop."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from speak_jax import spec


class Framing(NamedTuple):
  """Where the training data's square crops lie round the landmarks.

  Pictures must be cut as those that the model learned from, or heads come out
  larger or smaller than any it has seen. The default is that of
  `faces.align.square`, by which recordings are cut.
  """

  side: float = 1.3  # of the square, over the larger side of a clip's landmarks
  up: float = 0.04  # its centre over that of the landmarks, in sides
  still_side: float = 1.3  # the same for a single picture
  still_up: float = 0.04


class Settings(NamedTuple):
  """What the functions expect of their inputs."""

  image: int  # px, side of a frame
  emotion: int  # px, side of the picture that the emotion encoder sees
  emotion_input: str  # "face": aligned face; "frame": the whole crop
  frames: int  # t, frames of one window
  context: int  # frames of sound heard on each side of a window
  fps: float
  framing: Framing = Framing()
  stretch: int = 0  # frames whose speech is encoded at once; 0: of a window

  @property
  def heard(self) -> int:
    """n, frames whose speech is encoded at once: one window or several."""
    return self.stretch or self.frames

  @property
  def samples(self) -> int:
    """Samples of sound that are heard for these, context included."""
    span = self.heard + 2 * self.context
    return round(span * spec.samples_per_frame(self.fps))


def settings_to_json(settings: Settings) -> dict[str, Any]:
  """Returns the settings as plain data for a bundle's config."""
  return {**settings._asdict(), "framing": settings.framing._asdict()}


def settings_from_json(stored: Mapping[str, Any]) -> Settings:
  """The inverse of `settings_to_json`."""
  return Settings(**{**stored, "framing": Framing(**stored["framing"])})
