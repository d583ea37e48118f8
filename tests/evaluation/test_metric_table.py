"""Metrics of clips: merged by clip, compared over the clips they share."""

import numpy as np
import pytest

from speak_jax.evaluation.metric_table import MetricTable
from speak_jax.metrics import sums


def _book(table, name, values):
  for clip, value in values.items():
    table.add(name, sums.mean_row(np.array([value])), clip=clip)


def test_rows_of_one_clip_are_one_clip():
  table = MetricTable()
  for value in (1.0, 3.0):
    table.add("a", sums.mean_row(np.array([value])), clip="x")
  table.add("a", sums.mean_row(np.array([5.0])), clip="y")
  found = table.values(0)["a"]
  assert found.value == 3
  assert found.clips == 2
  assert found.low == 2


def test_unnamed_rows_are_clips_of_their_own():
  table = MetricTable()
  for value in (1.0, 2.0, 3.0):
    table.add("a", sums.mean_row(np.array([value])))
  assert table.values(0)["a"].clips == 3


def test_differences_are_paired():
  table = MetricTable()
  hard = {str(i): float(100 * i) for i in range(6)}
  _book(table, "full", hard)
  _book(table, "less", {k: v - 1 for k, v in hard.items() if k != "5"})
  pairs = {"d": ("less", "full"), "none": ("less", "nobody")}
  found = table.differences(pairs, 0)
  assert set(found) == {"d"}
  assert found["d"].clips == 5
  # Clips differ by hundreds, the two by exactly one on each.
  assert found["d"][:3] == pytest.approx((-1, -1, -1))
