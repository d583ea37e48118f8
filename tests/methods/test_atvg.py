"""ATVG from raw clips to a table's frames, by the commands of SPEAK."""

import json

import jax
import numpy as np
import pytest

from configs import atvg as presets
from data_pipelines.dataset import opening
from speak_jax.methods import atvg, base, registry
from speak_jax.metrics import image
from speak_jax.models.landmark_basis import LandmarkBasis
from speak_jax.training import run_config, weights
from speak_jax.training.run import train

SHORT = "demo,atvg_landmarks.steps=3,atvg_video.steps=2,model.width=2"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  folder = tmp_path_factory.mktemp("atvg") / "run"
  assert train(presets.get_config(SHORT), folder) == 0
  return folder


@pytest.fixture(scope="module")
def clip(run):
  records = opening.open_records(str(run / "data"), "test", 0)
  size, count = 64, 20
  return base.Request(
    identity=records.frames(0, [0], size)[0],
    landmarks=records.landmarks(0, 0, size),
    audio=np.asarray(records.clip(0).audio[640 : 640 * (count + 1)]),
    frames=count,
    fps=25.0,
    pose=None,
    emotion=None,
    target=None,
  )


def test_it_is_trained_by_the_command_of_all(run):
  for stage, figure in (
    ("atvg_landmarks", "fit/coefficients_of_mean"),
    ("atvg_video", "gen/pixel"),
    ("atvg_video", "disc/gan"),
  ):
    rows = (run / stage / "metrics.jsonl").read_text().splitlines()
    assert json.loads(rows[-1])[figure] > 0
  assert run_config.read(run).method == "atvg"
  # The basis is of these people, and of both stages.
  _, learned = weights.load(run)
  bases = [
    LandmarkBasis(**learned[x]["basis"]["params"])
    for x in ("atvg_landmarks", "atvg_video")
  ]
  jax.tree.map(np.testing.assert_array_equal, *bases)
  assert (bases[0].shape ** 2).sum() == pytest.approx(1, abs=1e-5)
  assert bases[0].directions.any()


def test_it_goes_on_where_it_stopped(run, capsys):
  assert train(presets.get_config(SHORT), run) == 0
  assert "nothing to do" in capsys.readouterr().err


def test_frames_of_a_clip(run, clip):
  method = registry.find(registry.Place(run))
  assert method is atvg.ATVG
  restored = method.restore(run, clip.frames)
  assert restored.size == 32 and restored.fps == 25
  entry = base.Entry("atvg", method, restored)
  frames = base.run(entry, clip, 0)
  assert frames.shape == (20, 64, 64, 3)
  # Chunks do not show: a frame depends on the sound up to its own window.
  shorter = clip._replace(frames=18)
  np.testing.assert_array_equal(base.run(entry, shorter, 0), frames[:18])
  # Outside of the crop it is the identity picture.
  inputs = method.prepare(restored.weights, clip)
  away = np.abs(frames.astype(int) - clip.identity).max((0, 3))
  black = np.zeros((1, 32, 32, 3), np.uint8)
  painted = (method.place(black, inputs)[0] != clip.identity).any(-1)
  assert painted.sum() > 500 and not away[~painted].any()


def test_a_placed_crop_of_the_truth_is_the_truth(run, clip):
  """But for the size, which halves and doubles."""
  method = atvg.ATVG
  networks = method.restore(run, 1).weights._replace(size=256)
  large = clip._replace(
    identity=clip.identity.repeat(4, 0).repeat(4, 1),
    landmarks=(clip.landmarks + 0.5) * 4 - 0.5,
    frames=1,
  )
  inputs = method.prepare(networks, large)
  placed = method.place(inputs.picture[None], inputs)
  assert image.ssim(placed, large.identity[None])[0] > 0.97


def test_factors_must_fit_the_directions(run):
  heard, seen = base.trained(run, ("atvg_landmarks", "atvg_video"))
  with seen.config.unlocked():
    seen.config.model.exaggerate = (1.0, 2.0)
  with pytest.raises(ValueError, match="2 factors for 6 directions"):
    atvg._compiled(heard, seen)
