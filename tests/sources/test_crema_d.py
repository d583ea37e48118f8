"""CREMA-D's repository, with what users have lost or not yet fetched."""

import pytest

from data_pipelines.faces import cut
from data_pipelines.sources import crema_d, splits
from data_pipelines.sources.task import Labels
from speak_jax import spec

SETTINGS = cut.Settings(size=64)
NAMES = """"Stimulus_Number","Filename"
1,"1001_DFA_ANG_XX"
2,"1001_IEO_HAP_HI"
3,"1001_IEO_SAD_LO"
4,"1007_IEO_NEU_XX"
5,"1007_TIE_DIS_XX"
6,"1090_WSI_FEA_MD"
"""


@pytest.fixture
def official(tmp_path, film, lay):
  return lay(
    tmp_path / "CREMA-D",
    {
      "SentenceFilenames.csv": NAMES,
      "VideoFlash/1001_DFA_ANG_XX.flv": film.flv,
      "AudioWAV/1001_DFA_ANG_XX.wav": film.wav,
      "AudioMP3/1001_DFA_ANG_XX.mp3": film.mp3,
      "VideoFlash/1001_IEO_HAP_HI.flv": film.flv,
      "AudioMP3/1001_IEO_HAP_HI.mp3": film.mp3,
      "VideoFlash/1001_IEO_SAD_LO.flv": film.cut_off,
      "AudioWAV/1001_IEO_SAD_LO.wav": film.wav,
      "VideoFlash/1007_IEO_NEU_XX.flv": film.flv,
      "AudioWAV/1007_TIE_DIS_XX.wav": film.wav,
      "VideoFlash/1076_MTI_SAD_XX.flv": film.flv,
      "VideoFlash/1040_ITH_SAD_XX.flv": film.flv,
      "AudioWAV/1040_ITH_SAD_X.wav": film.wav,  # of an old copy
      "VideoFlash/1234_DFA_ANG_XX.flv": film.flv,
      "processedResults/summaryTable.csv": "votes",
    },
  )


def test_the_official_layout(official, prepare_twice, labels):
  survey = crema_d.survey(official, settings=SETTINGS)
  assert survey.gaps == [
    "1007_IEO_NEU_XX: no wav or mp3; the video's own sound is taken",
    "1007_TIE_DIS_XX: no video, only sound",
    "1076_MTI_SAD_XX: damaged in the official set, left out",
    "1090_WSI_FEA_MD: neither video nor sound",
    "VideoFlash/1234_DFA_ANG_XX.flv: not a name of CREMA-D",
  ]
  sounds = {t.clip: (t.records.sound or "none")[-3:] for t in survey.tasks}
  assert sounds == {
    "1001_DFA_ANG_XX": "wav",
    "1001_IEO_HAP_HI": "mp3",
    "1001_IEO_SAD_LO": "wav",
    "1007_IEO_NEU_XX": "one",
    "1040_ITH_SAD_XX": "wav",
  }
  made = prepare_twice(survey)
  assert made.rejects.keys() == {"1001_IEO_SAD_LO"}
  assert made.splits == {
    "1001_DFA_ANG_XX": "train",
    "1001_IEO_HAP_HI": "train",
    "1007_IEO_NEU_XX": "test",
    "1040_ITH_SAD_XX": "train",
  }
  assert {name: labels(r) for name, r in made.clips.items()} == {
    "1001_DFA_ANG_XX": ("angry", 0, "front"),
    "1001_IEO_HAP_HI": ("happy", 3, "front"),
    "1007_IEO_NEU_XX": ("neutral", 0, "front"),
    "1040_ITH_SAD_XX": ("sad", 0, "front"),
  }
  record = made.clips["1001_IEO_HAP_HI"]
  assert record.identity == record.session == "1001"
  assert record.source == "VideoFlash/1001_IEO_HAP_HI.flv"
  assert abs(record.audio.astype(int)).max() > 3000


@pytest.mark.parametrize("start", [".", "..", "VideoFlash", "AudioWAV"])
def test_any_floor_of_the_tree_will_do(official, start):
  found = crema_d.survey(official / start, settings=SETTINGS)
  assert len(found.tasks) == 5


def test_videos_of_another_format_in_any_folder(tmp_path, film, lay):
  lay(tmp_path, {"mp4/1002_TAI_FEA_MD.mp4": film.mp4})
  (task,) = crema_d.survey(tmp_path, settings=SETTINGS).tasks
  assert task.labels == Labels(4, 2, "front")


def test_every_code_of_a_name(tmp_path, lay):
  emotions = {
    "ANG": "angry",
    "DIS": "disgusted",
    "FEA": "fear",
    "HAP": "happy",
    "NEU": "neutral",
    "SAD": "sad",
  }
  levels = {"XX": 0, "LO": 1, "MD": 2, "HI": 3}
  sentences = "IEO TIE IOM IWW TAI MTI IWL ITH DFA ITS TSI WSI"
  expected = {
    f"1091_{sentence}_{code}_{degree}": (emotion, level)
    for sentence in sentences.split()
    for code, emotion in emotions.items()
    for degree, level in levels.items()
  }
  lay(tmp_path, {f"{name}.mp4": "" for name in expected})
  found = {
    task.clip: (spec.EMOTIONS[task.labels.emotion], task.labels.level)
    for task in crema_d.survey(tmp_path, settings=SETTINGS).tasks
  }
  assert found == expected


def test_what_the_authors_call_damaged_is_left_out(tmp_path, lay):
  damaged = (
    "1064_IEO_DIS_MD",
    "1064_TIE_SAD_XX",
    "1076_MTI_NEU_XX",
    "1076_MTI_SAD_XX",
  )
  lay(tmp_path, {f"{name}.flv": "" for name in (*damaged, "1001_DFA_ANG_XX")})
  survey = crema_d.survey(tmp_path, settings=SETTINGS)
  assert [task.clip for task in survey.tasks] == ["1001_DFA_ANG_XX"]
  assert [gap for gap in survey.gaps if "damaged" in gap] == [
    f"{name}: damaged in the official set, left out" for name in damaged
  ]


def test_pointers_of_git_lfs_are_told_from_files(tmp_path, lay):
  pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:92\n"
  lay(tmp_path, {"VideoFlash/1001_DFA_ANG_XX.flv": pointer})
  with pytest.raises(ValueError, match=r"ANG_XX.flv: only a Git LFS pointer"):
    crema_d.survey(tmp_path, settings=SETTINGS)


def test_what_is_still_packed_says_how_to_unpack(tmp_path, lay):
  lay(tmp_path, {"VideoFlash.zip": "PK"})
  with pytest.raises(
    ValueError, match=r"VideoFlash.zip: still packed; run unzip"
  ):
    crema_d.survey(tmp_path, settings=SETTINGS)


def test_what_is_not_there_is_one_line(tmp_path):
  with pytest.raises(ValueError, match="no CREMA-D here; expected VideoFlash"):
    crema_d.survey(tmp_path, settings=SETTINGS)


def test_the_stated_split():
  actors = "1007 1014 1021 1028 1035 1042 1049 1056 1063 1070 1077 1084 1091"
  assert sorted(splits.CREMA_D) == actors.split()
