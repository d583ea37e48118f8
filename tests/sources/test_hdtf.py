"""HDTF's lists over videos that were downloaded, or cut already, or neither."""

import numpy as np
import pytest

from data_pipelines.faces import cut
from data_pipelines.sources import hdtf, splits

SETTINGS = cut.Settings(size=64)
LISTS = {
  "HDTF_dataset/RD_video_url.txt": "Radio11 https://youtu.be/a\n"
  "Radio24 https://youtu.be/b\n",
  "HDTF_dataset/RD_annotion_time.txt": "Radio11.mp4 00:00-00:01 00:01-00:02\n",
  # Half of a picture twice as large as the film's 160 px.
  "HDTF_dataset/RD_crop_wh.txt": "Radio11_0.mp4 40 240 60 200\n",
  "HDTF_dataset/RD_resolution.txt": "Radio11.mp4 320\n",
  "HDTF_dataset/WRA_video_url.txt": "MarthaRoby https://youtu.be/c\n"
  "PeterKing https://youtu.be/d\nDebFischer2 https://youtu.be/e\n",
  "HDTF_dataset/WRA_annotion_time.txt": "MarthaRoby.mp4 00:00-00:02 \n"
  "PeterKing.mp4 00:20-00:40 \nDebFischer2.mp4 00:12-03:40 04:00-04:10\n",
  "HDTF_dataset/WRA_crop_wh.txt": "MarthaRoby_0.mp4 0 160 0 160\n"
  "DebFischer2_0.mp4 0 160 0 160\n",
}


@pytest.fixture
def official(tmp_path, film, lay):
  files = {
    "videos/Radio11.mp4": film.mp4,
    "raw/WRA_MarthaRoby.mp4": film.mp4,
    "clips/WRA_DebFischer2_000.mp4": film.mp4,
    "clips/Somebody_0.mp4": film.cut_off,
  }
  return lay(tmp_path / "HDTF", {**LISTS, **files})


def test_the_official_layout(official, prepare_twice, labels):
  survey = hdtf.survey(official, settings=SETTINGS)
  assert [(t.clip, t.identity, t.split) for t in survey.tasks] == [
    ("DebFischer2_0", "DebFischer", "test"),
    ("MarthaRoby_0", "MarthaRoby", "test"),
    ("Radio11_0", "Radio11", "train"),
    ("Radio11_1", "Radio11", "train"),
    ("Somebody_0", "Somebody", "train"),
  ]
  assert sorted(survey.gaps) == [
    "RD Radio11_1: no crop in the list",
    "RD Radio24: no times in the list, left out (https://youtu.be/b)",
    "Somebody: not in the lists, taken as it is",
    "WDA_annotion_time.txt: missing",
    "WRA DebFischer2_1: neither clip nor video",
    "WRA PeterKing: no video (https://youtu.be/d)",
  ]
  made = prepare_twice(survey)
  assert made.rejects.keys() == {"Somebody_0"}
  assert made.splits == {
    "DebFischer2_0": "test",
    "MarthaRoby_0": "test",
    "Radio11_0": "train",
    "Radio11_1": "train",
  }
  clips = made.clips
  assert {name: len(r.frames) for name, r in clips.items()} == {
    "DebFischer2_0": 55,
    "MarthaRoby_0": 50,
    "Radio11_0": 25,
    "Radio11_1": 25,
  }
  assert labels(clips["Radio11_0"]) == ("", 0, "")
  assert {name: r.session for name, r in clips.items()} == {
    "DebFischer2_0": "DebFischer2",
    "MarthaRoby_0": "MarthaRoby",
    "Radio11_0": "Radio11",
    "Radio11_1": "Radio11",
  }
  assert clips["Radio11_1"].source == "videos/Radio11.mp4"
  # The two seconds of the video are those of the longer clip, sound and all.
  whole, second = clips["MarthaRoby_0"], clips["Radio11_1"]
  np.testing.assert_array_equal(second.audio, whole.audio[16_000:])
  np.testing.assert_allclose(second.pose, whole.pose[25:], atol=3.0)


def test_the_crop_chooses_the_face_in_the_videos_own_pixels(official):
  tasks = hdtf.survey(official, settings=SETTINGS).tasks
  first = next(t.records for t in tasks if t.clip == "Radio11_0")
  assert first.span == (0.0, 1.0) and first.box == (100.0, 110.0, 120.0, 100.0)
  assert first._box() == (50.0, 55.0, 60.0, 50.0)  # the film has half the lines
  cropped = next(t.records for t in tasks if t.clip == "MarthaRoby_0")
  assert cropped._box() == (40.0, 40.0, 80.0, 80.0)  # lines not known


