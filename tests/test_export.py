"""From a run on disk to a bundle that makes the run's own frames."""

import json

import jax
import numpy as np
import pytest

from data_pipelines.dataset.reader import in_memory
from data_pipelines.faces.tracker import Track
from speak_jax import bundle, export, spec
from speak_jax.inference.crops import framed
from speak_jax.inference.functions import deserialize
from speak_jax.inference.synthesizer import Synthesizer
from speak_jax.inference.training_data import framing_of
from speak_jax.stages import registry
from speak_jax.training import (
  checkpoint_manager,
  run_config,
  state,
)
from tests.plain_face import mesh_of
from tests.stages import small
from tests.toy_records import record


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  """A run of untrained small networks whose averages differ from them."""
  folder = tmp_path_factory.mktemp("run")
  config = small.config(stages=("speak",), preset="demo", commit="abc1234")
  stage = registry.STAGES["speak"].make(config)
  fresh = state.init_state(stage, 0, {})
  ema = jax.tree.map(lambda x: x * 1.25 + 0.01, fresh.ema)
  saved = checkpoint_manager.CheckpointManager(folder / "speak" / "checkpoints")
  saved.save(fresh._replace(ema=ema, step=fresh.step + 7), {}, {})
  saved.finish()
  (folder / "config.json").write_text(json.dumps({"config": config.to_dict()}))
  return folder, ema


@pytest.fixture(scope="module")
def shipped(run, tmp_path_factory):
  """The run's bundle, and what was said while it was made."""
  said = []
  out = tmp_path_factory.mktemp("out") / "bundle"
  export.export(run[0], out, said.append)
  return out, said


def _inputs(settings, seconds: float = 0.6) -> dict:
  rng = np.random.default_rng(0)
  size = settings.image
  return {
    "portrait_frame": rng.integers(0, 256, (size, size, 3), np.uint8),
    "landmarks": small.face(),
    "pose_frames": rng.integers(0, 256, (7, size, size, 3), np.uint8),
    "emotion_faces": rng.integers(
      0, 256, (3, settings.emotion, settings.emotion, 3), np.uint8
    ),
    "audio": rng.integers(-9000, 9000, round(seconds * 16000), np.int16),
  }


@pytest.fixture(scope="module")
def from_memory(run) -> np.ndarray:
  """What the run itself makes, two windows at a time."""
  memory = Synthesizer.from_run(run[0], windows=2)
  return memory.video(**_inputs(memory.settings))


def test_bundle_makes_the_frames_of_the_run(shipped, from_memory):
  assert from_memory.shape == (15, small.IMAGE, small.IMAGE, 3)
  assert from_memory.std() > 1  # not one colour: equality would mean nothing
  made = Synthesizer.from_bundle(shipped[0], windows=2)
  np.testing.assert_array_equal(
    made.video(**_inputs(made.settings)), from_memory
  )


def test_frames_do_not_depend_on_the_batch(shipped, from_memory):
  made = Synthesizer.from_bundle(shipped[0], windows=3)
  video = made.video(**_inputs(made.settings))
  # float32 sums in another order may round one level up or down.
  assert np.abs(video.astype(int) - from_memory).max() <= 1


def test_averaged_weights_are_shipped_and_nothing_else(run, shipped):
  weights = bundle.read(shipped[0]).weights
  assert {name.split("/")[0] for name in weights} == {"encoders", "speak"}
  kernel = run[1]["speak"]["mouth"]["kernel"]
  np.testing.assert_array_equal(weights["speak/params/mouth/kernel"], kernel)


def test_bundle_says_where_it_comes_from(shipped):
  config = bundle.read(shipped[0]).config
  assert config["commit"] == "abc1234"
  assert config["steps"] == {"speak": 7}
  card = (shipped[0] / "README.md").read_text()
  for word in ("abc1234", "speak 7", "50 synthetic people", "consent"):
    assert word in card
  assert config["dtype"] == "float32" and "| computes in | float32 |" in card


