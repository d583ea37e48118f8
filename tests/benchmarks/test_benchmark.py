"""The benchmark runs and fills its table; speed is nobody's promise."""

import math

from tests.benchmarks import benchmark


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
