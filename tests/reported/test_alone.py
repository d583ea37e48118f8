"""A picture and speech are enough; and each file has its rule for faces."""

import functools
from pathlib import Path

import cv2
import numpy as np
import pytest
import soundfile

from data_pipelines.dataset.pictures import decode_frame
from data_pipelines.dataset.reader import in_memory
from data_pipelines.faces import align
from data_pipelines.faces.tracker import Step, Track, Tracker, gather
from data_pipelines.media import decoder, mp4, video
from data_pipelines.synthetic import demo_inputs
from speak_jax import bundle, spec
from speak_jax.inference.inputs import Rules
from speak_jax.inference.synthesizer import Synthesizer
from speak_jax.inference.training_data import neutral_of
from tests import glass, talking
from tests.plain_face import mesh_of
from tests.reported.voices import RATE, voice


def drawn(person: int, emotion: str, level: int = 3) -> spec.Record:
  """A clip of a drawn person that no training has seen."""
  return demo_inputs.clip(0, person, emotion, level, seconds=1.0)


@pytest.fixture(scope="module")
def happy(tmp_path_factory) -> Path:
  """A picture of somebody who smiles with closed lips, nearly."""
  record = drawn(3, "happy")
  opening = [spec.mouth_opening(x) for x in record.landmarks]
  path = tmp_path_factory.mktemp("happy") / "face.jpg"
  path.write_bytes(record.frames[int(np.argmin(opening))])
  return path


@pytest.fixture(scope="module")
def speech(tmp_path_factory) -> Path:
  path = tmp_path_factory.mktemp("speech") / "a.wav"
  soundfile.write(path, voice(), RATE)
  return path


@pytest.fixture(scope="module")
def reference() -> Synthesizer:
  return Synthesizer.from_bundle(bundle.REFERENCE)


@pytest.fixture(scope="module")
def tracker(face_models) -> Tracker:
  return Tracker(face_models)


def faces(track: Track, frames, side: int) -> np.ndarray:
  pairs = zip(frames, track.landmarks, strict=True)
  return np.stack([align.align_face(frame, p, side) for frame, p in pairs])


@pytest.mark.filterwarnings("ignore::data_pipelines.media.error.MediaWarning")
def test_a_smile_becomes_neutral_and_the_head_is_still(
  reference, tracker, happy, speech, tmp_path
):
  said = []
  made = talking.generate(
    reference,
    identity=happy,
    audio=speech,
    output=tmp_path / "out.mp4",
    sheet=tmp_path / "sheet.png",
    tracker=tracker,
    size=256,
    say=said.append,
  )
  assert "emotion   neutral" in said and made.frames == 40
  frames = list(video.read_frames(tmp_path / "out.mp4"))
  track = tracker.track(frames)
  assert track.found.all()
  nose = track.landmarks[:, spec.NOSE].mean(1)
  assert np.abs(nose - nose.mean(0)).max() < 3  # px of 256
  before = tracker.track([decoder.read_image(happy)])
  assert np.abs(track.pose.mean(0) - before.pose[0]).max() < 8  # degrees
  opening = np.array([spec.mouth_opening(x) for x in track.landmarks])
  assert opening.std() > 0.01  # it speaks
  side = reference.settings.emotion
  code = reference.emotion(faces(track, frames, side)).mean(0)
  own = reference.emotion(faces(before, [decoder.read_image(happy)], side))[0]
  near = np.linalg.norm(code - reference.neutral)
  print(f"to neutral {near:.2f}, to the smile {np.linalg.norm(code - own):.2f}")
  assert near < 0.8 * np.linalg.norm(code - own)


def test_a_model_without_neutral_keeps_the_pictures_own(
  happy, speech, tmp_path
):
  made = Synthesizer(glass.functions(), glass.VARIABLES, glass.SETTINGS)
  asked, said = [], []
  emotion = made.emotion

  def watched(pictures):
    asked.append(pictures.shape)
    return emotion(pictures)

  made.emotion = watched
  make = functools.partial(
    talking.generate,
    made,
    identity=happy,
    audio=speech,
    output=tmp_path / "out.mp4",
    tracker=Middle(),
    size=16,
    say=said.append,
  )
  make()
  side = glass.SETTINGS.emotion
  assert asked == [(1, side, side, 3)]
  assert any("the identity's own" in line for line in said)
  made.neutral = np.zeros(3, np.float32)
  asked.clear()
  make()
  assert not asked and said[-2] == "emotion   neutral"


