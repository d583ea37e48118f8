"""Endless samples of one or several data sets, in their shares.

A sampler is an endless `grain.MapDataset`: element k depends on the seed, on
k and on the data alone, whichever process or thread asks for it, so slicing
by process and resuming are exact.

Several data sets take turns in proportion to their clips, or as `share` says:
a share a set's name. A clip that turns out damaged is replaced by another of
its set, the same one whenever and wherever it is met, and counted in
`records.damage`, which raises TooManyDamagedError when there are too many.
"""

import functools
import sys
from collections.abc import Callable, Mapping, Sequence

import grain
import numpy as np

from data_pipelines.dataset.damage import DamagedError
from data_pipelines.dataset.reader import Records

BLOCK = 1_000  # samples within which every data set has exactly its share
ATTEMPTS = 100  # clips in place of a damaged one


def endless(
  records: Records,
  usable: Sequence[int],
  sample: Callable[[int, np.random.Generator], tuple],
  share: Mapping[str, float] | None,
  seed: int,
) -> grain.MapDataset:
  """Endless samples; clips are reshuffled each epoch.

  Args:
    records: The data sets.
    usable: Numbers of the clips that serve.
    sample: Makes the sample of a clip by draws from a generator, which is
      element k's own.
    share: Share of each data set by its name; None: as many as it has clips.
    seed: Seed of all draws.

  Raises:
    ValueError: `share` names a set that cannot serve.
  """
  clips = {
    member.name: [i for i in usable if member.start <= i < member.stop]
    for member in records.members
  }

  def sound_sample(i: int, rng: np.random.Generator) -> tuple:
    own = clips[records.members[records.dataset_of(i)].name]
    for left in range(ATTEMPTS, -1, -1):
      try:
        return sample(i, rng)
      except DamagedError as error:
        records.damage.add(error)
        if not left:
          raise
      # The draws so far depend on what is damaged, not on who asks when.
      i = own[int(rng.integers(len(own)))]
    raise AssertionError  # the last attempt returns or raises

  if not share:
    order = grain.MapDataset.source(list(usable)).seed(seed)
    return order.shuffle().repeat().random_map(sound_sample)
  shares = _shares(clips, share)
  orders = [
    grain.MapDataset.source(clips[name])
    .seed(int(np.random.SeedSequence([seed, n]).generate_state(1)[0]))
    .shuffle()
    .repeat()
    for n, name in enumerate(shares)
  ]
  turns = _Turns(tuple(shares.values()), seed)
  mixed = grain.MapDataset.select_from_datasets(orders, turns)
  return mixed.seed(seed).random_map(sound_sample)


def _shares(
  clips: Mapping[str, Sequence[int]], share: Mapping[str, float]
) -> dict[str, float]:
  """The shares that are not 0, in the order of the data sets.

  Raises:
    ValueError: a name that is unknown, a share that is negative, nothing but
      zeros, or a data set without a usable clip.
  """
  for name, value in share.items():
    if name not in clips:
      raise ValueError(f"mix: {name!r} is not one of {', '.join(clips)}")
    if not (0 <= value < float("inf")):
      raise ValueError(f"mix: {name} has the share {value}")
    if value and not clips[name]:
      raise ValueError(f"mix: {name} has no clip that is long enough")
  shares = {name: share[name] for name in clips if share.get(name)}
  if not shares:
    raise ValueError(f"mix: nothing but zeros in {dict(share)}")
  return shares


class _Turns(grain.transforms.DatasetSelectionMap):
  """Which data set gives element k, and which of its elements.

  In each block every set has its share to the element, in an order that is
  drawn from the seed and the block's number. grain's own `mix` has one order
  for all, and a strict one: of two equal shares and batches of one, process 0
  of 2 would see nothing but the first set.
  """

  def __init__(self, shares: tuple[float, ...], seed: int):
    """Rounds shares to thousandths, none of them to zero."""
    exact = np.array(shares) / sum(shares) * BLOCK
    counts = np.maximum(np.floor(exact).astype(int), 1)
    while (missing := BLOCK - counts.sum()) != 0:
      step = int(np.sign(missing))
      # Towards the exact value, where the distance is the largest.
      distance = np.where(
        (counts > 1) | (step > 0), step * (exact - counts), -np.inf
      )
      counts[int(np.argmax(distance))] += step
    self._counts, self._seed = tuple(counts.tolist()), seed

  def __len__(self) -> int:
    """Endless, as its parents are."""
    return sys.maxsize

  def __getitem__(self, index: int) -> tuple[int, int]:
    """(data set, its element)."""
    number, place = divmod(index, BLOCK)
    chosen, rank = _block(self._counts, self._seed, number)
    home = int(chosen[place])
    return home, number * self._counts[home] + int(rank[place])


@functools.lru_cache(64)
def _block(
  counts: tuple[int, ...], seed: int, number: int
) -> tuple[np.ndarray, np.ndarray]:
  """Of every place in a block: the set, and how many of it came before."""
  rng = np.random.default_rng([seed, number])
  chosen = rng.permutation(np.repeat(np.arange(len(counts)), counts))
  rank = np.empty(len(chosen), int)
  for home, count in enumerate(counts):
    rank[chosen == home] = np.arange(count)
  return chosen, rank
