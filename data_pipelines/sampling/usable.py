"""Which clips a sampler can use."""

from data_pipelines.dataset.reader import Records


def common_fps(records: Records) -> float:
  """The frame rate of all clips.

  Raises:
    ValueError: the clips have several, because a batch cannot hold them;
      says which data set has which.
  """
  rates: dict[float, list[str]] = {}
  for member in records.members:
    for row in records.index[member.start : member.stop]:
      names = rates.setdefault(round(row.fps, 3), [])
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
  lengths = [len(records.heard(i)) for i in range(len(records))]
  usable = [i for i, length in enumerate(lengths) if length >= frames]
  if not usable:
    longest = max(lengths, default=0)
    raise ValueError(
      f"{records.name}: no clip has {frames} frames, the longest has {longest}"
    )
  return usable