def test_neutral_is_the_mean_of_people_that_are():
  records = [
    *(drawn(i, "neutral", 1)._replace(identity=f"p{i}") for i in range(2)),
    drawn(2, "happy"),
  ]
  settings = glass.SETTINGS._replace(image=64, emotion=32)
  seen = []

  def emotion(pictures):
    seen.append(pictures)
    return np.full((len(pictures), 2), len(seen), np.float32)

  code = neutral_of(in_memory(records), settings, emotion)
  np.testing.assert_array_equal(code, [1.5, 1.5])
  assert [x.shape for x in seen] == [(4, 32, 32, 3)] * 2
  with pytest.raises(ValueError, match="no clip is labelled neutral"):
    neutral_of(in_memory(records[2:]), settings, emotion)


def test_the_reference_knows_neutral(reference):
  pictures = [
    align.align_face(decode_frame(x.frames[0]), x.landmarks[0], 48)
    for x in (drawn(4, "neutral", 1), drawn(4, "angry"))
  ]
  calm, angry = reference.emotion(np.stack(pictures))
  distance = np.linalg.norm([calm, angry] - reference.neutral, axis=1)
  assert distance[0] < 0.5 * distance[1]


@pytest.fixture(scope="module")
def pair(tmp_path_factory) -> Path:
  """Two people side by side, 256 px each."""
  both = [decode_frame(drawn(i, "neutral", 1).frames[0]) for i in (5, 6)]
  path = tmp_path_factory.mktemp("pair") / "two.png"
  cv2.imwrite(str(path), np.concatenate(both, 1)[..., ::-1])
  return path


@pytest.mark.filterwarnings("ignore::data_pipelines.media.error.MediaWarning")
@pytest.mark.parametrize("side", [0, 1])
def test_the_identitys_box_is_asked_of_no_other_file(
  reference, tracker, pair, speech, tmp_path, side
):
  """The pose's and the emotion's own people are elsewhere."""
  record = drawn(7, "neutral", 1)
  clip = [decode_frame(x) for x in record.frames]
  mp4.write_video(tmp_path / "pose.mp4", clip)
  box = (256.0 * side + 60, 60.0, 140.0, 140.0)
  talking.generate(
    reference,
    identity=pair,
    audio=speech,
    pose=tmp_path / "pose.mp4",
    emotion=tmp_path / "pose.mp4",
    output=tmp_path / "out.mp4",
    tracker=tracker,
    rules=Rules(box),
    say=lambda line: None,
  )
  (frame,) = list(video.read_frames(tmp_path / "out.mp4"))[:1]
  people = np.split(decoder.read_image(pair), 2, 1)
  colours = [np.median(x[100:140, 100:156], (0, 1)) for x in people]
  made = np.median(frame[25:35, 25:39], (0, 1))
  distances = [np.abs(made - colour).sum() for colour in colours]
  assert int(np.argmin(distances)) == side, (made, colours)


@pytest.mark.filterwarnings("ignore::data_pipelines.media.error.MediaWarning")
def test_the_reported_pair(reference, tracker, reported, tmp_path):
  """two_people_drawn.png: a box that neither pose nor emotion has a face in."""
  made = talking.generate(
    reference,
    identity=reported / "two_people_drawn.png",
    audio=reported / "voice_normal.wav",
    pose=reported / "ok_pose.mp4",
    emotion=reported / "ok_emotion.mp4",
    output=tmp_path / "out.mp4",
    tracker=tracker,
    rules=Rules((440.0, 110.0, 110.0, 130.0)),
    say=lambda line: None,
  )
  assert made.frames == 40


class Middle:
  """A tracker that sees a face in the middle of every picture."""

  def track(self, frames, which="largest") -> Track:
    return gather(self.stream(frames, which))

  def stream(self, frames, which="largest"):
    for frame in frames:
      side = frame.shape[0] / 96
      turn = np.linspace(0, 2 * np.pi, 68, endpoint=False)
      points = np.stack([np.cos(turn), np.sin(turn)], -1) * 30 + 48
      points[36:42], points[42:48] = (36, 40), (60, 40)
      yield Step(
        (points * side).astype(np.float32),
        mesh_of(points * side),
        np.zeros(3, np.float32),
        True,
        1,
        False,
      )

  def votes(self, frame, which, thorough):
    return np.array([2.0, 0, 0, 0])

  def boxes(self, frame):
    raise NotImplementedError
