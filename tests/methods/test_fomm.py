"""FOMM alone, of an EAMM run: from raw clips to a table's frames."""

import json

import cv2
import numpy as np
import pytest

from configs import eamm as presets
from data_pipelines.dataset import opening
from speak_jax.evaluation import protocol
from speak_jax.methods import base, fomm, registry
from speak_jax.metrics import image
from speak_jax.training import run_config
from speak_jax.training.run import train

SHORT = "demo,stages=('fomm',),fomm.steps=3"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  folder = tmp_path_factory.mktemp("fomm") / "run"
  assert train(presets.get_config(SHORT), folder) == 0
  return folder


@pytest.fixture(scope="module")
def clip(run):
  records = opening.open_records(str(run / "data"), "test", 0)
  size, count = 64, 20
  times = range(1, count + 1)
  return base.Request(
    identity=records.frames(0, [0], size)[0],
    landmarks=records.landmarks(0, 0, size),
    audio=np.asarray(records.clip(0).audio[640 : 640 * (count + 1)]),
    frames=count,
    fps=25.0,
    pose=base.ShownFrames(
      records.frames(0, times, size),
      records.landmarks(0, slice(1, count + 1), size),
    ),
    emotion=None,
    target=None,
  )


@pytest.fixture(scope="module")
def restored(run):
  return fomm.FOMM.restore(run, 20)


def test_it_is_trained_by_the_command_of_all(run, capsys):
  rows = (run / "fomm" / "metrics.jsonl").read_text().splitlines()
  assert json.loads(rows[-1])["fit/points"] > 0
  assert run_config.read(run).method == "eamm"
  assert train(presets.get_config(SHORT), run) == 0
  assert "nothing to do" in capsys.readouterr().err


def test_frames_of_a_clip(run, clip, restored):
  method = registry.find(registry.Place(run, "fomm"))
  assert method is fomm.FOMM
  assert restored.size == 32 and restored.fps == 25
  entry = base.Entry("fomm", method, restored)
  frames = base.run(entry, clip, 0)
  assert frames.shape == (20, 64, 64, 3)
  # Chunks do not show, and a frame depends on its own driving frame alone.
  pose = clip.pose._replace(
    frames=clip.pose.frames[:18], landmarks=clip.pose.landmarks[:18]
  )
  shorter = clip._replace(frames=18, pose=pose)
  np.testing.assert_array_equal(base.run(entry, shorter, 0), frames[:18])
  with pytest.raises(ValueError, match="FOMM needs pose"):
    base.run(entry, clip._replace(pose=None), 0)


def test_relative_is_absolute_where_the_driver_begins_as_the_picture(
  clip, restored
):
  networks = restored.weights
  pose = clip.pose.frames.copy()
  pose[0] = clip.identity
  same = clip._replace(pose=clip.pose._replace(frames=pose))
  inputs = fomm.prepare(networks, same)
  source, driving = fomm.found(networks, inputs)
  moved = fomm.relative(source, driving)
  np.testing.assert_allclose(moved.points, driving.points, atol=1e-5)
  np.testing.assert_allclose(moved.jacobians, driving.jacobians, atol=1e-4)
  absolute, relative = (
    method.generate(networks, inputs, 0)
    for method in (fomm.FOMM, fomm.RELATIVE)
  )
  assert np.abs(absolute.astype(int) - relative).max() <= 1


def test_a_larger_face_moves_further():
  corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], np.float32) / 4
  upright = np.broadcast_to(np.eye(2, dtype=np.float32), (1, 4, 2, 2))
  source = fomm.Track(2 * corners[None], 3 * upright)
  driving = fomm.Track(
    np.stack([corners, corners + np.float32([0.1, 0])]),
    np.concatenate([2 * upright, upright]),
  )
  moved = fomm.relative(source, driving)
  np.testing.assert_allclose(moved.points[0], source.points[0], atol=1e-6)
  np.testing.assert_allclose(
    moved.points[1] - source.points[0], [[0.2, 0]] * 4, atol=1e-6
  )
  turned = [*(3 * upright), *(1.5 * upright)]
  np.testing.assert_allclose(moved.jacobians, turned)


def test_a_placed_crop_of_the_truth_is_the_truth(clip, restored):
  """But for the size, which halves and doubles."""
  networks = restored.weights._replace(size=128)

  def enlarged(frame):
    return cv2.resize(frame, (256, 256), interpolation=cv2.INTER_CUBIC)

  frames = np.stack([enlarged(x) for x in clip.pose.frames[:2]])
  large = clip._replace(
    identity=enlarged(clip.identity),
    pose=clip.pose._replace(frames=frames),
    frames=2,
  )
  inputs = fomm.prepare(networks, large)
  assert inputs.driving.shape == (2, 128, 128, 3)
  placed = fomm.place(inputs.driving, inputs)
  assert image.ssim(placed, frames).min() > 0.97


def test_it_stands_in_the_table_of_methods(run, tmp_path):
  plan = protocol.Plan(
    models={"driven": run, "relative": run},
    modes={"driven": "fomm", "relative": "fomm_relative"},
    clips=2,
    seed=0,
    side_by_side=True,
    speed=False,
    swap=False,
  )
  protocol.evaluate(plan, str(run / "data"), tmp_path)
  listed = json.loads((tmp_path / "methods.json").read_text())["rows"]
  rows = {row["method"]: row for row in listed}
  assert list(rows)[:2] == ["driven", "relative"]
  for name in ("driven", "relative"):
    assert rows[name]["needs"] == "identity, audio, pose"
    assert rows[name]["sees"] == fomm.FOMM.sees
    assert rows[name]["ignores"] == "emotion"
    assert 0 < rows[name]["ssim"] < 1
