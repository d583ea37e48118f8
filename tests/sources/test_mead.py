"""MEAD as it is unpacked, with actors that lack what others have."""

import os

import pytest

from data_pipelines.faces import cut
from data_pipelines.sources import mead
from data_pipelines.sources.task import Labels
from speak_jax import spec

SETTINGS = cut.Settings(size=64)


@pytest.fixture
def official(tmp_path, film, lay):
  """M003 is almost whole in front, W011 and M005 are not."""
  files = {}
  for emotion, levels in mead.LEVELS.items():
    for level in levels:
      place = f"{emotion}/level_{level}/001"
      files[f"M003/video/front/{place}.mp4"] = film.mute
      files[f"M003/video/left_30/{place}.mp4"] = film.mute
      files[f"M003/audio/{place}.m4a"] = film.m4a
  del files["M003/video/left_30/angry/level_2/001.mp4"]
  del files["M003/video/left_30/happy/level_3/001.mp4"]
  del files["M003/audio/sad/level_1/001.m4a"]
  files |= {
    "M003/video/left_30/happy/level_3/002.mp4": film.mute,
    "W011/video/front/fear/level_1/003.mp4": film.mute,
    "W011/video/front/fear/level_1/004.mp4": film.cut_off,
    "W011/video/front/anger/level_1/001.mp4": film.mute,
    "W011/audio/fear/level_1/003.m4a": film.m4a,
    "W011/audio/fear/level_1/004.m4a": film.m4a,
    "W011/audio/fear/level_1/005.m4a": film.m4a,
    "M005/video/top/neutral/level_1/001.mp4": film.mp4,
  }
  return lay(tmp_path / "MEAD", files)


def survey(root, views=("front",)):
  return mead.survey(root, settings=SETTINGS, views=views)


def test_the_official_layout(official, prepare_twice, labels):
  found = survey(official)
  assert len(found.tasks) == 24  # 7 emotions x 3 levels + neutral, W011's 2
  assert {(t.identity, t.split) for t in found.tasks} == {
    ("M003", "test"),
    ("W011", "train"),
  }
  others = [gap for gap in found.gaps if gap.startswith("no clip of 43 more")]
  assert len(others) == 1 and " M007 " in others[0] and "M005" in others[0]
  assert set(found.gaps) - set(others) == {
    "M003/audio/sad/level_1: no sound of 001",
    "M005: no audio; the videos' own sound is taken",
    "M005: no view front",
    "W011/video/front/anger: not an emotion of MEAD",
    "W011/video/front/fear/level_1: no 005",
    "W011/video/front/fear: no level_2",
    "W011/video/front/fear: no level_3",
    *(
      f"W011/video/front: no emotion {emotion}"
      for emotion in spec.EMOTIONS
      if emotion != "fear"
    ),
    *(
      f"{actor}: no clip of this test actor"
      for actor in ("M030", "W009", "W015")
    ),
  }
  some = [
    task
    for task in found.tasks
    if task.identity == "W011" or "disgusted_level2" in task.clip
    or "sad_level1" in task.clip
  ]  # fmt: skip
  made = prepare_twice(found._replace(tasks=some))
  assert made.splits == {
    "M003_front_disgusted_level2_001": "test",
    "W011_front_fear_level1_003": "train",
  }
  assert made.rejects["M003_front_sad_level1_001"] == "no audio track"
  assert made.rejects.keys() - {"M003_front_sad_level1_001"} == {
    "W011_front_fear_level1_004"
  }
  record = made.clips["M003_front_disgusted_level2_001"]
  assert record.identity == record.session == "M003"
  assert labels(record) == ("disgusted", 2, "front")
  assert record.source == "M003/video/front/disgusted/level_2/001.mp4"
  assert abs(record.audio.astype(int)).max() > 3000  # the m4a's


def test_views_are_chosen_and_compared(official):
  found = survey(official, ("front", "left_30"))
  assert len(found.tasks) == 24 + 21
  assert {t.labels.view for t in found.tasks} == {"front", "left_30"}
  assert "M003/video/left_30/angry: no level_2" in found.gaps
  assert "M003/video/front/happy/level_3: no 002" in found.gaps
  assert "M003/video/left_30/happy/level_3: no 001" in found.gaps
  assert "W011: no view left_30" in found.gaps
  every = survey(official, mead.VIEWS)
  assert {t.identity for t in every.tasks} == {"M003", "M005", "W011"}
  assert "M003: no view right_60" in every.gaps
  with pytest.raises(ValueError, match="view 'side' is not one of front, down"):
    survey(official, ("side",))


