"""Faces for the judge's training that are quickly made."""

import numpy as np

from speak_jax.models import judge as models
from speak_jax.tools.train_judge import faces as rendered


def dots(seed, n, framing):
  """Pictures of nothing but landmarks, standing in for the renderer."""
  del framing
  rng = np.random.default_rng(seed)
  face = np.asarray(models._mean_face())[0] * 14 + 32
  points = face + rng.normal(size=(n, 1, 2)) * 3
  frames = np.zeros((n, 64, 64, 3), np.uint8)
  for frame, marks in zip(frames, points, strict=True):
    x, y = marks.round().astype(int).T.clip(0, 63)
    frame[y, x] = 255
  return rendered.Faces(
    frames=frames,
    landmarks=points.astype(np.float32),
    pose=rng.normal(size=(n, 3)).astype(np.float32) * 9,
    emotion=rng.integers(0, 8, n).astype(np.int32),
    level=rng.integers(1, 4, n).astype(np.int32),
    identity=(np.arange(n) // 8).astype(np.int32),
    mouth_open=rng.random(n).astype(np.float32),
  )
