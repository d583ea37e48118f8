"""The stages that there are, in the order in which they train.

A stage more is a file beside `speak.py` with `make(config) -> Stage`, a row
here, and a section of the config under its name: steps, batch and microbatch
at least. Everything else (the loop, checkpoints, devices, batches, reports)
goes by this table; tests/stages/test_registry.py adds a stage in this way.
"""

from collections.abc import Callable
from typing import NamedTuple

from ml_collections import ConfigDict

from speak_jax.stages import irfd, motion, speak, syncnet
from speak_jax.stages.base import Sampler, Stage

SPEAKING = "speak"  # whose groups make videos, and which bundles hold


class Row(NamedTuple):
  """What is known of a stage before a config is."""

  make: Callable[[ConfigDict], Stage]
  groups: tuple[str, ...]  # what of its networks is of use once it is trained
  sampler: Callable[[ConfigDict], Sampler]  # what makes its batches


STAGES: dict[str, Row] = {
  "syncnet": Row(syncnet.make, ("sync",), syncnet.sampler),
  "irfd": Row(irfd.make, ("encoders", "decoder"), irfd.sampler),
  "speak": Row(speak.make, ("encoders", "speak"), speak.sampler),
  "motion": Row(motion.make, ("motion",), motion.sampler),
}


def earlier() -> tuple[str, ...]:
  """Names of the stages before the one that speaks."""
  names = tuple(STAGES)
  return names[: names.index(SPEAKING)]
