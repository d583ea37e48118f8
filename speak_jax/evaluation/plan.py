"""What `speak_jax.evaluate` is asked to measure, and how."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from speak_jax.evaluation.cache import Cache

SHOWN_CLIPS = 4


class Plan(NamedTuple):
  """How to measure."""

  models: Mapping[str, Path]  # by name: runs, bundles, weights of a method
  clips: int  # held-out clips at most
  seed: int  # of the bootstrap and of the donors
  syncnet: Path | None = None  # official SyncNet v2, which then judges lip sync
  lpips: str = ""  # its public weights; "" leaves the metric out
  inception: str = ""  # the public weights of FID's; "" leaves FID out
  cache: Cache | None = None  # of generated frames
  # Whether to drive every model by other people's inputs, and of a single one
  # to measure how far its codes are disentangled.
  swap: bool = False
  videos: int = SHOWN_CLIPS  # clips of which videos are kept
  # How to use models that are not to be used as their methods mostly are.
  modes: Mapping[str, str] = {}
  side_by_side: bool = False  # whether to write the table of methods
  speed: bool = True  # whether it has the speed of each
