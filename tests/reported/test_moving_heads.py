"""The square round a head that moves, walks, shakes, or changes its shot."""

import warnings
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
from av.video.frame import VideoFrame

from data_pipelines.faces import align, follow
from data_pipelines.media import mp4
from data_pipelines.media.error import MediaWarning, heard
from speak_jax.inference.driver import VideoDriver
from speak_jax.inference.inputs import Rules
from tests import awkward, glass
from tests.reported.upright import is_upright


def moved(path, tracker, n=200, squashed=False):
  """The crops of a pose video, the face's track in them, and what is said."""
  settings = glass.SETTINGS._replace(image=128)
  said: dict[str, None] = {}
  with heard(said), warnings.catch_warnings():
    warnings.simplefilter("ignore", MediaWarning)
    motion = VideoDriver(path, n, settings, tracker, Rules())
    crops = [crop for crop in motion.crops() if crop is not None]
  track = tracker.track(crops)
  assert track.found.all()
  assert squashed or all(map(is_upright, track.landmarks))
  extent = np.ptp(track.landmarks, axis=1).max(1)
  assert extent.min() > 70 and extent.max() < 105  # of 128 px, as in training
  return track, [line.removeprefix(f"{path}: ") for line in said]


def test_a_head_that_keeps_its_place_has_a_still_square(tmp_path, tracker):
  mp4.write_video(tmp_path / "a.mp4", awkward.pictures(50, 7))
  track, said = moved(tmp_path / "a.mp4", tracker)
  assert said == [] and len(track.found) == 50
  assert np.ptp(track.landmarks.mean(1)[:, 0]) > 10  # its motion is kept


def test_ok_pose_mp4(reported, tracker):
  track, said = moved(reported / "ok_pose.mp4", tracker)
  assert said == [] and len(track.found) == 50
  assert np.ptp(track.landmarks.mean(1)[:, 0]) > 10  # its motion is kept


def test_handheld_mp4(reported, tracker):
  track, said = moved(reported / "handheld.mp4", tracker)
  assert len(track.found) == 75
  assert said == ["the face is 111 px and is enlarged to 128"]
  assert np.abs(track.landmarks.mean((0, 1)) - 63).max() < 6
  assert track.landmarks.mean(1).std(0).max() < 3  # shaking is taken out


def test_two_shots_mp4(reported, tracker):
  track, said = moved(reported / "two_shots.mp4", tracker)
  assert len(track.found) == 38 and track.shots == ()
  assert said == ["2 shots; the motion is that of the longest, 0.00 to 1.52 s"]


def test_a_change_of_size_within_a_video_is_said(tmp_path, tracker, drawn):
  """As a video call that adapts to its network: VP8 at two sizes."""
  path = tmp_path / "a.webm"
  with av.open(str(path), "w") as out:
    stream = out.add_stream("libvpx", rate=25)
    later = av.CodecContext.create("libvpx", "w")
    later.time_base, later.framerate = Fraction(1, 25), Fraction(25)
    for coder, shape, start in (
      (stream.codec_context, (180, 320), 0),
      (later, (320, 320), 25),
    ):
      coder.height, coder.width = shape
      coder.pix_fmt, coder.bit_rate = "yuv420p", 1_000_000
      for t in range(25):
        side = min(shape)
        small = cv2.resize(drawn[t], (side, side), interpolation=3)
        picture = awkward.placed(small, 0, 0, 320, shape[0])
        frame = VideoFrame.from_ndarray(picture, format="rgb24")
        frame.pts, frame.time_base = start + t, Fraction(1, 25)
        for packet in coder.encode(frame):
          packet.stream, packet.time_base = stream, Fraction(1, 25)
          out.mux(packet)
      for packet in coder.encode(None):
        packet.stream, packet.time_base = stream, Fraction(1, 25)
        out.mux(packet)
  track, said = moved(path, tracker, squashed=True)
  assert len(track.found) == 25
  assert said[:2] == [
    "changes its size from 320x180 to 320x320; all is shown at 320x180",
    "2 shots; the motion is that of the longest, 0.00 to 1.00 s",
  ]


def test_res_change_webm(reported, tracker):
  track, said = moved(reported / "res_change.webm", tracker, squashed=True)
  assert len(track.found) == 25
  assert said == [
    "changes its size from 320x180 to 320x320; all is shown at 320x180",
    "2 shots; the motion is that of the longest, 0.00 to 1.00 s",
  ]


@pytest.mark.parametrize("shake", [0, 12])
def test_a_face_that_walks_is_followed(tmp_path, tracker, drawn, shake):
  """Over three times its width; once with a camera that shakes."""
  rng = np.random.default_rng(0)
  places = np.linspace(40, 560, len(drawn)) + rng.uniform(-shake, shake, 30)
  frames = []
  for frame, x in zip(drawn, places.astype(int), strict=True):
    wide = np.full((300, 900, 3), 90, np.uint8)
    wide[30:286, x : x + 256] = frame
    frames.append(wide)
  mp4.write_video(tmp_path / "a.mp4", frames)
  track, said = moved(tmp_path / "a.mp4", tracker)
  assert said == [] and len(track.found) == 30
  assert np.abs(track.landmarks.mean(1)[:, 0] - 63).max() < 22
  still = tracker.track(drawn)
  assert np.abs(track.pose - still.pose).mean() < 3  # the head's own turns


def test_the_longest_of_three_shots_is_taken(tmp_path, tracker, drawn):
  canvas = np.full((300, 600, 3), 90, np.uint8)
  left, right = canvas.copy(), canvas[..., ::-1] // 3
  left[30:286, 30:286] = drawn[0]
  right[30:286, 320:576] = drawn[0][:, ::-1]
  frames = [left] * 10 + [right] * 30 + [left] * 12
  mp4.write_video(tmp_path / "a.mp4", frames)
  track, said = moved(tmp_path / "a.mp4", tracker)
  assert len(track.found) == 30
  assert said == ["3 shots; the motion is that of the longest, 0.40 to 1.60 s"]


def test_squares_of_a_nod_are_still_and_of_a_walk_are_not():
  points = np.random.default_rng(0).uniform(0, 100, (68, 2))
  nod = points + 15 * np.sin(np.arange(100) / 8)[:, None, None]
  walk = points + 4 * np.arange(100)[:, None, None]
  grows = walk * np.linspace(1, 2, 100)[:, None, None]
  for track, still in ((nod, True), (walk, False), (grows, False)):
    made = follow.squares(track, 25.0, lambda x: align.square(x, 64))
    assert made.shape == (100, 2, 3)
    assert (np.ptp(made, 0).max() == 0) == still
    inside = np.einsum("nij,npj->npi", made[:, :, :2], track)
    inside += made[:, None, :, 2]
    assert inside.min() > 0 and inside.max() < 63
    sizes = np.ptp(inside, axis=1).max(1)
    assert sizes.min() > 30
