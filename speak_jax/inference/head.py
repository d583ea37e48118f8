"""How a head shall turn and where its eyes shall look, as a user says it."""

import enum
import functools
import os
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from data_pipelines.faces import headpose
from data_pipelines.synthetic.motion import ByFrame
from speak_jax.inference.curve import (
  Curve,
  is_table,
  number,
  read_table,
  seconds,
)
from speak_jax.photograph.gaze import OWN_GAZE
from speak_jax.photograph.head_motion import rotation_of

File = str | os.PathLike

ANGLES = ("yaw", "pitch", "roll")
MOST_DEGREES = 180.0
GAZES = ("follow", "still")
MOST_GAZE = (40.0, 25.0)  # degrees aside, and up or down: there irises vanish


class Idle(enum.Enum):
  """A head that nobody drives; eyes blink and look about all the same."""

  SAMPLED = "sampled"  # it sways
  STILL = "still"


class Sweep(NamedTuple):
  """Angles through which a head goes, at an even speed, over a whole video.

  Of an angle that has none, it keeps the photograph's own.
  """

  yaw: tuple[float, ...] = ()  # degrees
  pitch: tuple[float, ...] = ()
  roll: tuple[float, ...] = ()

  def at(
    self, shares: Float[np.ndarray, "n"], own: Float[np.ndarray, "3"]
  ) -> Float[np.ndarray, "n 3"]:
    """Reads the angles.

    Args:
      shares: Of the video, from 0 to 1.
      own: What an angle is that has none, degrees.
    """
    columns = []
    for angles, rest in zip(self, own, strict=True):
      way = np.cumsum(np.abs(np.diff(angles, prepend=angles[:1])))
      if not way.size or not way[-1]:  # it keeps still
        angle = angles[0] if angles else rest
        columns.append(np.full(len(shares), float(angle)))
      else:
        columns.append(np.interp(shares * way[-1], way, angles))
    return np.column_stack(columns)


Pose = File | Curve | Sweep | None  # as a request has it
Told = Idle | Curve | Sweep  # what is no video or picture of somebody


def read_pose(value: Pose) -> Told | File:
  """Reads what a head follows.

  Args:
    value: A video or picture; a CSV file of time (s), yaw, pitch and roll
      (degrees); or a word of `Idle`, unless there is a file of that name.
      None: it sways.

  Returns:
    A file is a video or picture.

  Raises:
    MediaError: a row of the CSV file is malformed; one line.
    ValueError: a sweep has no or impossible angles; one line.
  """
  if value is None:
    return Idle.SAMPLED
  if isinstance(value, Sweep):
    if not any(value):
      raise ValueError("no angles")
    for name, angles in zip(ANGLES, value, strict=True):
      for angle in angles:
        _degrees(angle, name)
    return value
  if isinstance(value, Curve):
    return _checked(value)
  if is_table(value):
    return _read_angles(value)
  return value if file_of(value) is not None else Idle(value)


def file_of(value: Pose) -> File | None:
  """The file that a pose is read from; words, unless they name one, are none.

  Args:
    value: As for `read_pose`.
  """
  if not isinstance(value, (str, os.PathLike)):
    return None
  is_word = value in [idle.value for idle in Idle]
  return None if is_word and not os.path.isfile(value) else value


def curve_of(rows: Float[np.ndarray, "r 4"]) -> Curve:
  """Makes a curve of rows of time (s), yaw, pitch and roll (degrees).

  Raises:
    ValueError: they cannot be; one line.
  """
  return _checked(Curve(rows[:, 0], rows[:, 1:]))


def turns(
  pose: Told,
  n: int,
  fps: float,
  own: Float[np.ndarray, "3 3"],
  mode: str | None,
) -> ByFrame | None:
  """How far a head turns from the photograph's pose in each of n frames.

  Args:
    pose: From `read_pose`.
    n: Frames.
    fps: Frames a second.
    own: Rotation of the photograph's head.
    mode: "relative", angles are beside the photograph's; "absolute", they are
      the head's; None: absolute of a sweep, else relative.

  Returns:
    Rotations (m 3 3) of m of the frames by their indices; None: it sways.
  """
  if pose is Idle.SAMPLED:
    return None
  if isinstance(pose, Idle):
    return lambda index: np.broadcast_to(np.eye(3), (len(index), 3, 3))
  if isinstance(pose, Sweep):
    absolute = mode != "relative"
    rest = np.degrees(headpose.angles(own[None]))[0] * absolute
    shares = np.linspace(0, 1, n)
    angles = functools.partial(_swept, pose, shares, rest)
  else:
    absolute, angles = mode == "absolute", pose.by_frame(fps)

  def at(index: Int[np.ndarray, "m"]) -> Float[np.ndarray, "m 3 3"]:
    found = rotation_of(*np.radians(angles(index)).T)
    return found @ own.T if absolute else found

  return at


