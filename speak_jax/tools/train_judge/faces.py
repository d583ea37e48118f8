"""Rendered faces that the judge learns from, and is scored on."""

import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt8

from data_pipelines.synthetic.render import random_frames
from speak_jax.common.progress import Progress
from speak_jax.models import judge as models

FRAMINGS = ("tight", "medium", "wide")
CHUNK = 192  # frames rendered at a time


class Faces(NamedTuple):
  """Rendered frames and everything that is known of them, NumPy or JAX."""

  frames: UInt8[Any, "n h w 3"]
  landmarks: Float[Any, "n 68 2"]
  pose: Float[Any, "n 3"]
  emotion: Int[Any, "n"]
  level: Int[Any, "n"]
  identity: Int[Any, "n"]
  mouth_open: Float[Any, "n"]


Render = Callable[[int, int, str], Faces]  # seed, frames, framing


def render(seed: int, n: int, framing: str) -> Faces:
  """n frames of random people at the judge's size.

  Args:
    seed: Seed of people, poses and all else.
    n: Frames.
    framing: One of FRAMINGS.
  """
  drawn = random_frames(seed, n, models.SIZE, framing, per_identity=8)
  return Faces(
    frames=drawn.frames,
    landmarks=drawn.landmarks.astype(np.float32),
    pose=drawn.pose.astype(np.float32),
    emotion=drawn.emotion.astype(np.int32),
    level=drawn.level.astype(np.int32),
    identity=drawn.identity.astype(np.int32),
    mouth_open=drawn.mouth_open.astype(np.float32),
  )


def collect(
  renderer: Render, seed: int, seconds: float, limit: int | None = None
) -> Faces:
  """Renders all framings in turn until the time, or `limit` frames, is over.

  Every chunk shows people of its own, numbered from 0 over all chunks.

  Args:
    renderer: Draws a chunk.
    seed: Seed of the first chunk; each other has the next one.
    seconds: Time for rendering.
    limit: Frames at least, after which no chunk is drawn; None: time alone.
  """
  start, parts, people, count = time.monotonic(), [], 0, 0
  with Progress("render", "frame", limit) as progress:
    while time.monotonic() - start < seconds and count < (limit or sys.maxsize):
      part = renderer(seed + len(parts), CHUNK, FRAMINGS[len(parts) % 3])
      names, numbers = np.unique(part.identity, return_inverse=True)
      parts.append(part._replace(identity=(numbers + people).astype(np.int32)))
      people += len(names)
      count += len(part.frames)
      progress.update(count)
  return Faces(*map(np.concatenate, zip(*parts, strict=True)))