def test_no_place_on_this_machine_is_shipped(run, tmp_path):
  config = run_config.read(run[0]).copy_and_resolve_references()
  config.unlock()
  (tmp_path / "data" / "mine").mkdir(parents=True)
  (tmp_path / "data" / "mine" / "metadata.json").write_text('{"source": "x"}')
  mine = tmp_path / "data" / "mine"
  config.data.path = f"{mine},named={mine}"
  config.init_from = str(run[0])
  config.pretrained.vgg = str(tmp_path / "vgg.pth")
  (tmp_path / "config.json").write_text(
    json.dumps({"config": config.to_dict()})
  )
  (tmp_path / "speak").symlink_to(run[0] / "speak")
  export.export(tmp_path, tmp_path / "out", lambda text: None)
  for file in (tmp_path / "out").rglob("*"):
    assert file.is_dir() or str(tmp_path).encode() not in file.read_bytes()
  found = bundle.read(tmp_path / "out").config
  assert found["data"] == [
    {"name": "mine", "source": "x"},
    {"name": "named", "source": "x"},
  ]
  assert found["config"]["pretrained"]["vgg"] == "vgg.pth"
  assert "Recordings of people" in (tmp_path / "out/README.md").read_text()


def test_earlier_stages_are_those_of_the_run_it_started_from(
  run, tmp_path, monkeypatch
):
  start, mine = tmp_path / "start", tmp_path / "mine"
  for folder, stage in ((start, "irfd"), (start, "syncnet"), (mine, "speak")):
    folder.mkdir(exist_ok=True)
    (folder / stage).symlink_to(run[0] / "speak")
  config = run_config.read(run[0]).copy_and_resolve_references()
  config.unlock()
  config.init_from = str(start)
  text = json.dumps({"config": config.to_dict()})
  (mine / "config.json").write_text(text)
  homes = {}

  speaks = export.of_stage

  def of_stage(home, config, stage, step=None):
    if stage == "speak":
      return speaks(home, config, stage)
    assert step == 7  # the one that was verified
    homes[stage] = home
    return {name: {"params": {"w": np.ones(1)}} for name in ("encoders", "d")}

  monkeypatch.setattr(export, "of_stage", of_stage)
  out = export.export(mine, tmp_path / "out", lambda _: None, evaluation=True)
  assert homes == {"irfd": start, "syncnet": start}
  found = bundle.read(out)
  assert "irfd/d/params/w" in found.evaluation
  assert found.config["steps"] == {"syncnet": 7, "irfd": 7, "speak": 7}


def test_the_card_names_what_a_run_went_on_from(
  run, shipped, tmp_path, monkeypatch
):
  """Its data too, whose licences bind; where it is gone, that it is."""
  artifacts = bundle.read(shipped[0]).artifacts
  monkeypatch.setattr(export.lowering, "serialize", lambda *args: artifacts)
  (tmp_path / "run").mkdir()
  (tmp_path / "run" / "speak").symlink_to(run[0] / "speak")
  for start, words in (
    (shipped[0], ("speak 7; before that speak 7 (`abc1234`)", "Rendered")),
    (tmp_path / "gone", ("before that unknown", "`gone`", "Recordings")),
  ):
    config = run_config.read(run[0]).copy_and_resolve_references()
    config.unlock()
    config.finetune_from = str(start)
    text = json.dumps({"config": config.to_dict()})
    (tmp_path / "run" / "config.json").write_text(text)
    said = []
    out = export.export(tmp_path / "run", tmp_path / "out", said.append)
    card = (out / "README.md").read_text()
    assert all(word in card for word in words)
    assert any("went on from" in x for x in said) == (start != shipped[0])
    assert str(tmp_path) not in (out / "config.json").read_text()


def test_half_precision_makes_nearly_the_same_frames(
  run, tmp_path, from_memory
):
  out = export.export(
    run[0], tmp_path / "half", lambda text: None, half=True, dtype="bfloat16"
  )
  assert bundle.read(out).config["dtype"] == "bfloat16"
  made = Synthesizer.from_bundle(out, windows=2)
  video = made.video(**_inputs(made.settings))
  assert np.abs(video.astype(int) - from_memory).mean() < 1
  size = (out / "model.safetensors").stat().st_size
  weights = bundle.read(out).weights
  assert size < 2.5 * sum(x.size for x in weights.values()) + 20_000


def test_unseen_training_data_are_said(shipped):
  assert any("crops as of recordings are assumed" in x for x in shipped[1])


