"""Several faces of one photograph, each with a sound of its own."""

import wave

import numpy as np
import pytest
import soundfile
from PIL import Image

from data_pipelines.faces.tracker import Tracker
from data_pipelines.media import decoder
from data_pipelines.media.audio import Sound
from data_pipelines.media.error import unsaid
from data_pipelines.media.together import together
from speak_jax.common import packaged
from speak_jax.inference import inputs
from speak_jax.inference.motion_model import MotionModel
from speak_jax.inference.request import Request, RequestError, check
from speak_jax.photograph import composition, head_motion
from speak_jax.photograph.textured_mesh import Motion
from tests import talking

STILL = Motion(np.eye(3), np.zeros(2), 1.0)
RATE = 16_000


@pytest.fixture(scope="module")
def pair(photograph):
  """The same person twice, side by side, and the points of both."""
  frame, mesh = photograph
  beside = mesh + np.array([frame.shape[1], 0, 0])
  return np.concatenate([frame, frame], 1), (mesh, beside)


def of(motion):
  return composition.Move(composition.NO_EXPRESSION, motion, (0.0, 0.0))


def test_each_head_moves_alone(pair):
  frame, meshes = pair
  ones = [composition.portrait(frame, mesh) for mesh in meshes]
  half = frame.shape[1] // 2
  turn = Motion(head_motion.rotation_of(0.2, 0, 0), np.zeros(2), 1.0)
  calm = composition.compose_all(ones, [of(STILL), of(STILL)])
  left, right, both = (
    composition.compose_all(ones, [of(a), of(b)])
    for a, b in ((turn, STILL), (STILL, turn), (turn, turn))
  )
  assert np.abs(calm.astype(int) - frame).max() <= 1
  # The other's face is as it was; of both together each is as of one alone.
  for moved, face in ((left, meshes[1]), (right, meshes[0])):
    low, high = (f(face[:, :2], 0).astype(int) for f in (np.min, np.max))
    there = np.s_[low[1] : high[1], low[0] : high[0]]
    assert np.abs(moved[there].astype(int) - calm[there]).mean() < 0.5
    assert np.abs(both[there].astype(int) - calm[there]).mean() > 2
  for alone, face in ((left, meshes[0]), (right, meshes[1])):
    low, high = (f(face[:, :2], 0).astype(int) for f in (np.min, np.max))
    there = np.s_[low[1] : high[1], low[0] : high[0]]
    assert np.abs(both[there].astype(int) - alone[there]).mean() < 1
  assert half > 0


def sound(rate, layout, *pieces):
  return Sound(rate, layout, [np.float32(piece) for piece in pieces])


def samples(one):
  return np.concatenate(list(one.chunks), 1)


def test_sounds_are_heard_together():
  a = np.linspace(-0.5, 0.5, 25)[None]
  b = np.full((1, 12), 0.25)
  got = together(
    lambda: [sound(10, "mono", a[:, :7], a[:, 7:]), sound(10, "mono", b)]
  )
  wanted = a[0].copy()
  wanted[:12] += 0.25
  assert (got.rate, got.layout) == (10, "mono")
  np.testing.assert_allclose(samples(got)[0], wanted, atol=1e-6)


def test_a_loud_sum_is_softer_and_stereo_stays():
  left = np.stack([np.full(15, 0.9), np.zeros(15)])
  voice = np.full((1, 30), 0.6)
  got = together(lambda: [sound(10, "stereo", left), sound(10, "mono", voice)])
  assert got.layout == "stereo"
  made = samples(got)
  assert made.shape == (2, 30) and np.abs(made).max() == pytest.approx(1)
  np.testing.assert_allclose(made[0, :15] / made[1, :15], 1.5 / 0.6, rtol=1e-5)
  quad = np.stack([np.full(5, x) for x in (0.1, 0.2, 0.3, 0.4)])
  mean = samples(together(lambda: [sound(10, "4.0", quad)]))
  np.testing.assert_allclose(mean, 0.25, rtol=1e-5)