def test_a_take_is_one_in_all_views_and_has_its_own_sound(tmp_path, lay):
  takes = [
    ("sad/level_1", "001"),
    ("sad/level_1", "002"),
    ("sad/level_2", "002"),
  ]
  for place, take in takes:
    lay(
      tmp_path / "M003",
      {
        f"video/front/{place}/{take}.mp4": "",
        f"video/down/{place}/{take}.mp4": "",
        f"audio/{place}/{take}.m4a": "",
      },
    )
  tasks = survey(tmp_path, ("front", "down")).tasks
  sounds = [os.path.relpath(t.records.sound, tmp_path) for t in tasks]
  assert sounds == [
    f"M003/audio/{place}/{take}.m4a" for place, take in takes for _ in range(2)
  ]
  assert [task.records.take for task in tasks] == [
    *["sad_level1_001"] * 2,
    *["sad_level1_002"] * 2,
    *["sad_level2_002"] * 2,
  ]


@pytest.mark.parametrize(
  "start", [".", "..", "M003", "M003/video", "M003/video/front"]
)
def test_any_floor_of_the_tree_will_do(official, start):
  names = {task.clip for task in survey(official / start).tasks}
  assert "M003_front_angry_level1_001" in names


def test_archives_that_unpack_beside_each_other(tmp_path, film, lay):
  lay(
    tmp_path,
    {
      "part0/W009_video/video/front/sad/level_3/021.mp4": film.mute,
      "part0/W009_audio/audio/sad/level_3/021.m4a": film.m4a,
    },
  )
  (task,) = survey(tmp_path).tasks
  assert (task.identity, task.split) == ("W009", "test")
  assert task.records.sound.endswith("021.m4a")


@pytest.mark.parametrize(
  "name",
  ["W015/video.tar", "M005/audio.tar", "M007.tar", "M007/M007_video.tar"],
)
def test_what_is_still_packed_says_how_to_unpack(official, lay, name):
  lay(official, {name: ""})
  with pytest.raises(ValueError, match=rf"{name}: still packed; run tar -xf"):
    survey(official)


def test_an_archive_that_was_kept_is_no_matter(official, lay):
  lay(official, {"M003/video.tar": "", "M003/audio.tar": ""})
  assert survey(official).tasks


@pytest.mark.parametrize(
  ("stem", "actor", "take", "labels"),
  [
    ("M003_ang_3_004", "M003", "004", ("angry", 3, "")),
    ("W011_con_1_030", "W011", "030", ("contempt", 1, "")),
    ("M003#disgusted#level_1#001", "M003", "001", ("disgusted", 1, "")),
    ("M030_front_neutral_level1_001", "M030", "001", ("neutral", 1, "front")),
    ("M030_left_30_sad_level_2_001", "M030", "001", ("sad", 2, "left_30")),
    ("M030_surprised", "M030", "", ("surprised", 0, "")),
  ],
)
def test_flat_names(stem, actor, take, labels):
  emotion, level, view = labels
  index = spec.EMOTIONS.index(emotion)
  expected = mead.Name(actor, take, Labels(index, level, view))
  assert mead.parse(stem) == expected


@pytest.mark.parametrize(
  "stem", ["M03_ang_3_004", "M003_joy_3_004", "M003_ang_4_004", "angry", "M003"]
)
def test_other_names_are_not_guessed(stem):
  assert mead.parse(stem) is None


def test_a_folder_of_flat_names(tmp_path, film, lay):
  lay(
    tmp_path,
    {
      "test/M003_ang_3_004.mp4": film.mute,
      "test/M003_ang_3_004.wav": film.wav,
      "M005#fear#level_2#001.mp4": film.mp4,
      "M005_down_fear_level2_001.mp4": film.mp4,
      "intro.mp4": film.mp4,
    },
  )
  found = survey(tmp_path)
  assert [(t.clip, t.split, t.labels) for t in found.tasks] == [
    ("M005#fear#level_2#001", "train", Labels(4, 2, "front")),
    ("M003_ang_3_004", "test", Labels(1, 3, "front")),
  ]
  assert found.tasks[1].records.sound.endswith(".wav")
  assert "intro.mp4: not a name of MEAD" in found.gaps


def test_what_is_not_there_is_one_line(tmp_path):
  with pytest.raises(ValueError, match="no clip of MEAD's views front here"):
    survey(tmp_path)
