"""Developers' benchmarks run and fill their tables; nobody promises speed."""

import os
from pathlib import Path

import pytest

from data_pipelines.synthetic import render
from speak_jax.bench import inputs
from tests.benchmarks import layers, media
from tests.models import tiny


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


def test_parts_of_the_preparation_are_timed(face_models, tmp_path):
  (recipe,) = inputs.people(1, 1.0, 256)
  film = inputs.film(Path(tmp_path, "a.mp4"), render.render_clip(recipe))
  rows = {row.name: row.median for row in media.show(film)}
  assert len(rows) == 10 and min(rows.values()) >= 0
  assert rows[media.WHOLE] > 0 and rows["a frame, landmarks"] > 0
