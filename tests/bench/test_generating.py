"""Subjects of what users make: starts, videos, streams."""

import os

import pytest

from speak_jax.bench import start
from tests.bench.tiny import measured


@pytest.mark.parametrize("name", start.KINDS)
def test_every_way_to_start_comes_to_a_frame(face_models, name):
  kept = os.environ["JAX_COMPILATION_CACHE_DIR"]
  marks = start.marks(name, kept)
  assert len(marks) == (len(start.STAGES) if name == start.STAGED else 2)
  clocks = [mark.clock_s for mark in marks]
  assert clocks[0] > 0 and clocks == sorted(clocks)


def test_a_start_that_fails_says_why():
  with pytest.raises(RuntimeError, match="nothing: KeyError: 'nothing'"):
    start.marks("nothing", "gone")


def test_photograph(face_models):
  found = measured("photograph")
  assert found.keys() == {"files to file, 64 px"}
  assert min(found.values()) > 0


def test_reference(face_models):
  found = measured("reference")
  assert len(found) == 3 and min(found.values()) > 0


def test_streaming(face_models):
  found = measured("streaming")
  assert len(found) == 6 and min(found.values()) > 0
  assert found["look-ahead"] == pytest.approx(1.32)


def test_endless(face_models):
  found = measured("endless")
  for what in ("1 s", "2 s"):
    assert found[f"peak memory, {what}"] > 100
    assert abs(found[f"ends beside its sound, {what}"]) <= 1
  assert found["sharpness, 2 s"] == pytest.approx(1, abs=0.3)
  assert found["identity, 2 s"] > 0
