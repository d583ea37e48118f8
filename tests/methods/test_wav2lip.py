"""Wav2Lip from raw clips to a table's frames, by the commands of SPEAK."""

import json

import jax
import numpy as np
import pytest

from configs import wav2lip as presets
from data_pipelines.dataset import opening
from data_pipelines.dataset.pictures import resize
from speak_jax.methods import base, registry, wav2lip
from speak_jax.metrics import image
from speak_jax.pretrained import goldens
from speak_jax.stages import wav2lip_input
from speak_jax.stages.wav2lip_paint import GATE
from speak_jax.stages.wav2lip_sync import EXPERT
from speak_jax.training import checkpoints, run_config
from speak_jax.training.run import train
from tests.pretrained import reference_wav2lip
from tests.pretrained.torch_files import legacy_bytes, state

SHORT = (
  "demo,wav2lip_sync.steps=2,wav2lip.steps=3,model.width=1,"
  "wav2lip.gate.steps=1,wav2lip.gate.threshold=50,"
  "wav2lip.weights.gan=0.0"  # the critic would double what is compiled
)
FRAMES = 20


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  folder = tmp_path_factory.mktemp("wav2lip") / "run"
  assert train(presets.get_config(SHORT), folder) == 0
  return folder


@pytest.fixture(scope="module")
def clip(run):
  records = opening.open_records(str(run / "data"), "test", 0)
  size, count = 64, FRAMES
  later = slice(1, count + 1)
  return base.Request(
    identity=records.frames(0, [0], size)[0],
    landmarks=records.landmarks(0, 0, size),
    audio=np.asarray(records.clip(0).audio[640 : 640 * (count + 1)]),
    frames=count,
    fps=25.0,
    pose=base.ShownFrames(
      records.frames(0, range(1, count + 1), size),
      records.landmarks(0, later, size),
    ),
    emotion=None,
    target=None,
  )


@pytest.fixture(scope="module")
def public(tmp_path_factory):
  """A generator as torch 1.1 wrote it, and the same without its marks."""
  shapes = reference_wav2lip.generator_shapes(1, 2)
  weights = goldens.fill(shapes, 3)
  path = tmp_path_factory.mktemp("public") / "wav2lip.pth"
  whole = {"state_dict": state(**weights), "global_step": 7}
  path.write_bytes(legacy_bytes(whole))
  return path


def test_it_is_trained_by_the_command_of_all(run):
  for name, figure in (
    ("wav2lip_sync", "fit/cosine"),
    ("wav2lip", "gen/l1"),
    ("wav2lip", "gen/sync"),
  ):
    rows = (run / name / "metrics.jsonl").read_text().splitlines()
    assert json.loads(rows[-1])[figure] > 0
  assert run_config.read(run).method == "wav2lip"
  # The expert is the first stage's still; the gate has opened, and is kept.
  first, _ = checkpoints.restore_params(run, "wav2lip_sync", [EXPERT])
  second, kept = checkpoints.restore_params(run, "wav2lip", [EXPERT, GATE])
  jax.tree.map(np.testing.assert_array_equal, first[EXPERT], second[EXPERT])
  assert kept[GATE]["gate"]["open"] == 1


def test_it_goes_on_where_it_stopped(run, capsys):
  assert train(presets.get_config(SHORT), run) == 0
  assert "nothing to do" in capsys.readouterr().err


@pytest.mark.parametrize("mode", ["", "video"])
def test_frames_of_a_clip(run, clip, mode):
  place = registry.Place(run, mode)
  method = registry.find(place)
  assert method is wav2lip.METHODS[mode]
  restored = method.restore(run, clip.frames)
  assert restored.size == 32 and restored.fps == 25
  entry = base.Entry("wav2lip", method, restored)
  frames = base.run(entry, clip, 0)
  assert frames.shape == (FRAMES, 64, 64, 3)
  # Outside of the boxes it is what it was.
  inputs = method.prepare(restored.weights, clip)
  black = np.zeros((FRAMES, 32, 32, 3), np.uint8)
  painted = method.place(black, inputs) != method.place(~black, inputs)
  assert painted.any(-1).sum() > 500 * FRAMES
  away = np.abs(frames.astype(int) - inputs.onto)
  assert away[~painted].max() <= 1 < away.max()


