"""Who looks at frames: FaceMesh, and networks that share nothing with it."""

from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float, UInt8

from data_pipelines.faces.tracker import Tracker
from data_pipelines.faces.upright import FACE, JAW, View, upright_matrix
from data_pipelines.media.warp import warp
from speak_jax.common.batching import in_batches
from speak_jax.evaluation.readers.own_syncnet import OwnSyncNet
from speak_jax.inference import expression
from speak_jax.models import face_identity, face_landmarks, quantized
from speak_jax.models.face_blocks import SIDE

BATCH = 16  # faces at once
EVERY = 10  # frames: identity is looked at in each of these
POINTS = 68


class Seen(NamedTuple):
  """n frames of a method, and what is seen in them; NaN where no face is."""

  frames: UInt8[np.ndarray, "n h w 3"]
  mesh: Float[np.ndarray, "n 468 3"]  # FaceMesh's
  points: Float[np.ndarray, "n 68 2"]  # of the second network of landmarks
  identity: Float[np.ndarray, "k 128"]  # of frames 0, EVERY, 2 EVERY ...

  def still(self, n: int) -> "Seen":
    """Repeats its first frame."""
    identity = -(-n // EVERY)
    repeats = (n, n, n, identity)
    return Seen(
      *(np.repeat(x[:1], k, 0) for x, k in zip(self, repeats, strict=True))
    )


class Judges:
  """FaceMesh, a second network of landmarks, identity, expression, lip sync."""

  def __init__(self, tracker: Tracker, sync: OwnSyncNet | None):
    """Loads the networks that come along.

    Args:
      tracker: Finds faces.
      sync: A SyncNet that other people taught; None: nobody judges lip sync.

    Raises:
      ValueError: a network is missing or damaged.
    """
    self.tracker, self.sync = tracker, sync
    self._landmarks, self._identity = (
      jax.device_put(quantized.load(net.WEIGHTS))
      for net in (face_landmarks, face_identity)
    )
    self._expression: dict[str, Any] = expression.load()

  def see(
    self,
    frames: UInt8[np.ndarray, "n h w 3"],
    mesh: Float[np.ndarray, "n 468 3"] | None = None,
    *,
    identity: bool = True,
  ) -> Seen:
    """Looks at frames.

    Args:
      frames: RGB, consecutive.
      mesh: FaceMesh's points, if they are known.
      identity: Whether to look at identity too, which takes longest.
    """
    mesh = self.tracker.track(frames).mesh if mesh is None else mesh
    some = slice(None, None if identity else 0, EVERY)
    return Seen(
      frames,
      mesh,
      self._points(frames, mesh),
      self.who(frames[some], mesh[some]),
    )

  def who(
    self,
    frames: UInt8[np.ndarray, "n h w 3"],
    mesh: Float[np.ndarray, "n 468 3"],
  ) -> Float[np.ndarray, "n 128"]:
    """Embeds whose face each frame shows; NaN where there is no face."""
    found = np.full((len(frames), face_identity.WIDTH), np.nan)
    known, faces, _ = _cut(frames, mesh, FACE, face_identity.SIDE)
    if len(faces):
      (found[known],) = in_batches(
        lambda x: (face_identity.embedding(self._identity, x),),
        faces,
        size=BATCH,
      )
    return found

  def expressions(
    self,
    frames: UInt8[np.ndarray, "n h w 3"],
    mesh: Float[np.ndarray, "n 468 3"],
  ) -> Float[np.ndarray, "n 7"]:
    """Reads `expression.EXPRESSIONS`; NaN where there is no face."""
    return expression.probabilities(self._expression, frames, mesh)

  def _points(
    self,
    frames: UInt8[np.ndarray, "n h w 3"],
    mesh: Float[np.ndarray, "n 468 3"],
  ) -> Float[np.ndarray, "n 68 2"]:
    """Points of the second network, px of the frames."""
    found = np.full((len(frames), POINTS, 2), np.nan)
    known, faces, places = _cut(frames, mesh, JAW, SIDE)
    if len(faces):
      (inside,) = in_batches(
        lambda x: (face_landmarks.points(self._landmarks, x),),
        faces,
        size=BATCH,
      )
      back = np.linalg.inv(places[:, :, :2])
      shifted = inside - places[:, None, :, 2]
      found[known] = np.einsum("nij,nkj->nki", back, shifted)
    return found


def _cut(
  frames: UInt8[np.ndarray, "n h w 3"],
  mesh: Float[np.ndarray, "n 468 3"],
  view: View,
  size: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Cuts faces: which frames have one, the cuts, and their matrices."""
  known = np.flatnonzero(np.isfinite(mesh).all((1, 2)))
  places = [upright_matrix(mesh[i], view, size) for i in known]
  faces = [warp(frames[i], x, size) for i, x in zip(known, places, strict=True)]
  return known, np.array(faces, np.uint8), np.array(places)
