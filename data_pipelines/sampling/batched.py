"""Batches of a sampler, for one process of several."""

from collections.abc import Sequence
from typing import TypeVar

import grain
import numpy as np

Sample = TypeVar("Sample", bound=tuple)


def batched(
  dataset: grain.MapDataset,
  batch_size: int,
  process_index: int = 0,
  process_count: int = 1,
  threads: int = 2,
) -> grain.DatasetIterator:
  """An endless iterator over batches of one process.

  Process p of n gets batches p, p + n, ...: side by side they are, element by
  element, the batch of a single process with n times the size. `get_state`
  and `set_state` give and restore the position exactly, with any number of
  threads.

  Args:
    dataset: From a sampler.
    batch_size: Samples a batch, of this process.
    process_index: p, from 0.
    process_count: n.
    threads: Batches made ahead at the same time; 0 makes them on demand.

  Yields:
    The sampler's NamedTuple with arrays stacked on axis 0.
  """
  options = grain.ReadOptions(
    num_threads=threads, prefetch_buffer_size=2 * threads
  )
  mine = process_batches(dataset, batch_size, process_index, process_count)
  return iter(mine.to_iter_dataset(options))


def process_batches(
  dataset: grain.MapDataset,
  batch_size: int,
  process_index: int,
  process_count: int,
) -> grain.MapDataset:
  """The batches of process p of n, by their number; see `batched`."""
  batches = dataset.batch(batch_size, drop_remainder=True, batch_fn=stack)
  return batches[process_index::process_count]


def stack(samples: Sequence[Sample]) -> Sample:
  """Stacks NamedTuples of arrays field by field, on a new axis 0.

  Always a copy; grain's own makes a batch of one a view of the cache.
  """
  return type(samples[0])(*map(np.stack, zip(*samples, strict=True)))