def test_a_video_shows_no_mouth(run, clip):
  """What a face's lower half is like does not change what is made of it."""
  method = wav2lip.METHODS["video"]
  networks = method.restore(run, 1).weights
  inputs = method.prepare(networks, clip)
  other = inputs.whole.copy()
  for frame, box in zip(other, inputs.boxes, strict=True):
    # A pixel below the middle: cells at its edge read from both sides.
    frame[int((box[1] + box[3]) / 2) + 2 :] = 0
  made, again = (
    method.generate(networks, x, 0)
    for x in (inputs, inputs._replace(whole=other))
  )
  np.testing.assert_array_equal(made, again)


def test_sounds_are_silent_before_and_end_at_the_end():
  audio = np.arange(1, 640 * 10 + 1, dtype=np.int16)
  heard = wav2lip._sounds(audio, 10, -2)
  assert heard.shape == (10, 4000)
  inner = heard[:, 400:-400]
  assert not inner[0, :1280].any() and inner[0, 1280] == 1
  assert inner[4, 0] == 640 * 2 + 1
  # The last two would hear what comes after the sound.
  assert list(inner[-3:, -1]) == [6400, 6400, 6400]
  released = wav2lip._sounds(audio, 10, 0)[:, 400:-400]
  assert list(released[[0, 3], 0]) == [1, 640 * 3 + 1]
  assert (released[5:, -1] == 6400).all()
  assert wav2lip._sounds(audio[:640], 1, -2).shape == (1, 4000)


def test_boxes_are_smoothed():
  boxes = np.arange(8.0)[:, None] * np.ones(4)
  smooth = wav2lip._smoothed(boxes)[:, 0]
  np.testing.assert_allclose(smooth, [2, 3, 4, 5, 5, 5, 5, 5])
  assert wav2lip._smoothed(boxes[:3])[:, 0].tolist() == [1, 1, 1]


def test_a_placed_crop_of_the_truth_is_the_truth(run, clip):
  """True faces as the network takes them, pasted back over another video."""
  method = wav2lip.METHODS["video"]
  size = 192
  networks = method.restore(run, 1).weights._replace(size=size)
  pose = clip.pose
  large = clip._replace(
    identity=resize(clip.identity, 256),
    landmarks=(clip.landmarks + 0.5) * 4 - 0.5,
    frames=4,
    pose=base.ShownFrames(
      np.stack([resize(x, 256) for x in pose.frames[:4]]),
      (pose.landmarks[:4] + 0.5) * 4 - 0.5,
    ),
  )
  inputs = method.prepare(networks, large)
  faces = wav2lip_input.as_rgb(
    jax.jit(lambda f, b: wav2lip_input.cut(f, b, size))(
      inputs.whole, inputs.boxes
    )
  )
  empty = inputs._replace(onto=np.zeros_like(inputs.onto), feather=0.0)
  placed = method.place(np.asarray(faces), empty)
  inside = (placed > 0).any(-1, keepdims=True)
  assert inside.mean() > 0.2
  true = np.where(inside, large.pose.frames, 0)
  assert image.ssim(placed, true).min() > 0.97


def test_public_weights_are_a_method_s(public, clip, tmp_path):
  assert wav2lip.owns(public)
  other = tmp_path / "other.pth"
  other.write_bytes(b"nothing")
  assert not wav2lip.owns(other) and not wav2lip.owns(tmp_path)
  method = registry.find(registry.Place(public))
  restored = method.restore(public, clip.frames)
  assert restored.size == 64 and restored.preset == "released"
  assert restored.weights.first == 0 and restored.weights.feather == 0
  entry = base.Entry("public", method, restored)
  frames = base.run(entry, clip, 0)
  assert frames.shape == (FRAMES, 64, 64, 3)
