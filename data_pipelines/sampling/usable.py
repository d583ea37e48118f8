"""Which clips a sampler can use."""

import numpy as np

from data_pipelines.dataset.reader import Records


def common_fps(records: Records) -> float:
  """The frame rate of all clips.

  Raises:
    ValueError: the clips have several, because a batch cannot hold them;
      says which data set has which.
  """
  rates: dict[float, list[str]] = {}
  for member in records.members:
    own = records.index.column("fps")[member.start : member.stop]
    for rate in np.unique(own).tolist():
      names = rates.setdefault(round(rate, 3), [])
      if member.name not in names:
        names.append(member.name)
  if len(rates) > 1:
    listed = "; ".join(
      f"{rate} in {', '.join(names)}" for rate, names in sorted(rates.items())
    )
    raise ValueError(
      f"{records.name}: clips of several frames/s cannot share a batch:"
      f" {listed}"
    )
  return next(iter(rates))


def long_enough(records: Records, frames: int) -> list[int]:
  """Clips with at least `frames` frames that have sound.

  Raises:
    ValueError: there is none.
  """
  # As `records.heard` has them, of all clips at once.
  lengths = records.index.column("frames") - np.abs(records.late)
  usable = np.flatnonzero(lengths >= frames).tolist()
  if not usable:
    longest = max(int(lengths.max(initial=0)), 0)
    raise ValueError(
      f"{records.name}: no clip has {frames} frames, the longest has {longest}"
    )
  return usable
