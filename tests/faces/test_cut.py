import itertools
import warnings

import cv2
import numpy as np
import pytest

from data_pipelines.dataset.pictures import decode_frame
from data_pipelines.faces import align, cut
from data_pipelines.faces.face_rule import parse_face_rule
from data_pipelines.faces.follow import follow as follow_face
from data_pipelines.faces.tracker import IBUG, Track
from data_pipelines.media import mp4, video
from data_pipelines.media.error import MediaError, MediaWarning, Rejected
from data_pipelines.media.warp import transform, warp
from tests.awkward import film, pictures, voice
from tests.plain_face import mesh_of


def track(found, shift=0.0):
  """A track whose face moves `shift` face sizes a frame."""
  n = len(found)
  rng = np.random.default_rng(0)
  landmarks = np.repeat(rng.uniform(0, 100, (1, 68, 2)), n, 0)
  landmarks += np.arange(n)[:, None, None] * 100 * shift
  return Track(
    landmarks,
    mesh_of(landmarks),
    np.zeros((n, 3)),
    np.array(found, bool),
    1,
  )


def test_long_stretches_are_split_evenly():
  assert cut._stretches(track([True] * 100), 40) == [
    (0, 33),
    (33, 66),
    (66, 100),
  ]


def test_gaps_end_a_stretch():
  found = [True] * 30 + [False] * 20 + [True] * 10
  assert cut._stretches(track(found), 1024) == [(0, 30), (50, 60)]


def test_a_wandering_face_and_a_jump_end_a_stretch():
  wandering = cut._stretches(track([True] * 120, 0.01), 1024)
  assert [b - a for a, b in wandering[:2]] == [wandering[0][1]] * 2
  assert 30 < wandering[0][1] < 60
  still = track([True] * 60)
  still.landmarks[30:] += 90
  assert cut._stretches(still, 1024) == [(0, 30), (30, 60)]


def test_a_clip_is_cut_in_step(recordings, face_models, tmp_path):
  if recordings:
    path = recordings / "real" / "clips" / "clip12_talkshow_woman.mp4"
  else:
    path = tmp_path / "a.mp4"
    film(path, pictures(128), voice(5.12))
  pieces = cut.clips_of(path, cut.Settings(size=64, max_frames=50))
  assert [len(piece.frames) for piece in pieces] == [42, 43, 43]
  assert [piece.start for piece in pieces] == [0, 42, 85]
  for piece in pieces:
    n = len(piece.frames)
    assert len(piece.audio) == n * 640
    assert piece.landmarks.shape == (n, 68, 2) and piece.pose.shape == (n, 3)
    assert piece.landmarks.min() > 0 and piece.landmarks.max() < 64
    np.testing.assert_allclose(
      piece.mesh[:, IBUG, :2], piece.landmarks, atol=1e-4
    )
    # As deep as it is wide, about: z goes by the crop's scale.
    width, depth = np.ptp(piece.mesh[..., 0], 1), np.ptp(piece.mesh[..., 2], 1)
    assert (0.4 * width < depth).all() and (depth < 1.5 * width).all()
    assert decode_frame(piece.frames[0]).shape == (64, 64, 3)
  whole = np.concatenate([piece.audio for piece in pieces])
  assert np.abs(whole.astype(int)).max() > 3000


@pytest.mark.parametrize(
  ("name", "reason"),
  [
    ("no_audio", "no audio track"),
    ("one_frame", "no audio track"),
    ("tiny_96px", "face too small"),
    ("zero_byte", "empty file"),
    ("text_renamed", "cannot be read"),
    ("truncated_no_moov", "cannot be read"),
  ],
)
def test_unusable_files_are_refused(awkward, face_models, name, reason):
  path = awkward.path(f"{name}.mp4")
  with pytest.raises(MediaError, match=reason):
    cut.clips_of(path, cut.Settings(size=64))


def test_silence_can_be_allowed(awkward, face_models):
  path = awkward.path("no_audio.mp4")
  (piece,) = cut.clips_of(path, cut.Settings(size=64, allow_silent=True))
  assert len(piece.audio) == 75 * 640 and not piece.audio.any()


