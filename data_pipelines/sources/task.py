"""What a source hands to `prepare`: a raw clip, and what makes its records."""

from collections.abc import Callable
from typing import NamedTuple

from speak_jax import spec


class Task(NamedTuple):
  """One raw clip. Picklable, so that any worker process can run it.

  `make` decodes, tracks and crops; it gives one record for each usable track
  and raises `media.error.MediaError` (file and reason) when there is none.
  """

  clip: str  # unique in its data set; names the rejected clip
  identity: str
  split: str  # "train" or "test"; all clips of an identity have the same
  make: Callable[[], list[spec.Record]]
