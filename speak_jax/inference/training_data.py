"""What a bundle keeps of its training data: how faces lie, what neutral is."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, UInt8

from data_pipelines.dataset.reader import Records
from data_pipelines.faces.follow import FaceTracker
from speak_jax import spec
from speak_jax.inference.crops import emotion_pictures
from speak_jax.inference.settings import Framing, Settings

NEUTRAL_CLIPS, NEUTRAL_FRAMES = 64, 4  # that say what neutral is


def framing_of(
  data: Records, tracker: FaceTracker, *, clips: int = 24, frames: int = 8
) -> Framing:
  """Measures how the clips of a data set are cut, in the tracker's landmarks.

  Rendered clips have landmarks of their own, which lie elsewhere, and are cut
  by their renderer; so pictures are looked at as `generate` will look.

  Args:
    data: Clips that the model learned from.
    tracker: The one that `generate` uses.
    clips: Clips to look at, evenly spread.
    frames: Frames of each clip to look at.

  Raises:
    ValueError: No face in any of them.
  """
  whole, single = [], []
  at = np.unique(np.linspace(0, len(data) - 1, clips).astype(int))
  for i in at.tolist():
    row = data.index[i]
    times = np.linspace(0, row.frames - 1, min(frames, row.frames))
    size = max(row.size, 128)
    # Pictures far apart in time: each is searched on its own.
    tracks = [
      tracker.track([frame])
      for frame in data.frames(int(i), times.round().astype(int).tolist(), size)
    ]
    landmarks = np.concatenate([t.landmarks[t.found] for t in tracks])
    if len(landmarks):
      whole.append(_proportions(landmarks, size))
      single += [_proportions(points[None], size) for points in landmarks]
  if not whole:
    raise ValueError("no face found in the training data")
  side, up = np.median(whole, 0)
  still_side, still_up = np.median(single, 0)
  return Framing(float(side), float(up), float(still_side), float(still_up))


def _proportions(
  landmarks: Float[np.ndarray, "n 68 2"], size: int
) -> tuple[float, float]:
  """Returns (side, up) of a whole picture as a crop, see `Framing`."""
  low, high = landmarks.min((0, 1)), landmarks.max((0, 1))
  middle = (low[1] + high[1]) / 2 + 0.5
  return size / float((high - low).max()), float(middle / size - 0.5)


def neutral_of(
  data: Records,
  settings: Settings,
  emotion: Callable[[UInt8[np.ndarray, "k f f 3"]], Float[np.ndarray, "k e"]],
) -> Float[np.ndarray, "e"]:
  """Averages the emotion code of neutral faces over people of a data set.

  Args:
    data: Clips that the model learned from.
    settings: Size and kind of picture that the emotion encoder sees.
    emotion: The emotion encoder with the model's weights.

  Raises:
    ValueError: No clip is labelled neutral.
  """
  calm = spec.EMOTIONS.index("neutral")
  first: dict[str, int] = {}
  for i, row in enumerate(data.index):
    if row.emotion == calm:
      first.setdefault(row.identity, i)
  if not first:
    raise ValueError("no clip is labelled neutral")
  chosen = np.linspace(0, len(first) - 1, min(NEUTRAL_CLIPS, len(first)))
  codes = []
  for i in np.array(list(first.values()))[chosen.round().astype(int)].tolist():
    last = data.index[i].frames - 1
    times = np.linspace(0, last, NEUTRAL_FRAMES).round().astype(int)
    pictures = emotion_pictures(
      data.frames(i, times.tolist(), settings.image),
      data.landmarks(i, times, settings.image),
      settings,
    )
    codes.append(emotion(pictures).mean(0))
  return np.stack(codes).mean(0)