@pytest.fixture(scope="module")
def clips(recordings, tmp_path_factory) -> list:
  """Videos of one shot each, of people who talk."""
  if recordings:
    paths = sorted((recordings / "real" / "clips").glob("*.mp4"))
    assert len(paths) == 12
    return paths
  folder = tmp_path_factory.mktemp("clips")
  paths = [folder / f"{person}.mp4" for person in range(6)]
  for person, path in enumerate(paths):
    film(path, pictures(30, person), voice(1.2))
  return paths


def test_clips_of_all_people_come_through(clips, face_models, monkeypatch):
  tracks = []

  def follow(*args, **kwargs):
    tracks.append(follow_face(*args, **kwargs))
    return tracks[-1]

  monkeypatch.setattr(cut, "follow", follow)
  with warnings.catch_warnings():
    warnings.simplefilter("ignore", MediaWarning)
    for path in clips:
      pieces = cut.clips_of(path, cut.Settings(size=64))
      lengths = [(len(p.audio), len(p.frames) * 640) for p in pieces]
      assert lengths, path
      assert all(a == b for a, b in lengths), path
  assert all(track.found.mean() > 0.9 for track in tracks)
  assert all(track.shots == () for track in tracks)  # there are none


# --- people, drawn and real ------------------------------------------------


def face(recordings, clip: str, person: int, frames: int) -> list[np.ndarray]:
  """A face in a square of 128 px, always in one place.

  Args:
    recordings: As the fixture.
    clip: How the name of the real one begins.
    person: Number of the drawn one.
    frames: How many pictures.
  """
  if recordings:
    (path,) = (recordings / "real" / "clips").glob(f"{clip}*.mp4")
    some = list(itertools.islice(video.read_frames(path), frames))
  else:
    some = pictures(frames, person)
  track = cut._tracker().track(some)
  matrix = align.square(track.landmarks[track.found], 128)
  return [warp(frame, matrix, 128) for frame in some]


def filmed(path, frames, level: int = 6000):
  """A video of the frames with as much noise as sound."""
  sound = np.random.default_rng(0).normal(0, 1, len(frames) * 640) * level
  sound = sound.clip(-32768, 32767).astype(np.int16)
  mp4.write_video(path, frames, 25.0, sound)
  return path


def refusals(
  path, **settings
) -> tuple[list[cut.FaceClip], list[str], list[str]]:
  """The clips, the lines of what was left out, and other warnings."""
  with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always", MediaWarning)
    clips = cut.clips_of(path, cut.Settings(size=64, **settings))
  said = [w.message for w in caught]
  out = [str(x)[len(f"{path}: ") :] for x in said if isinstance(x, Rejected)]
  rest = [str(x) for x in said if not isinstance(x, Rejected)]
  return clips, out, rest


@pytest.fixture(scope="module")
def woman(recordings, face_models):
  return face(recordings, "clip04", 0, 40)


@pytest.fixture(scope="module")
def man(recordings, face_models):
  return face(recordings, "clip06", 5, 40)


def test_a_cut_to_a_face_in_the_same_place_is_found(woman, man, tmp_path):
  path = filmed(tmp_path / "a.mp4", woman + man)
  clips, out, _ = refusals(path)
  assert [(x.start, len(x.frames)) for x in clips] == [(0, 40), (40, 40)]
  assert out == []


def test_a_cut_to_a_face_elsewhere_is_found(woman, man, tmp_path):
  ground = [np.full((128, 320, 3), 90, np.uint8) for _ in range(80)]
  for i, (left, right) in enumerate(zip(woman, man, strict=True)):
    ground[i][:, :128], ground[40 + i][:, 192:] = left, right
  clips, _, _ = refusals(filmed(tmp_path / "a.mp4", ground))
  assert len(clips) == 2 and clips[0].start == 0
  assert 40 <= clips[1].start < 80 - 25 + 1


def gap(frames, start: int, stop: int) -> list[np.ndarray]:
  hidden = list(frames)
  for i in range(start, stop):
    hidden[i] = np.full_like(frames[i], 90)
  return hidden


