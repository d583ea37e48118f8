"""SyncNet's samples: windows of lips and sound, several of one clip."""

from collections.abc import Mapping

import grain
import numpy as np

from data_pipelines.dataset.reader import Records
from data_pipelines.sampling.mix import endless
from data_pipelines.sampling.sound import sound_windows
from data_pipelines.sampling.usable import common_fps, long_enough
from speak_jax import spec

WINDOW_GAP = 3  # frames between SyncNet windows, where the clip is long enough


def sample_sync_windows(
  records: Records,
  *,
  frames: int = spec.SYNC_FRAMES,
  windows: int = 8,
  size: int,
  lips: int = 0,
  square: tuple[float, float] = spec.LIPS_SQUARE,
  reach: int = 0,
  share: Mapping[str, float] | None = None,
  seed: int,
) -> grain.MapDataset:
  """Samples for SyncNet: windows of one clip, each with its own sound.

  The windows start at different frames, `WINDOW_GAP` apart where the clip is
  long enough; any two of them are a shifted pair. Clips of fewer than
  `frames + windows - 1` frames are left out.

  Args:
    records: Where the frames come from.
    frames: Frames of a window.
    windows: Windows of a clip.
    size: Side of whole frames in pixels.
    lips: Side of the aligned mouths in pixels, which are grey and show no more
      than frames at `size` do; 0: the frames' lower halves in colour.
    square: What of the face they show, as in `spec.lips_square`; cut out of the
      frames if it is not the one that is stored.
    reach: Frames from the first to the last start at most, where the windows
      have room in that; 0: all over the clip.
    share: As in `sample_pairs`.
    seed: Seed of all draws.

  Returns:
    Dataset of `spec.SyncWindows` without the batch axis.

  Raises:
    ValueError: no clip is long enough, the frame rates differ, or `share`
      names a set that cannot serve.
  """
  fps = common_fps(records)
  need = frames + windows - 1
  usable = long_enough(records, need)

  def sample(i: int, rng: np.random.Generator) -> spec.SyncWindows:
    heard = records.heard(i)
    places, first = len(heard) - frames + 1, heard.start
    span = max(reach + 1, windows)
    if reach and span < places:
      first += int(rng.integers(places - span + 1))
      places = span
    starts = [first + place for place in _spread(places, windows, rng)]
    # Windows overlap: each picture is read once.
    times = sorted({t for s in starts for t in range(s, s + frames)})
    shown = (
      records.lips(i, times, lips, size, square)[..., None]
      if lips
      else records.frames(i, times, size)[:, size // 2 :]
    )
    at = np.searchsorted(times, np.add.outer(starts, range(frames)))
    return spec.SyncWindows(
      mouth=shown[at],
      audio=sound_windows(records.clip(i).audio, starts, frames, fps),
    )

  return endless(records, usable, sample, share, seed)


def _spread(places: int, count: int, rng: np.random.Generator) -> list[int]:
  """`count` sorted places, at least `WINDOW_GAP` apart if they fit."""
  slack = (places - count) // max(count - 1, 1)
  extra = min(WINDOW_GAP - 1, slack)  # on top of the one that distinct means
  free = places - extra * (count - 1)
  chosen = np.sort(rng.choice(free, count, replace=False))
  return (chosen + extra * np.arange(count)).tolist()