def test_run_without_a_checkpoint_is_one_line(run, tmp_path):
  with pytest.raises(ValueError, match="not a run") as error:
    export.export(tmp_path, tmp_path / "out")
  assert "\n" not in str(error.value)
  (tmp_path / "config.json").write_text((run[0] / "config.json").read_text())
  with pytest.raises(ValueError, match="no checkpoint"):
    export.export(tmp_path, tmp_path / "out")
  assert not (tmp_path / "out").exists()


class Marks:
  """A tracker that finds the same landmarks in every picture."""

  def __init__(self, landmarks: np.ndarray):
    self.landmarks = landmarks

  def track(self, frames) -> Track:
    n = len(list(frames))
    return Track(
      np.repeat(self.landmarks[None], n, 0).astype(np.float32),
      np.repeat(mesh_of(self.landmarks)[None], n, 0),
      np.zeros((n, 3), np.float32),
      np.ones(n, bool),
      1,
    )

  def stream(self, frames, which="largest"):
    raise NotImplementedError  # export takes whole tracks

  def votes(self, frame, which="largest", thorough=True):
    raise NotImplementedError  # and its pictures are upright

  def boxes(self, frame):
    raise NotImplementedError


def test_generate_crops_as_the_training_data_are_cropped():
  clips = in_memory([record(0)])
  size = max(clips.index[0].size, 128)
  rng = np.random.default_rng(0)
  landmarks = rng.uniform(0.3, 0.8, (68, 2)) * size + np.array([0, 9])
  framing = framing_of(clips, Marks(landmarks))
  # A wider picture round the same face: the crop finds the old borders.
  matrix = framed(landmarks[None] + np.array([0, 40]), size, framing)
  middle = landmarks[:, 0].min() / 2 + landmarks[:, 0].max() / 2
  np.testing.assert_allclose(matrix[0, 0], 1, atol=1e-5)
  np.testing.assert_allclose(matrix[1, 2], -40, atol=1e-3)
  np.testing.assert_allclose(matrix[0, 2], (size - 1) / 2 - middle, atol=1e-3)


def test_a_bundle_is_written_anew(shipped, from_memory, tmp_path):
  out = export.export(shipped[0], tmp_path / "anew")
  before, anew = map(bundle.read, (shipped[0], out))
  assert anew.config == before.config
  assert set(anew.artifacts) == set(before.artifacts)
  jax.tree.map(np.testing.assert_array_equal, anew.weights, before.weights)
  made = Synthesizer.from_bundle(out, windows=2)
  np.testing.assert_array_equal(
    made.video(**_inputs(made.settings)), from_memory
  )


@pytest.mark.parametrize("batch", [1, 3])
def test_windows_may_be_of_any_length(shipped, batch):
  """Nothing but speech looks at other frames, so long windows begin alike."""
  content = bundle.read(shipped[0])
  functions = deserialize(content.artifacts)
  rng, t = np.random.default_rng(0), 50
  size = small.IMAGE
  portrait = functions.portrait(
    content.variables,
    rng.integers(0, 256, (batch, size, size, 3), np.uint8),
    np.stack([small.face()] * batch).astype(np.float32),
  )
  widths = small.config().model.codes
  pose = rng.normal(size=(batch, t, widths.pose)).astype(np.float32)
  emotion = rng.normal(size=(batch, widths.emotion)).astype(np.float32)
  each = content.config["settings"]["frames"]
  sound = (batch, content.config["settings"]["context"] * 2 + each)
  sound = rng.integers(-9000, 9000, (sound[0], sound[1] * 640), np.int16)
  level = np.zeros((batch, spec.LEVEL), np.float32)
  speech = functions.speech(content.variables, sound, level)
  speech = np.tile(np.asarray(speech), (1, t // each, 1))
  whole, first = (
    np.asarray(
      functions.frames(
        content.variables, portrait, pose[:, :n], emotion, speech[:, :n]
      )
    )
    for n in (t, each)
  )
  assert whole.shape == (batch, t, size, size, 3)
  assert whole.std() > 1
  # float32 sums in another order may round one level up or down.
  assert np.abs(whole[:, :each].astype(int) - first).max() <= 1
