"""EAMM from raw clips to frames, by the commands of SPEAK."""

import json

import jax
import numpy as np
import pytest

from configs import eamm as presets
from data_pipelines.dataset import opening
from speak_jax.methods import base, eamm, registry
from speak_jax.training import run_config, weights
from speak_jax.training.run import train

# As many steps of FOMM as in test_fomm.py, for they are part of its program,
# which is then compiled once for both.
STEPS = {"fomm": 3, "eamm_motion": 1, "eamm_finetune": 1, "eamm_emotion": 1}
SHORT = ",".join(
  ["demo", "model.ears=2", *(f"{k}.steps={v}" for k, v in STEPS.items())]
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  folder = tmp_path_factory.mktemp("eamm") / "run"
  assert train(presets.get_config(SHORT), folder) == 0
  return folder


@pytest.fixture(scope="module")
def clip(run):
  records = opening.open_records(str(run / "data"), "test", 0)
  size, count = 64, 20

  def shown(i):
    return base.ShownFrames(
      records.frames(i, range(1, count + 1), size),
      records.landmarks(i, slice(1, count + 1), size),
    )

  return base.Request(
    identity=records.frames(0, [0], size)[0],
    landmarks=records.landmarks(0, 0, size),
    audio=np.asarray(records.clip(0).audio[640 : 640 * (count + 1)]),
    frames=count,
    fps=25.0,
    pose=shown(0),
    emotion=shown(1),
    target=None,
  )


@pytest.fixture(scope="module")
def entry(run, clip):
  method = registry.find(registry.Place(run))
  assert method is eamm.EAMM
  restored = method.restore(run, clip.frames)
  assert restored.size == 32 and restored.fps == 25
  return base.Entry("eamm", method, restored)


@pytest.fixture(scope="module")
def frames(entry, clip):
  return base.run(entry, clip, 0)


def test_it_is_trained_by_the_command_of_all(run, capsys):
  for stage, figure in (
    ("eamm_motion", "fit/points_of_still"),
    ("eamm_finetune", "fit/pictures"),
    ("eamm_emotion", "fit/points_of_neutral"),
  ):
    rows = (run / stage / "metrics.jsonl").read_text().splitlines()
    assert json.loads(rows[-1])[figure] > 0
  assert run_config.read(run).method == "eamm"
  # How heads are held is of these people, and of both stages.
  _, learned = weights.load(run)
  scales = [
    learned[x]["pose_scale"]["params"] for x in ("eamm_motion", "eamm_finetune")
  ]
  jax.tree.map(np.testing.assert_array_equal, *scales)
  assert (scales[0]["deviation"] > 0).all()
  assert scales[0]["mean"][4:] == pytest.approx([0.5, 0.5], abs=0.2)
  assert train(presets.get_config(SHORT), run) == 0
  assert "nothing to do" in capsys.readouterr().err


def test_frames_are_the_same_in_every_run_and_chunk(entry, clip, frames):
  assert frames.shape == (20, 64, 64, 3)
  np.testing.assert_array_equal(base.run(entry, clip, 1), frames)
  # Chunks do not show: a frame depends on the sound up to its own window.
  shorter = clip._replace(
    frames=18, pose=base.ShownFrames(*(x[:18] for x in clip.pose))
  )
  np.testing.assert_array_equal(base.run(entry, shorter, 0), frames[:18])


def test_every_input_counts(entry, clip):
  """In what is heard and felt; the pictures of one step tell nothing yet."""
  networks, method = entry.restored.weights, entry.method

  def states(request):
    inputs = method.prepare(networks, request)
    source, state = networks.begin(inputs.picture[None])
    chunk = jax.tree.map(lambda x: x[: eamm.CHUNK], inputs.chunk)
    return jax.tree.map(np.asarray, networks.go_on(source, chunk, state)[1])

  plain = states(clip)
  changed = {
    "sound": clip._replace(audio=clip.audio[::-1]),
    "pose": clip._replace(
      pose=clip.pose._replace(landmarks=clip.pose.landmarks * 0.8)
    ),
    "picture": clip._replace(identity=255 - clip.identity),
    "emotion": clip._replace(
      emotion=clip.emotion._replace(frames=255 - clip.emotion.frames)
    ),
  }
  for name, request in changed.items():
    other = states(request)
    heard = (other.heard != plain.heard).any()
    felt = (other.displacement[0].value != plain.displacement[0].value).any()
    assert felt
    assert heard == (name != "emotion")


def test_without_an_emotion_it_is_neutral(run, clip, frames):
  method = registry.find(registry.Place(run, "neutral"))
  assert method is eamm.NEUTRAL
  entry = base.Entry("n", method, method.restore(run, clip.frames))
  neutral = base.run(entry, clip._replace(emotion=None), 0)
  assert neutral.shape == frames.shape
  shown = base.visible_request(method, clip)
  assert shown.emotion is None and shown.pose is not None
  with pytest.raises(ValueError, match="EAMM needs emotion"):
    base.visible_request(eamm.EAMM, clip._replace(emotion=None))


def test_an_emotion_is_held_still_and_runs_back_and_forth(clip):
  track = base.ShownFrames(*(x[:3] for x in clip.emotion))
  size = 32
  matrix = np.array([[0.5, 0, -0.25], [0, 0.5, -0.25]])
  frames, points = eamm._held_still(track, matrix, size, 7)
  assert frames.shape == (7, size, size, 3)
  for i, j in ((0, 4), (1, 3), (1, 5), (2, 6)):
    np.testing.assert_array_equal(frames[i], frames[j])
  wanted = (track.landmarks[0] + 0.5) / 2 - 0.5
  np.testing.assert_allclose(points[0], wanted, atol=1e-4)
  away = np.abs(points[:, eamm.ALIGNED] - wanted[eamm.ALIGNED]).mean()
  was = np.abs(track.landmarks - track.landmarks[0])[:, eamm.ALIGNED].mean()
  assert away <= was
  assert eamm._held_still(None, matrix, size, 7) == (None, None)


def test_keypoints_are_smoothed_as_published(entry, clip):
  model = presets.get_config().model
  assert model.smooth.keypoints == (0.05, 8.0, 10.0)
  assert model.smooth.displacement == (1.0, 0.2, 100.0)
  networks = entry.restored.weights
  inputs = entry.method.prepare(networks, clip)
  source, state = networks.begin(inputs.picture[None])
  chunk = jax.tree.map(lambda x: x[: eamm.CHUNK], inputs.chunk)
  _, state = networks.go_on(source, chunk, state)
  for filters in (state.keypoints, state.displacement, (state.pose,)):
    for x in filters:
      assert (x.value != x.last).any()
      np.testing.assert_allclose(x.value, x.last, atol=5)


def test_factors_must_fit_the_keypoints(run):
  learned = base.trained(run, ("fomm", "eamm_finetune", "eamm_emotion"))
  assert learned is not None
  config = learned[-1].config
  with config.unlocked():
    config.model.displace = (1.0, 2.0)
  with pytest.raises(ValueError, match="2 factors for 3"):
    eamm.compiled(*learned)
