"""Synthetic faces as a source: one task for each recipe."""

import functools
from collections.abc import Iterable
from functools import partial

import numpy as np
from jaxtyping import Int16, UInt8

from data_pipelines.faces.follow import check_share, follow, gaps
from data_pipelines.faces.tracker import Tracker, bridge
from data_pipelines.media.error import warn
from data_pipelines.sources.task import Labels, Licence, Task
from data_pipelines.synthetic import render
from speak_jax import spec

LICENCE = Licence(
  "none", "", "These faces and voices are drawn: they show nobody."
)


def _render(recipe: render.Recipe, meshes: bool) -> list[spec.Record]:
  """Renders the clip; a module's function, so that tasks can be pickled."""
  mesh_of = partial(read_mesh, recipe) if meshes else None
  return [render.render_clip(recipe, mesh_of)]


def read_mesh(
  recipe: render.Recipe, frames: UInt8[np.ndarray, "n s s 3"]
) -> Int16[np.ndarray, "n 468 3"]:
  """FaceMesh's points of a drawn clip's frames, as records hold them.

  Frames in which it sees no face are interpolated, with a warning.

  Raises:
    MediaError: it sees one in less than half of them.
    MissingModelError: says how to fetch the networks.
  """
  seen = follow(
    recipe.clip, frames, recipe.fps, tracker=_tracker(), rule="largest"
  )
  check_share(recipe.clip, seen.found)
  if not seen.found.all():
    missing = gaps(seen.found, recipe.fps)
    warn(recipe.clip, f"no face from {missing}, interpolated")
  return spec.stored_mesh(bridge(seen).mesh, recipe.size)


@functools.cache
def _tracker() -> Tracker:
  """One tracker a process: its networks take a while to load."""
  return Tracker()


def tasks(
  recipes: Iterable[render.Recipe], *, meshes: bool = False
) -> list[Task]:
  """A task for each clip of a data set.

  Args:
    recipes: Of the clips; see `render.recipes`.
    meshes: Whether FaceMesh reads `spec.Record.mesh` off the frames.
  """
  return [
    Task(
      clip=recipe.clip,
      identity=f"{recipe.split}_{recipe.identity:05d}",
      split=recipe.split,
      records=partial(_render, recipe, meshes),
      labels=Labels(recipe.emotion, recipe.level, "front"),
    )
    for recipe in recipes
  ]
