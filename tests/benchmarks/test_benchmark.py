"""The benchmark runs and fills its table; speed is nobody's promise."""

import math
import os

import pytest

from tests.benchmarks import benchmark, layers
from tests.models import tiny


def test_minimal_benchmark_fills_its_table(face_models):
  rows = {row.name: row for row in benchmark.show(benchmark.minimal())}
  for name in (
    "renderer, 16 px",
    "prepare synthetic",
    "prepare folder",
    "syncnet step",
    "generate, frames alone",
    "generate, files to file",
  ):
    assert rows[name].value > 0
  assert not any(math.isnan(row.value) for row in rows.values())


def test_layers_of_all_three_networks_are_timed(monkeypatch):
  monkeypatch.setattr(os, "sched_setaffinity", lambda *_: None)
  rows = layers.show(tiny.config(), batch=1, seconds=0.0)
  for network in ("encoder", "generator", "discriminator"):
    assert any(row.name.startswith(network) for row in rows)
  for row in rows:
    assert row.gflop > 0 and row.rate > 0 and row.to_weights > 0
    assert (row.r1 is not None) == row.name.startswith("discriminator")
  # E_p sees the whole picture, E_e its aligned face; E_i is shaped as E_p.
  stem, face = [row for row in rows if row.name.endswith("_net.stem")]
  assert stem.shape == "3x3 3>8 @16"
  assert face.shape == "3x3 3>8 @12"
  assert stem.gflop == pytest.approx(2 * 8 * 8 * 9 * 3 * 8 / 1e9)
