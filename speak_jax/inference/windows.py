"""Time at inference: pose codes for every frame, and windows of pose and sound.

NumPy alone; everything is taken piece by piece, so that a video may have any
length.
"""

import itertools
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Protocol, runtime_checkable

import numpy as np
from einops import rearrange
from jaxtyping import Float, Int, Int16

from speak_jax import spec
from speak_jax.common.on_disk import Rows
from speak_jax.inference.settings import Settings


@runtime_checkable
class Heard(Protocol):
  """How much of a sound is heard at once, as a model's settings say."""

  @property
  def heard(self) -> int:
    """Frames of a stretch."""
    ...

  @property
  def context(self) -> int:
    """Frames of sound on each side of it."""
    ...

  @property
  def samples(self) -> int:
    """Samples of both."""
    ...

  @property
  def fps(self) -> float:
    """Frames a second."""
    ...


def drive(
  codes: Iterable[Float[np.ndarray, "p"]],
  n: int,
  *,
  smooth: bool = True,
  jumps: int = 0,
) -> Iterator[Float[np.ndarray, "p"]]:
  """Yields pose codes for n frames: smoothed over time, then back and forth.

  Codes are taken as they are needed, each but one frame ahead.

  Args:
    codes: One pose code for each frame of the driving video.
    n: Frames to make.
    smooth: Average each code with its neighbours, see `smoothed`.
    jumps: Numbers at a code's end that are not averaged.

  Raises:
    ValueError: There are no codes.
  """
  played = None
  for code in itertools.islice(smoothed(codes, jumps) if smooth else codes, n):
    if played is None:
      played = Rows(code.dtype, code.shape)
    played.append(code[None])
    yield code
  if played is None:
    raise ValueError("nothing to loop over")
  count = len(played)
  for time in range(count, n):
    yield played.row(bounced(time, count))


def smoothed(
  codes: Iterable[Float[np.ndarray, "p"]], jumps: int = 0
) -> Iterator[Float[np.ndarray, "p"]]:
  """Yields each code with a quarter of each neighbour; ends are repeated.

  Args:
    codes: One of each frame.
    jumps: Numbers at a code's end that stay as they are.
  """
  before = now = None
  for after in itertools.chain(codes, [None]):
    if now is not None:
      left = now if before is None else before
      right = now if after is None else after
      mean = 0.25 * left + 0.5 * now + 0.25 * right
      yield np.concatenate([mean[: len(now) - jumps], now[len(now) - jumps :]])
    before, now = now, after


def bridge(
  codes: Iterable[Float[np.ndarray, "p"] | None],
) -> Iterator[Float[np.ndarray, "p"]]:
  """Yields a code for every frame: None is interpolated between its neighbours.

  Before the first and after the last code they are held. The codes of a gap
  come when the gap has ended.
  """
  last, missing = None, 0
  for code in codes:
    if code is None:
      missing += 1
      continue
    start = code if last is None else last
    for i in range(missing):
      share = (i + 1) / (missing + 1)
      yield (start + share * (code - start)).astype(code.dtype)
    yield code
    last, missing = code, 0
  if last is not None:
    yield from itertools.repeat(last, missing)


def resampled(
  codes: Iterable[Float[np.ndarray, "p"]],
  step: Fraction,
  n: int,
  jumps: int = 0,
) -> Iterator[Float[np.ndarray, "p"]]:
  """Yields codes at times 0, step, 2 step ...; code i stands at time i.

  Cubic splines go through all codes (Catmull-Rom), so that at whole times they
  are what they were. Codes are taken two ahead; the ends are held.

  Args:
    codes: One at least.
    step: Over the time between two codes.
    n: That are wanted.
    jumps: Numbers at a code's end between which a straight line is drawn, for
      a cubic would go beyond them.

  Raises:
    ValueError: there are no codes.
  """
  codes = iter(codes)
  first = next(codes, None)
  if first is None:
    raise ValueError("nothing to resample")
  before, now, after, later = first, first, next(codes, first), None
  at = 0  # of `now`
  for number in range(n):
    time = number * step
    while at < int(time):
      later = next(codes, after) if later is None else later
      before, now, after, later = now, after, later, None
      at += 1
    share = float(time - at)
    if not share:
      yield now
      continue
    later = next(codes, after) if later is None else later
    slopes = (after - before) / 2, (later - now) / 2
    way = after - now
    bend = slopes[0] - way, way - slopes[1]
    smooth = now + share * way
    smooth = smooth + share * (1 - share) * (
      (1 - share) * bend[0] + share * bend[1]
    )
    straight = now + share * way
    end = len(now) - jumps
    yield np.concatenate([smooth[:end], straight[end:]])


def ping_pong(m: int, n: int) -> Int[np.ndarray, "n"]:
  """Returns n indices into m items: 0 1 2 1 0 1 ..., each end once a turn.

  Raises:
    ValueError: m is 0.
  """
  if m < 1:
    raise ValueError("nothing to loop over")
  return np.array([bounced(time, m) for time in range(n)], int)


def bounced(time: int, m: int) -> int:
  """The item of m, at least one, that stands at a time of `ping_pong`."""
  period = max(2 * (m - 1), 1)
  index = time % period
  return min(index, period - index)


def cut_poses(
  pose: Float[np.ndarray, "n p"], settings: Settings
) -> Float[np.ndarray, "w t p"]:
  """Cuts poses into windows of `settings.frames`; the last one is held."""
  t = settings.frames
  count = -(-len(pose) // t)
  pose = np.pad(pose, ((0, count * t - len(pose)), (0, 0)), mode="edge")
  return rearrange(pose, "(w t) p -> w t p", t=t)


def frames_of(audio: spec.Samples, fps: float) -> int:
  """Counts the frames of a 16 kHz sound: round(seconds x fps).

  Raises:
    ValueError: It is too short for one.
  """
  n = round(len(audio) * fps / spec.SAMPLE_RATE_HZ)
  if n < 1:
    raise ValueError(f"sound too short ({len(audio)} samples at 16 kHz)")
  return n


def cut_sound(
  audio: spec.Samples,
  first: int,
  count: int,
  settings: Heard,
  origin: int = 0,
) -> Int16[np.ndarray, "w a"]:
  """Cuts the sound of stretches of `settings.heard` frames.

  Each reaches `settings.context` frames over both of its ends; outside of the
  recording there is silence, as in training.

  Args:
    audio: 16 kHz mono.
    first: Index of the first stretch.
    count: w, number of stretches.
    settings: Frames of a stretch and of its context.
    origin: Sample of the recording that `audio` begins with.
  """
  per_frame = spec.samples_per_frame(settings.fps)
  before = round(settings.context * per_frame)
  sounds = np.zeros((count, settings.samples), np.int16)
  for i, sound in enumerate(sounds, first):
    start = round(i * settings.heard * per_frame) - before - origin
    heard = audio[max(start, 0) : max(start + len(sound), 0)]
    at = max(-start, 0)
    sound[at : at + len(heard)] = heard
  return sounds