def test_missing_faces_by_policy(woman, tmp_path):
  frames = (woman + woman[::-1])[:70]
  short = filmed(tmp_path / "short.mp4", gap(frames, 30, 36))
  long = filmed(tmp_path / "long.mp4", gap(frames, 30, 45))
  clips, out, said = refusals(short)
  assert [len(x.frames) for x in clips] == [70] and out == []
  assert "no face from 1.20 to 1.44 s, interpolated" in said[0]
  clips, out, _ = refusals(long)
  assert [(x.start, len(x.frames)) for x in clips] == [(0, 30), (45, 25)]
  assert out == ["1.20 to 1.80 s, no face"]
  clips, out, said = refusals(long, on_missing_face="hold")
  assert [len(x.frames) for x in clips] == [70] and out == []
  assert "no face from 1.20 to 1.80 s" in said[0]
  assert np.isfinite(clips[0].landmarks).all()
  for path, span in ((short, "1.20 to 1.44 s"), (long, "1.20 to 1.80 s")):
    with pytest.raises(MediaError, match=f"no face from {span}"):
      cut.clips_of(path, cut.Settings(size=64, on_missing_face="fail"))


def test_which_face(woman, man, tmp_path):
  """The man at the right is larger; each is followed without a jump."""
  ground = [np.full((192, 400, 3), 90, np.uint8) for _ in range(40)]
  for i, (left, right) in enumerate(zip(woman, man, strict=True)):
    ground[i][32:160, 10:138] = left
    ground[i][:, 200:392] = cv2.resize(right, (192, 192))
  path = filmed(tmp_path / "a.mp4", ground)

  def centre(**settings) -> float:
    (clip,), out, said = refusals(path, **settings)
    assert out == [] and len(clip.frames) == 40
    assert len(said) == 1 and "2 faces; the" in said[0]
    back = cv2.invertAffineTransform(clip.crop)
    x = transform(clip.landmarks, back)[..., 0].mean(1)
    assert np.ptp(x) < 40
    return float(x.mean())

  assert centre(face="largest") > 200
  assert centre(face="first") < 140
  assert centre(face="box:30,50,90,90") < 140
  assert centre(face="box:230,30,130,130") > 200
  with pytest.raises(MediaError, match="no face found in the box"):
    cut.clips_of(path, cut.Settings(size=64, face="box:150,0,20,20"))
  with pytest.warns(MediaWarning, match="the one in the box"):
    (clip,) = cut.clips_of(path, cut.Settings(size=64), box=(30, 50, 90, 90))
  assert clip.crop[0, 2] > -40  # the left one, though the other is larger


@pytest.mark.parametrize("text", ["biggest", "box", "box:1,2,3", "box:0,0,0,9"])
def test_no_such_rule(text):
  with pytest.raises(
    ValueError, match="is not largest, first, a number or box"
  ):
    parse_face_rule(text)


def test_bad_clips_are_left_out_and_say_why(woman, tmp_path):
  frames = woman[:30]
  blurred = [cv2.GaussianBlur(frame, (0, 0), 4) for frame in frames]
  small = [
    cv2.copyMakeBorder(
      cv2.resize(frame, (64, 64), interpolation=cv2.INTER_AREA),
      *(32, 32, 32, 32),
      cv2.BORDER_REPLICATE,
    )
    for frame in frames
  ]
  for name, made, level, reason in (
    ("blurred", blurred, 6000, r"blurred \(0\.0\d+\) from 0\.00 to 1\.20 s"),
    ("small", small, 6000, r"face too small \(\d+ px, 64 needed\) from 0\.00"),
    ("silent", frames, 0, "silent from 0.00 to 1.20 s"),
    ("loud", frames, 60_000, r"clipped sound \(\d+%\) from 0\.00 to 1\.20 s"),
    ("short", frames[:20], 6000, "under 25 frames from 0.00 to 0.80 s"),
  ):
    path = filmed(tmp_path / f"{name}.mp4", made, level)
    with pytest.raises(MediaError, match=reason):
      cut.clips_of(path, cut.Settings(size=64))


def test_a_bad_stretch_leaves_the_good_one(woman, man, tmp_path):
  blurred = [cv2.GaussianBlur(frame, (0, 0), 4) for frame in woman[:30]]
  path = filmed(tmp_path / "a.mp4", man[:30] + blurred)
  clips, out, _ = refusals(path)
  assert [(x.start, len(x.frames)) for x in clips] == [(0, 30)]
  assert len(out) == 1 and out[0].startswith("1.20 to 2.40 s, blurred")
