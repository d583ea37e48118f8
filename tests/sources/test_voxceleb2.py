"""VoxCeleb2 as it is unpacked, with what users have lost or left packed."""

import os

import pytest

from data_pipelines.faces import cut
from data_pipelines.sources import splits, voxceleb2

SETTINGS = cut.Settings(size=64)
META = """VoxCeleb2 ID,VGGFace2 ID,Gender,Set
id00012 ,n000012 ,m ,dev 
id00015 ,n000015 ,m ,dev 
id00016 ,n000016 ,m ,dev 
id00017 ,n000017 ,m ,test 
id00061 ,n000061 ,m ,test 
"""
ONE, TWO = "id00012/21Uxsk56VDQ", "id00015/0fijmz4vTVU"
TEST = "id00017/01dfn2spqyE"


@pytest.fixture
def official(tmp_path, film, lay):
  return lay(
    tmp_path / "VoxCeleb2",
    {
      "vox2_meta.csv": META,
      f"dev/mp4/{ONE}/00001.mp4": film.mute,
      f"dev/aac/{ONE}/00001.m4a": film.m4a,
      f"dev/mp4/{ONE}/00002.mp4": film.mute,  # its m4a is lost
      f"dev/mp4/{TWO}/00001.mp4": film.cut_off,
      f"dev/aac/{TWO}/00001.m4a": film.m4a,
      f"dev/aac/{TWO}/00002.m4a": film.m4a,  # its mp4 is lost
      f"dev/aac/{TWO[:-1]}X/00001.m4a": film.m4a,  # the whole video's
      "dev/aac/id00018/0dsDaGYPkuw/00001.m4a": film.m4a,
      "dev/txt/id00012/21Uxsk56VDQ/00001.txt": "boxes",
      f"test/mp4/{TEST}/00001.mp4": film.mp4,
      f"test/aac/{TEST}/00001.m4a": film.m4a,
    },
  )


def test_the_official_layout(official, prepare_twice, labels):
  survey = voxceleb2.survey(official, settings=SETTINGS)
  assert [(t.clip, t.identity, t.split) for t in survey.tasks] == [
    (f"{ONE}/00001", "id00012", "train"),
    (f"{ONE}/00002", "id00012", "train"),
    (f"{TWO}/00001", "id00015", "train"),
    (f"{TEST}/00001", "id00017", "test"),
  ]
  assert sorted(survey.gaps) == [
    f"{ONE}/00002: no m4a",
    f"{TWO}/00002: no mp4, only sound",
    f"{TWO[:-1]}X: no mp4, only sound",
    "id00016: no folder of this dev speaker",
    "id00018: no mp4 of this speaker, only sound",
    "id00061: no folder of this test speaker",
  ]
  made = prepare_twice(survey)
  assert made.splits == {f"{ONE}/00001": "train", f"{TEST}/00001": "test"}
  assert made.rejects.keys() == {f"{ONE}/00002", f"{TWO}/00001"}
  assert made.rejects[f"{ONE}/00002"] == "no audio track"
  record = made.clips[f"{ONE}/00001"]
  assert record.identity == "id00012" and labels(record) == ("", 0, "")
  assert record.session == "21Uxsk56VDQ"  # the video
  assert record.source == f"dev/mp4/{ONE}/00001.mp4"
  assert len(record.frames) == 55
  assert abs(record.audio.astype(int)).max() > 3000  # the m4a's


@pytest.mark.parametrize(
  "start", [".", "..", "dev", "dev/mp4", "dev/aac", "test", "test/mp4"]
)
def test_any_floor_of_the_tree_will_do(official, start):
  found = voxceleb2.survey(official / start, settings=SETTINGS).tasks
  names = {task.clip for task in found}
  assert f"{ONE}/00001" in names or f"{TEST}/00001" in names
  assert all(task.records.sound for task in found if task.clip.endswith("1"))


def test_each_clip_has_the_sound_of_its_own_video(tmp_path, lay):
  names = [f"id00012/{film}/00001" for film in (ONE[8:], TWO[8:])]
  for name in names:
    lay(tmp_path, {f"mp4/{name}.mp4": "", f"aac/{name}.m4a": ""})
  lay(tmp_path, {"mp4/id00012/silent_film/00001.mp4": ""})
  (tmp_path / "aac/id00012/silent_film").mkdir()
  survey = voxceleb2.survey(tmp_path, settings=SETTINGS)
  sounds = {
    task.clip: task.records.sound
    and os.path.relpath(task.records.sound, tmp_path)
    for task in survey.tasks
  }
  assert sounds == {
    **{name: f"aac/{name}.m4a" for name in names},
    "id00012/silent_film/00001": None,
  }
  assert survey.gaps == ["id00012/silent_film: no m4a of this video"]


