"""A photograph that is moved by another person's head and voice."""

import numpy as np

from speak_jax.evaluation.metric_table import MetricTable
from speak_jax.evaluation.photographs.clips import Clip
from speak_jax.evaluation.photographs.judges import Seen
from speak_jax.evaluation.photographs.landmark_pose import by_mesh, by_points
from speak_jax.evaluation.photographs.self_driven import identity_distance
from speak_jax.metrics import sums


def driver_of(i: int, clips: int) -> int:
  """Whose head moves photograph i: neighbours may be the same person."""
  return (i + clips // 2) % clips


def add(
  table: MetricTable, one: Clip, photograph: Seen, made: Seen, driver: Seen
) -> None:
  """Adds what is measured of a method on a photograph and a driver.

  Args:
    table: Of the method.
    one: The photograph's clip.
    photograph: What is seen in it.
    made: The method's frames.
    driver: As many frames of the driver.
  """
  own, other = one.track.mesh[0], driver.mesh[0]
  for name, ours, theirs in (
    ("pose_r2", by_mesh(made.mesh), by_mesh(driver.mesh)),
    (
      "pose_r2_2",
      by_points(made.points, own),
      by_points(driver.points, other),
    ),
  ):
    known = np.isfinite(theirs).all(1)
    # A face that is lost has not followed.
    followed = np.where(np.isfinite(ours), ours, 0.0)
    row = sums.r2_row(followed[known], theirs[known])
    table.add(name, row, sums.r2, one.name)
  apart = identity_distance(made, photograph)[1:]
  table.add("identity", sums.mean_row(apart), sums.mean, one.name)
