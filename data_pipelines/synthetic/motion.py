"""How a head moves, where it looks, and what stands around it."""

from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, Int

from data_pipelines.synthetic import spline

FRAMINGS = ("tight", "medium", "wide")
KNOTS_BEHIND = 32  # of a spline, of which the last ones change nothing here
_BLINK_S = 0.075  # from shut lids to those that are half open, about
_BLINK_REACH_S = 0.5  # beyond which a blink is exactly nothing
# Numbers of some frames by their indices: a video need not be held whole.
ByFrame = Callable[[Int[np.ndarray, "n"]], Float[np.ndarray, "n *d"]]


class Framing(NamedTuple):
  """Limits of a framing: degrees, share of the picture."""

  yaw: float
  pitch: float
  roll: float
  shift: float
  height: tuple[float, float]  # crown to chin over the picture's height


_FRAMINGS = {
  "tight": Framing(14, 8, 6, 0.025, (0.87, 0.91)),
  "medium": Framing(25, 12, 10, 0.045, (0.76, 0.84)),
  "wide": Framing(35, 18, 15, 0.08, (0.60, 0.74)),
}


def framing(name: str) -> Framing:
  """The limits by name.

  Raises:
    ValueError: an unknown framing, named with the known ones.
  """
  if name not in _FRAMINGS:
    raise ValueError(f"framing {name!r} is not one of {', '.join(FRAMINGS)}")
  return _FRAMINGS[name]


class Placement(NamedTuple):
  """Pose and place of the head in the picture, one row per frame."""

  pose: Float[np.ndarray, "n 3"]  # yaw, pitch, roll in degrees
  shift: Float[np.ndarray, "n 2"]  # right, down; share of the picture
  scale: Float[np.ndarray, "n"]  # head's height over the picture's


def wander(
  rng: np.random.Generator,
  frames: int,
  fps: float,
  channels: int,
  every_s: float = 0.7,
) -> Float[np.ndarray, "n c"]:
  """Smooth random tracks in about [-1, 1].

  Args:
    rng: Draws the knots.
    frames: n.
    fps: Frames a second.
    channels: c.
    every_s: Seconds from knot to knot.
  """
  knots = int(np.ceil(frames / fps / every_s)) + 4
  values = rng.uniform(-1, 1, (knots, channels))
  at = (np.arange(frames) / fps) / every_s + 1 + rng.uniform(0, 1)
  return spline.through(values, at).clip(-1, 1)


def swaying(
  rng: np.random.Generator,
  frames: int,
  fps: float,
  channels: int,
  every_s: float,
) -> ByFrame:
  """As `wander`, and a longer track begins as a shorter one of these draws.

  It is read frame by frame, (m c) of m frames.
  """
  begin = rng.uniform(0, 1)
  knots = int(np.ceil(frames / fps / every_s)) + 4 + KNOTS_BEHIND
  smooth = spline.reader(rng.uniform(-1, 1, (knots, channels)))
  return lambda index: smooth((index / fps) / every_s + 1 + begin).clip(-1, 1)


def travel(
  rng: np.random.Generator, frames: int, fps: float, name: str
) -> Placement:
  """Head motion of a clip: a resting pose, drift and nods about it."""
  limit = framing(name)
  bounds = np.array([limit.yaw, limit.pitch, limit.roll])
  rest = rng.uniform(-0.62, 0.62, 3)
  slow = wander(rng, frames, fps, 3, 0.9)
  quick = wander(rng, frames, fps, 3, 0.3)
  pose = (rest + 0.42 * slow + 0.05 * quick).clip(-1, 1) * bounds
  place = rng.uniform(-0.7, 0.7, 2) + 0.3 * wander(rng, frames, fps, 2, 0.8)
  scale = rng.uniform(*limit.height) * (
    1 + 0.012 * wander(rng, frames, fps, 1, 1.0)[:, 0]
  )
  return Placement(pose, place * limit.shift, scale)


def scatter(rng: np.random.Generator, count: int, name: str) -> Placement:
  """Independent places, uniform within the framing's limits."""
  limit = framing(name)
  bounds = np.array([limit.yaw, limit.pitch, limit.roll])
  return Placement(
    rng.uniform(-1, 1, (count, 3)) * bounds,
    rng.uniform(-1, 1, (count, 2)) * limit.shift,
    rng.uniform(*limit.height, count),
  )


def blinks(
  rng: np.random.Generator, frames: int, fps: float
) -> Float[np.ndarray, "n"]:
  """Closing of the lids, 0 to 1; a blink every three seconds or so."""
  return blinking(rng, frames, fps)(np.arange(frames))


