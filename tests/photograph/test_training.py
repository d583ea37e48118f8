"""From no data to a bundle that moves a photograph, as small as it gets."""

import json

import numpy as np
import pytest

from speak_jax import bundle as bundles
from speak_jax.export import export
from speak_jax.inference.motion_model import MotionModel
from speak_jax.training import checkpoints
from speak_jax.training.run import train
from tests.stages import small

SAID = "GRID corpus (Cooke et al. 2006), CC BY 4.0"


@pytest.fixture(scope="module")
def run(face_models, tmp_path_factory):
  """A run of two steps on people that it draws."""
  config = small.config(
    stages=("motion",),
    data__threads=0,
    data__synthetic__identities=1,
    data__synthetic__held_out=1,
    data__synthetic__clips=8,  # one is neutral
    data__synthetic__seconds=0.4,
    data__synthetic__size=96,
    data__synthetic__twins_every=0,
    data__synthetic__workers=0,
    data__synthetic__meshes=True,
    train__first_save=1,
  )
  folder = tmp_path_factory.mktemp("run")
  assert train(config, folder) == 0
  return folder


def test_the_run_leaves_its_files(run):
  assert checkpoints.newest_verified_step(run, "motion") == 2
  rows = (run / "motion" / "metrics.jsonl").read_text().splitlines()
  row = json.loads(rows[-1])
  assert row["step"] == 2
  assert {"fit/lips", "fit/gap_r", "fit/loss"} <= set(row)
  assert all(np.isfinite(value) for value in row.values())
  assert list((run / "motion" / "samples").glob("*.png"))


def test_its_bundle_moves_as_the_run_does(run, tmp_path):
  out = export(run, tmp_path / "bundle", lambda line: None, attribution=SAID)
  content = bundles.read(out)
  assert content.moves_photographs
  assert content.config["steps"] == {"motion": 2}
  card = (out / "README.md").read_text()
  assert SAID in card and "photograph" in card
  sound = np.random.default_rng(0).integers(-9_000, 9_000, 16_000, np.int16)
  ours, theirs = (
    np.stack(list(model.stream(sound, [0.0] * 25, np.zeros(8))))
    for model in (MotionModel.from_run(run), MotionModel.from_bundle(out))
  )
  np.testing.assert_allclose(ours, theirs, atol=1e-6)