@pytest.fixture(scope="module")
def files(pair, tmp_path_factory):
  folder = tmp_path_factory.mktemp("pair")
  Image.fromarray(pair[0]).save(folder / "pair.png")
  half = pair[0].shape[1] // 2
  Image.fromarray(pair[0][:, :half]).save(folder / "alone.png")
  rng = np.random.default_rng(0)
  for name, rate, seconds in (("a", RATE, 0.4), ("b", 22_050, 0.6)):
    with wave.open(str(folder / f"{name}.wav"), "wb") as out:
      out.setparams((1, 2, rate, 0, "NONE", ""))
      noise = rng.normal(0, 3000, round(seconds * rate))
      out.writeframes(noise.astype("<i2").tobytes())
  return folder


@pytest.mark.filterwarnings("ignore:.*2 faces")
@pytest.mark.filterwarnings("ignore:.*looks|.*its eyes")
def test_two_speak_in_one_picture(files, face_models, tmp_path):
  model = talking.model(
    MotionModel.from_bundle(packaged.PHOTOGRAPH), Tracker(face_models)
  )
  request = Request(
    identity=files / "pair.png",
    audio=files / "a.wav",
    more_audio=(files / "b.wav",),
    size=256,
  )
  result = model.write(request, tmp_path / "a.mp4", say=lambda line: None)
  assert result.frames == 15  # of the longer one
  heard = decoder.read_sound(tmp_path / "a.mp4", 0)
  assert heard.rate == 22_050
  assert sum(x.shape[1] for x in heard.chunks) == round(0.6 * 22_050)
  alone = {"identity": files / "alone.png"}
  with pytest.raises(RequestError, match="2 sounds, and 1 faces"):
    model.take(Request(**(vars(request) | alone)))


def test_a_picture_is_read_once(files, face_models, monkeypatch):
  """And everybody in it is who he is when he is asked for by number."""
  tracker, opened = Tracker(face_models), []
  path = files / "pair.png"
  with unsaid():
    alone = [
      inputs.read_photograph(path, 25.0, tracker, inputs.Rules(identity=number))
      for number in ("1", "2")
    ]
  read = decoder.Frames
  monkeypatch.setattr(
    decoder, "Frames", lambda *a: opened.append(a[0]) or read(*a)
  )
  together = inputs.read_people(path, 25.0, tracker, 2)
  assert opened == [path]
  for one, same in zip(together, alone, strict=True):
    np.testing.assert_array_equal(one.frame, same.frame)
    np.testing.assert_array_equal(one.mesh, same.mesh)
    assert one.faces == 2 and one.alpha is None
  assert len(inputs.read_people(path, 25.0, tracker, 3)) == 1


@pytest.mark.filterwarnings("ignore:.*2 faces")
@pytest.mark.filterwarnings("ignore:.*looks|.*its eyes")
def test_sounds_in_memory_and_in_files_are_the_same(
  files, pair, face_models, tmp_path, monkeypatch
):
  model = talking.model(
    MotionModel.from_bundle(packaged.PHOTOGRAPH), Tracker(face_models)
  )

  def no_other(*args):
    raise AssertionError("a second tracker")

  monkeypatch.setattr(Tracker, "__init__", no_other)
  sounds = [soundfile.read(files / f"{x}.wav", dtype="int16") for x in "ab"]
  there = model.generate(
    files / "pair.png", files / "a.wav", more_audio=[files / "b.wav"], size=128
  )
  here = model.generate(pair[0], sounds[0], more_audio=[sounds[1]], size=128)
  assert len(there) == len(here) == 15
  np.testing.assert_array_equal(here.frames, there.frames)
  np.testing.assert_array_equal(here.audio[0], there.audio[0])
  here.plan(tmp_path / "plan.png")
  with Image.open(tmp_path / "plan.png") as plan:
    assert plan.width >= 1024


@pytest.mark.parametrize(
  ("change", "line"),
  [
    ({"framing": "crop"}, "framing: a crop shows one face"),
    ({"pose": "face.png"}, "pose: one driver for several faces"),
  ],
)
def test_what_is_of_one_face_is_refused(files, change, line):
  made = {"pose": files / "alone.png"} if "pose" in change else change
  fields = {"identity": files / "pair.png", "audio": files / "a.wav"}
  request = Request(**fields, more_audio=(files / "b.wav",), **made)
  with pytest.raises(RequestError, match=line):
    check(request, moves_photographs=True)
  with pytest.raises(RequestError, match="more_audio: this model draws one"):
    check(
      Request(**fields, more_audio=(files / "b.wav",)), moves_photographs=False
    )
