"""Several runs of a figure, and when two sets of them agree."""

import math

import pytest

from speak_jax.bench.figure import (
  Difference,
  Figure,
  differences,
  gathered,
  halves,
  share,
  skipped,
)


def test_a_run_counts_by_its_median():
  first = [Figure("a", "s", (1.0, 9.0, 2.0), "note"), Figure("b", "ms", (4.0,))]
  second = [Figure("a", "s", (3.0,)), skipped("b", "not\n here")]
  a, b = gathered([first, second, []])
  assert a == Figure("a", "s", (2.0, 3.0), "note")
  assert (a.median, a.spread) == (2.5, pytest.approx(0.4))
  assert b == Figure("b", "ms", (4.0,))
  assert b.spread == 0
  (none,) = gathered([[skipped("c", "not\n here")]] * 2)
  assert none.note == "skipped: not here" and math.isnan(none.median)
  assert none.spread == 0


def test_share_of_two_values():
  assert share(95.0, 105.0) == pytest.approx(0.1)
  assert share(-95.0, -105.0) == pytest.approx(0.1)
  assert share(0.0, 0.0) == 0
  assert share(0.0, 1.0) == share(-1.0, 1.0) == 2


def test_what_differs_by_more_than_a_twentieth():
  before = {
    "x": [
      Figure("same", "s", (100.0,)),
      Figure("near", "s", (100.0,)),
      Figure("far", "s", (100.0,)),
      Figure("tiny", "", (1e-8,), least=1e-3),
      Figure("gone", "s", (1.0,)),
      skipped("was not", "no"),
    ]
  }
  after = {
    "x": [
      Figure("same", "s", (100.0,)),
      Figure("near", "s", (104.0,)),
      Figure("far", "s", (80.0, 94.0, 108.0)),
      Figure("tiny", "", (9e-8,), least=1e-3),
      Figure("was not", "s", (1.0,)),
    ],
    "y": [Figure("same", "s", (1.0,))],
  }
  assert differences(before, after) == [
    Difference("x", "far", "s", 100.0, 94.0)
  ]


@pytest.mark.parametrize(
  ("values", "first", "last"),
  [
    ((1.0, 2.0, 3.0, 4.0), (1.0, 2.0), (3.0, 4.0)),
    ((1.0, 2.0, 3.0), (1.0,), (3.0,)),
    ((1.0,), (), ()),
    ((), (), ()),
  ],
)
def test_halves(values, first, last):
  one, other = halves({"x": [Figure("a", "s", values)]})
  assert (one["x"][0].values, other["x"][0].values) == (first, last)
