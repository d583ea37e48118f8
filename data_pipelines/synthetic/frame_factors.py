"""What a face shows in each frame: emotion, mouth and pose as factors."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from data_pipelines.synthetic import emotion, factors, motion
from data_pipelines.synthetic.factors import POSE, Factors
from data_pipelines.synthetic.identity import Identity


class Mouth(NamedTuple):
  """A mouth, one row a frame."""

  opening: Float[np.ndarray, "n"]  # 0 shut, 1 as wide as it goes
  wide: Float[np.ndarray, "n"]  # -1 narrow, 1 wide
  pursed: Float[np.ndarray, "n"]  # 0 to 1
  press: Float[np.ndarray, "n"]  # 0 to 1: lips pressed together


def channels_of(
  person: Identity,
  index: int,
  level: int,
  rows: int,
  drift: Float[np.ndarray, "n"] | None = None,
) -> tuple[Float[np.ndarray, "n c"], Float[np.ndarray, "n m"]]:
  """Channels of `rows` frames, and what the emotion adds to the mouth.

  Args:
    person: Whose face it is.
    index: Index into spec.EMOTIONS.
    level: 1 to 3.
    rows: Number of frames.
    drift: How the strength wanders, in [-1, 1], for 12 % at most.
  """
  weights = emotion.expression(person, index, level)
  out = np.zeros((rows, len(emotion.CHANNELS)), np.float32)
  for i, name in enumerate(emotion.CHANNELS):
    out[:, i] = weights.get(name, 0.0)
  gain = np.ones(rows) if drift is None else 1 + 0.12 * drift
  gain = gain.astype(np.float32)
  extra = np.stack(
    [np.full(rows, weights.get(name, 0.0)) for name in emotion.MOUTH], -1
  )
  return out * gain[:, None], extra * gain[:, None]


def mouth_columns(
  spoken: Mouth, extra: Float[np.ndarray, "n m"]
) -> dict[str, Float[np.ndarray, "n"]]:
  """Factors of the mouth: what is said plus what the emotion adds.

  Args:
    spoken: The speech's; where `press` is 1 lips must meet, whatever the
      emotion.
    extra: Columns of emotion.MOUTH.
  """
  opening, wide, pursed, press = spoken
  opening = opening + extra[:, 0] * (1 - 0.5 * opening)
  opening = opening * (1 - press)
  wide = wide + extra[:, 1] * (1 - 0.5 * np.abs(wide))
  pursed = np.maximum(pursed, extra[:, 2])
  press = np.maximum(press, extra[:, 3] * (1 - opening))
  return {
    "mouth_open": opening.clip(0, 1),
    "mouth_wide": wide.clip(-1, 1),
    "mouth_round": pursed.clip(0, 1),
    "mouth_press": press,
  }


def pose_columns(
  place: motion.Placement,
) -> dict[str, Float[np.ndarray, "n"]]:
  """Factors of the pose."""
  columns = (*place.pose.T, *place.shift.T, place.scale)
  return dict(zip(POSE, columns, strict=True))


def random_channels(
  rng: np.random.Generator, person: Identity, feelings: Int[np.ndarray, "n"]
) -> tuple[Float[np.ndarray, "n c"], Float[np.ndarray, "n m"]]:
  """Channels and mouth additions of one row per emotion, any level."""
  levels = np.array([rng.integers(1, 4) for _ in feelings])
  return channels_of_many(person, feelings, levels)


def channels_of_many(
  person: Identity, feelings: Int[np.ndarray, "n"], levels: Int[np.ndarray, "n"]
) -> tuple[Float[np.ndarray, "n c"], Float[np.ndarray, "n m"]]:
  """Channels and mouth additions of one row per emotion and level."""
  rows = [
    channels_of(person, int(feeling), int(level), 1)
    for feeling, level in zip(feelings, levels, strict=True)
  ]
  channels, extra = zip(*rows, strict=True)
  return np.concatenate(channels), np.concatenate(extra)


def random_factors(
  rng: np.random.Generator, framing: str, extra: Float[np.ndarray, "n m"]
) -> Factors:
  """Independent frames; the light is left out."""
  count = len(extra)
  place = motion.scatter(rng, count, framing)
  mouth = mouth_columns(random_mouth(rng, count), extra)
  blink = (rng.random(count) < 0.06) * rng.uniform(0.5, 1, count)
  gaze = rng.uniform(-1, 1, (count, 2)) * np.array([0.8, 0.4])
  return factors.zeros(count)._replace(
    **pose_columns(place),
    **mouth,
    blink=blink,
    gaze_x=gaze[:, 0],
    gaze_y=gaze[:, 1],
  )


def random_mouth(rng: np.random.Generator, count: int) -> Mouth:
  """Independent mouths."""
  opening = rng.beta(0.8, 1.4, count)
  pursed = (rng.random(count) < 0.25) * rng.uniform(0.3, 1, count)
  wide = rng.uniform(-0.2, 0.9, count) * (pursed == 0) - 0.7 * pursed
  press = (rng.random(count) < 0.18).astype(float)
  return Mouth(opening * (1 - press) * (1 - 0.5 * pursed), wide, pursed, press)
