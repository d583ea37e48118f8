"""The face says which way is up, whatever the file declares."""

import re
import warnings

import cv2
import numpy as np
import pytest
from PIL import Image

from data_pipelines.faces import cut, footage
from data_pipelines.media import mp4
from data_pipelines.media.error import MediaError, MediaWarning, Rejected
from tests import awkward
from tests.reported.upright import TURNED, found_upright, is_upright


@pytest.mark.parametrize("suffix", ["png", "mp4"])
@pytest.mark.parametrize("turns", TURNED)
@pytest.mark.parametrize("tilt", [-20, 0, 20])
def test_the_faces_own_roll_decides(
  tmp_path, tracker, drawn, turns, tilt, suffix
):
  matrix = cv2.getRotationMatrix2D((128, 128), tilt, 0.8)
  wide = [
    cv2.copyMakeBorder(cv2.warpAffine(x, matrix, (256, 256)), 0, 64, 80, 0, 0)
    for x in (drawn if suffix == "mp4" else drawn[:1])
  ]
  turned = [np.ascontiguousarray(np.rot90(x, -turns)) for x in wide]
  path = tmp_path / f"a.{suffix}"
  if suffix == "mp4":
    mp4.write_video(path, turned)
  else:
    Image.fromarray(turned[0]).save(path)
  with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always", MediaWarning)
    found = footage.find(path, tracker)
    pictures = list(found.frames(25.0))
  assert found.turns == turns and pictures[0].shape == wide[0].shape
  assert [str(x.message).removeprefix(f"{path}: ") for x in caught] == TURNED[
    turns
  ]
  track = tracker.track(pictures)
  upright = tracker.track(wide)
  assert track.found.all()
  assert np.abs(track.landmarks - upright.landmarks).max() < 12
  assert track.pose[:, 2].mean() == pytest.approx(-tilt, abs=8)


@pytest.mark.parametrize(
  ("name", "turns"),
  [("side90.png", 3), ("rot180.png", 2), ("ai_side90.png", 3),
   ("upside.mp4", 2), ("ok_identity.png", 0), ("ok_pose.mp4", 0)],
)  # fmt: skip
def test_faces_are_turned_upright(reported, tracker, name, turns):
  found, points, said = found_upright(reported / name, tracker)
  assert found.turns == turns and said == TURNED[turns]
  like = {"side90.png": "ok_identity.png", "rot180.png": "ok_identity.png",
          "upside.mp4": "ok_pose.mp4"}  # fmt: skip
  if name in like:  # the very picture, turned
    _, upright, _ = found_upright(reported / like[name], tracker)
    assert np.abs(points - upright).max() < 4


def test_upside_mp4_is_prepared_upright(reported, face_models):
  with pytest.warns(MediaWarning, match="is upside down; turned up") as caught:
    (piece,) = cut.clips_of(reported / "upside.mp4", cut.Settings(size=128))
  assert len(caught) == 1  # said once, though it is read three times
  assert len(piece.frames) == 75
  assert all(is_upright(points) for points in piece.landmarks)
  assert np.abs(piece.pose[:, 2]).max() < 15


@pytest.mark.parametrize("turns", [1, 2])
def test_a_turned_video_is_prepared_upright(
  tmp_path, face_models, drawn, turns
):
  wide = [cv2.copyMakeBorder(x, 0, 64, 96, 0, 0) for x in drawn]
  mp4.write_video(tmp_path / "up.mp4", wide)
  mp4.write_video(tmp_path / "turned.mp4", [np.rot90(x, turns) for x in wide])
  settings = cut.Settings(size=64, allow_silent=True)
  (up,) = cut.clips_of(tmp_path / "up.mp4", settings)
  with pytest.warns(MediaWarning, match=TURNED[turns][0]) as caught:
    (found,) = cut.clips_of(tmp_path / "turned.mp4", settings)
  assert len(caught) == 1  # said once, though it is read three times
  assert np.abs(up.landmarks - found.landmarks).max() < 2.5
  np.testing.assert_allclose(up.crop, found.crop, atol=2)


def test_a_shot_on_its_head_is_rejected(tmp_path, face_models, drawn):
  still = [drawn[0]] * 30 + [np.ascontiguousarray(drawn[0][::-1, ::-1])] * 30
  mp4.write_video(tmp_path / "a.mp4", still)
  settings = cut.Settings(size=64, allow_silent=True)
  with pytest.warns(Rejected, match="not upright|no face|under 25"):
    (piece,) = cut.clips_of(tmp_path / "a.mp4", settings)
  assert piece.start == 0 and len(piece.frames) == 30
  assert all(is_upright(points) for points in piece.landmarks)


def test_stretches_of_one_reason_are_told_in_one_line(
  tmp_path, face_models, drawn
):
  """A camera that jumps about: no stretch lasts a second."""
  frames = []
  for t in range(75):
    x = 300 * (t // 12 % 2)
    frames.append(awkward.placed(drawn[t % 30], x, 0, 560, 256))
  mp4.write_video(tmp_path / "a.mp4", frames)
  settings = cut.Settings(size=64, allow_silent=True)
  with pytest.raises(MediaError) as caught:
    cut.clips_of(tmp_path / "a.mp4", settings)
  assert re.search(
    r"mp4: under 25 frames in 7 stretches from 0\.00 to 3\.00 s$",
    str(caught.value),
  )


def test_handheld_mp4_is_told_in_one_line(reported, face_models):
  settings = cut.Settings(size=64, allow_silent=True)
  with pytest.raises(MediaError) as caught:
    cut.clips_of(reported / "handheld.mp4", settings)
  assert re.search(
    r"mp4: under 25 frames in \d+ stretches from 0\.00 to 3\.00 s$",
    str(caught.value),
  )


class Undecided:
  """A tracker for which every side is as good as its opposite."""

  def votes(self, frame, which="largest", thorough=True):
    return np.array([0.8, 0, 0.75, 0])

  def boxes(self, frame):
    raise NotImplementedError

  def track(self, frames, which="largest"):
    raise NotImplementedError

  def stream(self, frames, which="largest"):
    raise NotImplementedError


def test_what_does_not_tell_which_way_is_up_is_refused(
  tmp_path, drawn, monkeypatch
):
  path = tmp_path / "a.png"
  Image.fromarray(drawn[0]).save(path)
  with pytest.raises(MediaError, match=r"a\.png: which way up the face is"):
    footage.find(path, Undecided())
  monkeypatch.setattr(cut, "_tracker", Undecided)
  with pytest.raises(MediaError, match="which way up the face is"):
    cut.clips_of(path, cut.Settings(allow_silent=True))
