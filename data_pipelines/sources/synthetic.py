"""Synthetic faces as a source: one task for each recipe."""

from collections.abc import Iterable
from functools import partial

from data_pipelines.sources.task import Labels, Licence, Task
from data_pipelines.synthetic import render
from speak_jax import spec

LICENCE = Licence(
  "none", "", "These faces and voices are drawn: they show nobody."
)


def _render(recipe: render.Recipe) -> list[spec.Record]:
  """Renders the clip; a module's function, so that tasks can be pickled."""
  return [render.render_clip(recipe)]


def tasks(recipes: Iterable[render.Recipe]) -> list[Task]:
  """A task for each clip of a data set; see `render.recipes`."""
  return [
    Task(
      clip=recipe.clip,
      identity=f"{recipe.split}_{recipe.identity:05d}",
      split=recipe.split,
      records=partial(_render, recipe),
      labels=Labels(recipe.emotion, recipe.level, "front"),
    )
    for recipe in recipes
  ]