def test_a_test_archive_unpacks_without_its_name(tmp_path, film, lay):
  lay(
    tmp_path,
    {
      f"vox2_test_mp4/mp4/{TEST}/00001.mp4": film.mute,
      f"vox2_test_aac/aac/{TEST}/00001.m4a": film.m4a,
    },
  )
  survey = voxceleb2.survey(tmp_path, settings=SETTINGS)
  (task,) = survey.tasks
  assert task.split == "test" and task.records.sound.endswith("00001.m4a")
  assert survey.gaps == []


def test_a_set_that_is_not_there_is_one_line(tmp_path, film, lay):
  lay(
    tmp_path,
    {"vox2_meta.csv": META, f"mp4/{TEST}/00001.mp4": film.mp4},
  )
  survey = voxceleb2.survey(tmp_path, settings=SETTINGS)
  assert survey.gaps == [
    "no aac: the videos' own sound is taken",
    "dev: none of its 3 speakers",
    "id00061: no folder of this test speaker",
  ]


def test_flat_names(tmp_path, film, lay):
  lay(
    tmp_path,
    {
      "id00530_9EtkaLUCdWM_00026.mp4": film.mp4,
      "id00017_a_b-c_d-e_f_00001.mp4": film.mute,
      "id00017_a_b-c_d-e_f_00001.wav": film.wav,
      "id00018#21Uxsk56VDQ#00002.mp4": film.mp4,
      "notes.mp4": film.mp4,
    },
  )
  survey = voxceleb2.survey(tmp_path, settings=SETTINGS)
  assert [(t.clip, t.split, bool(t.records.sound)) for t in survey.tasks] == [
    ("id00017/a_b-c_d-e_f/00001", "test", True),
    ("id00018/21Uxsk56VDQ/00002", "train", False),
    ("id00530/9EtkaLUCdWM/00026", "train", False),
  ]
  assert [t.records.session for t in survey.tasks] == [
    "a_b-c_d-e_f",
    "21Uxsk56VDQ",
    "9EtkaLUCdWM",
  ]
  assert survey.gaps == ["notes.mp4: not a name of VoxCeleb2"]


@pytest.mark.parametrize(
  ("name", "advice"),
  [
    (
      "vox2_dev_mp4_partaa",
      r"cat .*_mp4_part\* > .*/vox2_dev_mp4.zip && unzip",
    ),
    (
      "vox2_dev_aac_partah",
      r"cat .*_aac_part\* > .*/vox2_dev_aac.zip && unzip",
    ),
    ("vox2_test_mp4.zip", r"run unzip \S*/vox2_test_mp4.zip -d"),
  ],
)
def test_what_is_still_packed_says_how_to_unpack(
  tmp_path, film, lay, name, advice
):
  lay(tmp_path, {name: "PK"})
  with pytest.raises(
    ValueError, match=f"{name}: still packed; run .*"
  ) as error:
    voxceleb2.survey(tmp_path, settings=SETTINGS)
  assert error.match(advice)
  if "dev" in name:  # the other set does not stand for it
    lay(tmp_path, {f"mp4/{TEST}/00001.mp4": film.mp4})
    with pytest.raises(ValueError, match="still packed"):
      voxceleb2.survey(tmp_path, settings=SETTINGS)
  kind = "aac" if "aac" in name else "mp4"
  who = ONE if "dev" in name else TEST
  lay(
    tmp_path,
    {f"{kind}/{who}/00001.mp4": film.mp4, f"mp4/{who}/00003.mp4": film.mp4},
  )
  assert voxceleb2.survey(tmp_path, settings=SETTINGS).tasks


def test_what_is_not_there_is_one_line(tmp_path):
  with pytest.raises(ValueError, match="no such folder"):
    voxceleb2.survey(tmp_path / "none", settings=SETTINGS)
  with pytest.raises(ValueError, match="no VoxCeleb2 here; expected dev/mp4"):
    voxceleb2.survey(tmp_path, settings=SETTINGS)


def test_the_published_split():
  assert len(splits.VOXCELEB2) == 118