def blinking(rng: np.random.Generator, frames: int, fps: float) -> ByFrame:
  """`blinks`, read frame by frame."""
  times, at = [], rng.uniform(0.2, 2.8)
  while at < (frames - 0.5) / fps + 0.3:
    times.append(at)
    at += rng.uniform(1.4, 4.5)
  blinks = np.array(times)

  def closed(index: Int[np.ndarray, "n"]) -> Float[np.ndarray, "n"]:
    time = (index + 0.5) / fps
    near = np.searchsorted(
      blinks, [time.min() - _BLINK_REACH_S, time.max() + _BLINK_REACH_S]
    )
    out = np.zeros(len(index))
    for at in blinks[slice(*near)]:
      out = np.maximum(out, np.exp(-(((time - at) / _BLINK_S) ** 4)))
    return out

  return closed


def glances(
  rng: np.random.Generator, frames: int, fps: float
) -> Float[np.ndarray, "n 2"]:
  """Where the eyes look, about [-1, 1]: they jump, then rest."""
  time = np.arange(frames) / fps
  out = np.zeros((frames, 2))
  start = 0.0
  while start < time[-1] + 0.01:
    away = rng.random() < 0.45
    target = rng.uniform(-1, 1, 2) * ((0.9, 0.5) if away else (0.2, 0.12))
    out[time >= start] = target
    start += rng.uniform(0.35, 1.4)
  kernel = np.array([0.25, 0.5, 0.25])
  padded = np.pad(out, ((1, 1), (0, 0)), "edge")
  return np.stack(
    [np.convolve(padded[:, k], kernel, "valid") for k in (0, 1)], 1
  )


def light(
  rng: np.random.Generator,
) -> tuple[Float[np.ndarray, "3"], Float[np.ndarray, "3 3"]]:
  """Direction to the key light; colours of ambient, key and rim light."""
  azimuth, height = rng.uniform(-65, 65), rng.uniform(8, 52)
  a, h = np.deg2rad(azimuth), np.deg2rad(height)
  direction = np.array(
    [np.sin(a) * np.cos(h), np.sin(h), np.cos(a) * np.cos(h)]
  )
  warm = rng.normal(0, 1)
  tint = 1 + 0.05 * warm * np.array([1, 0.1, -1])
  ambient = rng.uniform(0.40, 0.58) * (1 - 0.03 * warm * np.array([1, 0, -1]))
  key = (1.08 - ambient.mean()) * rng.uniform(0.90, 1.12) * tint
  rim = rng.uniform(0.0, 0.35) * np.array([0.95, 1.0, 1.08])
  return direction, np.stack([ambient, key, rim])


def background(
  rng: np.random.Generator, size: int
) -> Float[np.ndarray, "h w 3"]:
  """A soft, out-of-focus room: gradient, blurred shapes, sometimes bokeh."""
  small = 48
  y, x = np.mgrid[:small, :small].astype(np.float32) / (small - 1)

  def colour(
    low: float, high: float, saturation: float
  ) -> Float[np.ndarray, "3"]:
    hue = rng.uniform(0, 2 * np.pi)
    value = rng.uniform(low, high)
    return value * (
      1 + saturation * np.cos(hue + np.array([0, -2.09, 2.09]))
    ).astype(np.float32)

  base, other = colour(45, 205, 0.12), colour(35, 205, 0.14)
  angle = rng.uniform(0, 2 * np.pi)
  ramp = (x - 0.5) * np.cos(angle) + (y - 0.5) * np.sin(angle) + 0.5
  image = base + (other - base) * (ramp * rng.uniform(0.2, 0.8))[..., None]
  kind = rng.integers(0, 4)
  if kind >= 1:
    for _ in range(rng.integers(2, 6)):
      left, top = rng.uniform(-0.2, 0.9, 2)
      wide, high = rng.uniform(0.1, 0.6, 2)
      inside = (x > left) & (x < left + wide) & (y > top) & (y < top + high)
      shade = rng.uniform(0.55, 1.4)
      image = image * np.where(inside, shade, 1)[..., None]
  image = np.ascontiguousarray(image, np.float32)
  image = cv2.GaussianBlur(image, (0, 0), rng.uniform(1.5, 5))
  if kind == 3:
    for _ in range(rng.integers(4, 12)):
      at = rng.uniform(0, 1, 2)
      radius = rng.uniform(0.03, 0.10)
      disc = np.clip(1 - (np.hypot(x - at[0], y - at[1]) - radius) / 0.03, 0, 1)
      image += disc[..., None] * colour(15, 60, 0.25)
  image = cv2.resize(image, (size, size), interpolation=cv2.INTER_CUBIC)
  grain = rng.normal(0, rng.uniform(0.3, 1.6), (size, size, 1))
  return np.clip(image + grain, 4, 248).astype(np.float32)