def test_clips_without_lists(tmp_path, film, lay):
  lay(
    tmp_path,
    {
      "Radio11_1.mp4": film.mp4,
      "RD_Radio1_000#1.mp4": film.mp4,
      "RD_Radio1_000#2.mp4": film.mp4,
      "WDA_AlexandriaOcasioCortez_000.mp4": film.mp4,
      "WDA_JackReed1_002.mp4": film.mp4,
    },
  )
  survey = hdtf.survey(tmp_path, settings=SETTINGS)
  assert [(t.clip, t.identity, t.split) for t in survey.tasks] == [
    ("AlexandriaOcasioCortez_0", "AlexandriaOcasioCortez", "train"),
    ("JackReed1_2", "JackReed", "test"),
    ("Radio11_1", "Radio11", "train"),
    ("Radio1_0#1", "Radio1", "train"),
    ("Radio1_0#2", "Radio1", "train"),
  ]
  assert survey.gaps == [
    "no lists (RD_annotion_time.txt): what is missing is not known"
  ]


def test_spans_are_minutes_and_seconds(tmp_path, lay):
  times = "A.mp4 00:30-01:00 61:05-102:07\n"
  lay(tmp_path, {"WRA_annotion_time.txt": times, "A.mp4": ""})
  survey = hdtf.survey(tmp_path, settings=SETTINGS)
  spans = [task.records.span for task in survey.tasks]
  assert spans == [(30.0, 60.0), (3665.0, 6127.0)]
  assert survey.gaps == [
    "WRA_crop_wh.txt: missing, faces are found without it",
    "RD_annotion_time.txt: missing",
    "WDA_annotion_time.txt: missing",
    "WRA A_0: no crop in the list",
    "WRA A_1: no crop in the list",
  ]


def test_a_clip_beyond_a_videos_list_is_taken_and_named(tmp_path, lay):
  lay(
    tmp_path,
    {
      "WRA_annotion_time.txt": "A.mp4 00:30-01:00\n",
      "WRA_A_000.mp4": "",
      "WRA_A_001.mp4": "",
    },
  )
  survey = hdtf.survey(tmp_path, settings=SETTINGS)
  assert [task.clip for task in survey.tasks] == ["A_0", "A_1"]
  assert "WRA A_1: not in the list, taken as it is" in survey.gaps


def test_a_span_beyond_the_end_is_a_reject(tmp_path, film, lay, face_models):
  lay(
    tmp_path,
    {"WRA_annotion_time.txt": "A.mp4 00:30-00:40\n", "A.mp4": film.mp4},
  )
  (task,) = hdtf.survey(tmp_path, settings=SETTINGS).tasks
  with pytest.raises(ValueError, match=r"A.mp4: ends before 30 s"):
    task.records()


@pytest.mark.parametrize(
  ("name", "text", "reason"),
  [
    ("RD_annotion_time.txt", "Radio11.mp4 0-1", "'0-1' is not a span"),
    ("RD_crop_wh.txt", "Radio11_0.mp4 1 2 3", "'1 2 3' is not 4 whole"),
  ],
)
def test_a_bad_list_is_one_line(official, name, text, reason):
  (official / "HDTF_dataset" / name).write_text(text)
  if name != "RD_annotion_time.txt":
    assert (official / "HDTF_dataset/RD_annotion_time.txt").exists()
  with pytest.raises(ValueError, match=reason):
    hdtf.survey(official, settings=SETTINGS)


def test_what_is_not_there_is_one_line(tmp_path, lay):
  with pytest.raises(ValueError, match="no video of HDTF here; expected"):
    hdtf.survey(tmp_path, settings=SETTINGS)
  lay(tmp_path, LISTS)
  with pytest.raises(ValueError, match="no video of HDTF here; expected"):
    hdtf.survey(tmp_path, settings=SETTINGS)


def test_people():
  assert hdtf.identity("NancyPelosi3") == "NancyPelosi"
  assert hdtf.identity("Radio7") == "Radio7"
  assert hdtf.identity("WhipJimClyburn") == hdtf.identity("JamesClyburn1")
  assert len(splits.HDTF) == 22
  assert "BarackObama" not in splits.HDTF  # the voice of many of RD
