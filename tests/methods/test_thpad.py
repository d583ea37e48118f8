"""TH-PAD from raw clips to a table's frames, by the commands of SPEAK."""

import json

import numpy as np
import pytest

from configs import thpad as presets
from data_pipelines.dataset import opening
from data_pipelines.dataset.pictures import resize
from speak_jax.methods import base, registry, thpad
from speak_jax.metrics import image
from speak_jax.tools import spaces
from speak_jax.training import run_config
from speak_jax.training.run import train

SHORT = ",".join(
  (
    "demo",
    "thpad_lip.steps=2",
    "thpad_lip.frames=3",
    "thpad_space.steps=2",
    "thpad_space.frames=2",
    "thpad_prior.steps=3",
    "thpad_prior.count=3",
  )
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  folder = tmp_path_factory.mktemp("thpad") / "run"
  assert train(presets.get_config(SHORT), folder) == 0
  return folder


@pytest.fixture(scope="module")
def clip(run):
  records = opening.open_records(str(run / "data"), "test", 0)
  size, count = 64, 18
  frames = np.arange(1, count + 1).tolist()
  return base.Request(
    identity=records.frames(0, [0], size)[0],
    landmarks=records.landmarks(0, 0, size),
    audio=np.asarray(records.clip(0).audio[640 : 640 * (count + 1)]),
    frames=count,
    fps=25.0,
    pose=base.ShownFrames(
      records.frames(0, frames, size),
      records.landmarks(0, slice(1, count + 1), size),
    ),
    emotion=None,
    target=None,
  )


@pytest.fixture(scope="module")
def entries(run):
  """The method in both modes, compiled once."""
  restored = thpad.SAMPLED.restore(run, 18)
  return {
    mode: base.Entry(mode, method, restored)
    for mode, method in thpad.METHODS.items()
  }


def test_it_is_trained_by_the_command_of_all(run):
  for stage, figure in (
    ("thpad_lip", "fit/lip"),
    ("thpad_space", "gen/pixel"),
    ("thpad_prior", "fit/velocity"),
  ):
    rows = (run / stage / "metrics.jsonl").read_text().splitlines()
    assert json.loads(rows[-1])[figure] > 0
  assert run_config.read(run).method == "thpad"


def test_it_goes_on_where_it_stopped(run, capsys):
  assert train(presets.get_config(SHORT), run) == 0
  assert "nothing to do" in capsys.readouterr().err


def test_modes_are_found(run):
  assert registry.find(registry.Place(run)) is thpad.SAMPLED
  assert registry.find(registry.Place(run, "teacher")) is thpad.TEACHER


def test_frames_that_are_drawn(entries, clip):
  entry = entries[""]
  frames = base.run(entry, clip._replace(pose=None), 0)
  assert frames.shape == (18, 64, 64, 3)
  np.testing.assert_array_equal(base.run(entry, clip, 0), frames)
  assert (base.run(entry, clip, 1) != frames).any((1, 2, 3)).all()
  # A window depends on no later one: its frames stay when the clip ends.
  shorter = clip._replace(frames=10)
  np.testing.assert_array_equal(base.run(entry, shorter, 0), frames[:10])


def test_windows_overlap_and_cover_the_sound(entries):
  networks = entries[""].restored.weights
  audio = np.arange(1, 18 * 640 + 1, dtype=np.int16)
  windows = thpad._windows(networks, audio, 18)
  # 10 frames, 5 of them given: two windows have 15, three have 20.
  assert windows.shape == (3, (10 + 2 * 5) * 640)
  around, new = 5 * 640, 5 * 640
  np.testing.assert_array_equal(windows[0, around:], audio[: 15 * 640])
  np.testing.assert_array_equal(windows[1, :-new], windows[0, new:])
  assert not windows[0, :around].any() and not windows[2, -new:].any()
  assert thpad._windows(networks, audio, 3).shape[0] == 1
  assert thpad._windows(networks, audio, 11).shape[0] == 2


def test_frames_of_a_teacher(entries, clip):
  entry = entries["teacher"]
  frames = base.run(entry, clip, 0)
  assert frames.shape == (18, 64, 64, 3)
  with pytest.raises(ValueError, match="TH-PAD, teacher needs pose"):
    base.run(entry, clip._replace(pose=None), 0)
  # Another frame of the teacher's is another frame.
  pose = clip.pose._replace(frames=clip.pose.frames.copy())
  pose.frames[3] = 255 - pose.frames[3]
  away = (base.run(entry, clip._replace(pose=pose), 0) != frames).any((1, 2, 3))
  assert away[3] and away.sum() == 1


def test_a_placed_crop_of_the_truth_is_the_truth(entries, clip):
  """But for the size, which halves and doubles."""
  networks = entries[""].restored.weights._replace(size=128)
  large = clip._replace(
    identity=resize(clip.identity, 256),
    landmarks=(clip.landmarks + 0.5) * 4 - 0.5,
    pose=None,
  )
  inputs = thpad.prepare(networks, large)
  placed = thpad.place(inputs.picture[None], inputs)
  assert image.ssim(placed, large.identity[None])[0] > 0.97


def test_what_the_spaces_hold_is_measured(run, entries):
  records = opening.open_records(str(run / "data"), "test", 0)
  windows = spaces.encode(entries[""].restored.weights, records, 3)
  assert windows.drawn.shape == (2, 3, 10, 8)
  assert windows.codes["l"].shape == (3, 10, 16)
  values = spaces.measure(windows)
  assert all(map(np.isfinite, values.values()))
  # Keys differ, and lips do not know of them.
  assert values["prior/apart"] > 0
  assert "| f_nl |" in spaces.markdown(values)
