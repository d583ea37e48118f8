"""Synthetic faces as a source: one task for each recipe."""

from functools import partial

from data_pipelines.sources.task import Task
from data_pipelines.synthetic import render
from speak_jax import spec


def _make(recipe: render.Recipe) -> list[spec.Record]:
  """Renders the clip; a module's function, so that tasks can be pickled."""
  return [render.render_clip(recipe)]


def tasks(
  *,
  seed: int,
  identities: int,
  held_out: int,
  clips_per_identity: int,
  emotions: tuple[int, ...] = tuple(range(len(spec.EMOTIONS))),
  levels: tuple[int, ...] = (1, 2, 3),
  seconds: float = 2.0,
  fps: float = spec.FPS,
  size: int = 256,
  framing: str = "medium",
  twins_every: int = 0,
) -> list[Task]:
  """Tasks of a whole data set, train and test; see `render.recipes`."""
  return [
    Task(
      clip=recipe.clip,
      identity=f"{recipe.split}_{recipe.identity:05d}",
      split=recipe.split,
      make=partial(_make, recipe),
    )
    for recipe in render.recipes(
      seed=seed,
      identities=identities,
      held_out=held_out,
      clips_per_identity=clips_per_identity,
      emotions=emotions,
      levels=levels,
      seconds=seconds,
      fps=fps,
      size=size,
      framing=framing,
      twins_every=twins_every,
    )
  ]
