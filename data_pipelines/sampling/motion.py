"""The motion stage's samples: how a face moves, and its sound."""

import functools
from collections.abc import Mapping

import grain
import numpy as np
from jaxtyping import Float

from data_pipelines.dataset.reader import Records
from data_pipelines.faces import canonical
from data_pipelines.sampling.mix import endless
from data_pipelines.sampling.sound import sound_window
from data_pipelines.sampling.usable import common_fps, long_enough
from speak_jax import spec

KEPT = 4_096  # resting faces in memory
SIDE = 256  # px; canonical points have no size


def sample_motion(
  records: Records,
  *,
  frames: int,
  context: int,
  label_strength: Mapping[str, float],
  share: Mapping[str, float] | None = None,
  seed: int,
) -> grain.MapDataset:
  """Samples for the motion stage: consecutive frames' shapes, and their sound.

  A person's face at rest is that of a neutral clip, or of one without a label,
  where lips are nearest: the clip itself, if it is such, or else the first of
  the person that is. Left out are clips without meshes, shorter than the
  window, or of somebody who has no such clip.

  Args:
    records: Where the frames come from.
    frames: Length of the window.
    context: Frames of sound added on either side.
    label_strength: By emotion, the strength that its strongest label counts
      as, where 1 is what real people show.
    share: As in `sample_pairs`.
    seed: Seed of all draws.

  Returns:
    Dataset of `spec.Motion` without the batch axis.

  Raises:
    ValueError: no clip serves, the frame rates differ, or `share` names a set
      that cannot serve.
  """
  fps = common_fps(records)
  meshes = records.index.column("meshes")
  emotions = records.index.column("emotion")
  resting: dict[tuple[int, str], int] = {}
  for i in np.flatnonzero((meshes > 0) & (emotions <= 0)).tolist():
    person = records.dataset_of(i), records.index[i].identity
    resting.setdefault(person, i)

  def home(i: int) -> int | None:
    """The clip that shows the person of clip i at rest."""
    if emotions[i] <= 0:
      return i
    return resting.get((records.dataset_of(i), records.index[i].identity))

  usable = [
    i for i in long_enough(records, frames) if meshes[i] and home(i) is not None
  ]
  if not usable:
    raise ValueError(
      f"{records.name}: no clip of {frames} frames or more has meshes and a"
      " face at rest; prepare it anew"
    )

  @functools.lru_cache(KEPT)
  def rest_of(i: int) -> Float[np.ndarray, "468 3"]:
    return canonical.at_rest(
      canonical.placed(records.mesh(i, slice(None), SIDE)).points
    )

  def sample(i: int, rng: np.random.Generator) -> spec.Motion:
    heard = records.heard(i)
    start = heard.start + int(rng.integers(len(heard) - frames + 1))
    at_rest = home(i)
    assert at_rest is not None  # of all that are usable
    rest = rest_of(at_rest)
    mesh = records.mesh(i, slice(start, start + frames), SIDE)
    points = canonical.placed(mesh).points
    row = records.index[i]
    emotion = np.zeros(len(spec.EMOTIONS), np.float32)
    if row.emotion > 0:
      full = label_strength[spec.EMOTIONS[row.emotion]]
      emotion[row.emotion] = full * (row.level or spec.LEVELS) / spec.LEVELS
    return spec.Motion(
      expression=(points - rest).astype(np.float32),
      lids=canonical.lids_closed(points, rest).astype(np.float32),
      emotion=emotion,
      audio=sound_window(
        records.clip(i).audio, start - context, frames + 2 * context, fps
      ),
    )

  return endless(records, usable, sample, share, seed)
