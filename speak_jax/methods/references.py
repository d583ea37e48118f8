"""Rows without which a figure says nothing: made of the true clip itself."""

from collections.abc import Callable

import numpy as np

from speak_jax.methods import h264
from speak_jax.methods.base import (
  Entry,
  Method,
  Request,
  Restored,
  ShownFrames,
)
from speak_jax.metrics import mouth

LATE_S = 0.4
CRF = 23
_WEIGHTLESS = Restored(weights=None, digest="", size=0, fps=0.0)


def _target(request: Request) -> ShownFrames:
  assert request.target is not None  # `visible_request` has seen to it
  return request.target


def _static(request: Request) -> np.ndarray:
  return np.repeat(request.identity[None], request.frames, 0)


def _true(request: Request) -> np.ndarray:
  return _target(request).frames


def _encoded(request: Request) -> np.ndarray:
  return h264.round_trip(_target(request).frames, request.fps, CRF)


def _late(request: Request) -> np.ndarray:
  # Before the lag is over there is nothing to show: these frames only fill
  # the clip, for a frame that is repeated would be scored as a still one.
  lag = round(LATE_S * request.fps)
  return _target(request).frames[(np.arange(request.frames) - lag).clip(0)]


def _mouth_only(request: Request) -> np.ndarray:
  frames, landmarks = _target(request)
  box = mouth.mouth_box(landmarks, frames.shape[1])
  return np.where(box[..., None], frames, request.identity)


def _reference(
  name: str,
  title: str,
  sees: str,
  make: Callable[[Request], np.ndarray],
  lag_s: float = 0.0,
) -> Entry:
  """A row without weights, which no folder belongs to."""
  method = Method(
    name=title,
    needs=frozenset() if make is _static else frozenset({"target"}),
    sees=sees,
    samples=False,
    restore=lambda path, frames: _WEIGHTLESS,
    prepare=lambda weights, request: request,
    generate=lambda weights, request, key: make(request),
    place=lambda frames, request: frames,
    lag_s=lag_s,
  )
  return Entry(name, method, _WEIGHTLESS)


STATIC = _reference("static", "static first frame", "first frame", _static)
TRUE = _reference("true", "ground truth", "everything", _true)
REFERENCES = (
  STATIC,
  TRUE,
  _reference(
    "h264", f"ground truth through H.264 crf {CRF}", "everything", _encoded
  ),
  _reference(
    "late", f"ground truth {LATE_S:g} s late", "everything", _late, LATE_S
  ),
  _reference(
    "mouth_only",
    "static, true mouth box",
    "first frame, mouth box of every frame",
    _mouth_only,
  ),
)
