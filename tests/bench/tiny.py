"""Each subject as little as there can be of it; no test asserts a time."""

import math

from speak_jax.bench import subjects
from speak_jax.bench.plan import Plan

TINY = Plan(
  starts=("command",),
  sizes=(64,),
  seconds=2.0,
  takes=(1.0, 2.0),
  take_px=64,
  clips=1,
  clip_s=0.2,
  steps=1,
  calls=1,
  windows=1,
  people=2,
  people_s=1.0,
  turns=1,
  samples=2,
  loaded_px=32,
)


def measured(name: str) -> dict[str, float]:
  """Medians by name, in this process."""
  figures = list(subjects.here(name, TINY))
  assert len({one.name for one in figures}) == len(figures)
  for one in figures:
    assert all(math.isfinite(x) for x in one.values), one
  return {one.name: one.median for one in figures}
