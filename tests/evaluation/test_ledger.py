"""Figures of clips: merged by clip, compared over the clips they share."""

import numpy as np
import pytest

from speak_jax.evaluation.ledger import Ledger
from speak_jax.metrics import sums


def _book(ledger, name, values):
  for clip, value in values.items():
    ledger.add(name, sums.mean_row(np.array([value])), clip=clip)


def test_rows_of_one_clip_are_one_clip():
  ledger = Ledger()
  for value in (1.0, 3.0):
    ledger.add("a", sums.mean_row(np.array([value])), clip="x")
  ledger.add("a", sums.mean_row(np.array([5.0])), clip="y")
  found = ledger.figures(0)["a"]
  assert found.value == 3
  assert found.clips == 2
  assert found.low == 2


def test_unnamed_rows_are_clips_of_their_own():
  ledger = Ledger()
  for value in (1.0, 2.0, 3.0):
    ledger.add("a", sums.mean_row(np.array([value])))
  assert ledger.figures(0)["a"].clips == 3


def test_differences_are_paired():
  ledger = Ledger()
  hard = {str(i): float(100 * i) for i in range(6)}
  _book(ledger, "full", hard)
  _book(ledger, "less", {k: v - 1 for k, v in hard.items() if k != "5"})
  pairs = {"d": ("less", "full"), "none": ("less", "nobody")}
  found = ledger.differences(pairs, 0)
  assert set(found) == {"d"}
  assert found["d"].clips == 5
  # Clips differ by hundreds, the two by exactly one on each.
  assert found["d"][:3] == pytest.approx((-1, -1, -1))