def _swept(
  sweep: Sweep,
  shares: Float[np.ndarray, "n"],
  rest: Float[np.ndarray, "3"],
  index: Int[np.ndarray, "m"],
) -> Float[np.ndarray, "m 3"]:
  return sweep.at(shares[index], rest)


def read_gaze(
  value: str | tuple[float, float] | None,
) -> str | tuple[float, float]:
  """Reads where eyes look.

  Args:
    value: A word of GAZES, or degrees to the picture's right and up, as
      "YAW,PITCH" or two numbers. None: "follow".

  Raises:
    ValueError: it is nothing of this; one line.
  """
  if value is None:
    return GAZES[0]
  if isinstance(value, str) and value in GAZES:
    return value
  parts = value.split(",") if isinstance(value, str) else tuple(value)
  if len(parts) != 2:
    raise ValueError(f"{value!r} is not {', '.join(GAZES)} or YAW,PITCH")
  yaw, pitch = (
    number(part, name, -most, most)
    for part, name, most in zip(parts, ANGLES, MOST_GAZE, strict=False)
  )
  return yaw, pitch


def described(pose: Told | File, value: Pose) -> str:
  """Says what a head follows.

  Args:
    pose: What `read_pose` made of it.
    value: What was asked for.
  """
  if isinstance(pose, Sweep):
    return ", ".join(
      f"{name} {' to '.join(f'{angle:g}' for angle in angles)}"
      for name, angles in zip(ANGLES, pose, strict=True)
      if angles
    )
  if isinstance(pose, Curve):
    name = "a curve" if isinstance(value, Curve) else value
    return f"{name}: {len(pose.times)} rows up to {pose.times[-1]:g} s"
  if pose is Idle.SAMPLED:
    return "none: the head is idle"
  return "still" if isinstance(pose, Idle) else str(pose)


def gaze_beside(
  gaze: str | tuple[float, float], own: Float[np.ndarray, "2"] | None
) -> tuple[float, float] | None:
  """Where eyes look beside the photograph's gaze; None: as they are driven.

  Args:
    gaze: From `read_gaze`.
    own: The photograph's gaze, if angles are from straight ahead of the head;
      None: they are beside it.
  """
  if isinstance(gaze, str):
    return None if gaze == GAZES[0] else OWN_GAZE
  own = np.zeros(2) if own is None else own
  return float(gaze[0] - own[0]), float(gaze[1] - own[1])


def _read_angles(path: File) -> Curve:
  last = -1.0

  def row(cells: Sequence[str]) -> tuple[float, ...]:
    nonlocal last
    time, *angles = cells
    now = seconds(time)
    if now <= last:
      raise ValueError(f"time {time} is not after the row before")
    last = now
    return (now, *map(_degrees, angles, ANGLES))

  rows = np.array(read_table(path, ("time", *ANGLES), row))
  return Curve(rows[:, 0], rows[:, 1:])


def _checked(curve: Curve) -> Curve:
  """Refuses a curve of angles that was made elsewhere, as a file's rows."""
  times, values = curve
  if values.shape != (len(times), len(ANGLES)) or not len(times):
    raise ValueError(f"angles are {values.shape}, not (n, 3)")
  for i, time in enumerate(times):
    if not 0 <= time <= times[-1] or (i and time <= times[i - 1]):
      raise ValueError(
        f"row {i + 1}: time {time:g} is not after the one before"
      )
  if not (np.abs(values) <= MOST_DEGREES).all():
    raise ValueError(f"an angle is beyond {MOST_DEGREES:g} degrees, or none")
  return curve


def _degrees(text: object, name: str) -> float:
  return number(text, name, -MOST_DEGREES, MOST_DEGREES)
