"""What the page's widgets say, as a `Request`."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from speak_jax import spec
from speak_jax.inference import head
from speak_jax.inference.request import Request, RequestError

NEUTRAL = spec.EMOTIONS[0]
TURNED = "turned"  # of the head's dropdown
AIMED = "aimed"  # of the eyes' dropdown
# Of the file's dropdown: what is made, and how its name ends.
MP4, WEBM, PICTURES = "mp4", "webm", "pictures"


def request_of(wanted: Mapping[str, Any]) -> Request:
  """Makes a request of the widgets' values by name.

  What there is no widget of is as `Request` has it; None is nothing chosen.

  Raises:
    RequestError: a video and a table both lead the head.
  """
  pose, mode = wanted["pose"], wanted.get("pose_mode")
  table = wanted.get("pose_table")
  if pose is not None and table is not None:
    raise RequestError("pose", "a video and a table; take one of them away")
  pose = table if pose is None else pose
  if pose is None:
    pose, mode = _idle(wanted)
  emotion, name = wanted["emotion_file"], wanted.get("emotion")
  if emotion is None and name is not None and name != NEUTRAL:
    emotion = f"{name}:{wanted['level']:g}"
  seed, scale = wanted.get("seed"), wanted.get("pose_scale")
  if scale is None or pose == head.Idle.STILL.value:
    scale = 1.0
  return Request(
    identity=wanted["identity"],
    audio=wanted["audio"],
    pose=pose,
    emotion=emotion,
    pose_mode=mode,
    pose_scale=float(scale),
    gaze=_gaze(wanted),
    mouth=float(wanted.get("mouth", 1.0)),
    blink=wanted.get("blink", True),
    size=wanted.get("size") or None,
    framing=wanted.get("framing"),
    smooth=wanted.get("smooth", True),
    seed=None if seed is None else int(seed),
  )


def _idle(wanted: Mapping[str, Any]) -> tuple[Any, str | None]:
  """The pose of a head that no video leads, and its mode."""
  idle = wanted.get("head")
  if idle != TURNED:
    return idle, None
  angles = [float(wanted[name]) for name in head.ANGLES]
  return head.curve_of(np.array([[0.0, *angles]])), "relative"


def _gaze(wanted: Mapping[str, Any]) -> str | tuple[float, float] | None:
  """Where eyes look; None: as the video's, or about."""
  gaze = wanted.get("gaze")
  if gaze == AIMED:
    return float(wanted["gaze_yaw"]), float(wanted["gaze_pitch"])
  return None if gaze == head.GAZES[0] else gaze
