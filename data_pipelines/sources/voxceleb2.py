"""VoxCeleb2: celebrities in interviews; picture and sound in two trees.

Official layout (Chung et al., Interspeech 2018), after unpacking
`vox2_dev_mp4_part*`, `vox2_test_mp4.zip` and the same of `aac`:

  dev/mp4/id00012/21Uxsk56VDQ/00001.mp4   224 px, 25 fps, cropped to the face
  dev/aac/id00012/21Uxsk56VDQ/00001.m4a
  test/mp4/..., test/aac/...; vox2_meta.csv: speaker, sex, dev or test

The archives of the test set hold `mp4` and `aac` without `test`, so folders'
names above the speakers count for nothing: a folder with speakers in it holds
sound if it is called aac or wav, else pictures. Flat copies have names such as
`id00530_9EtkaLUCdWM_00026.mp4`. There are no labels but the speaker.
"""

import os
import re
from collections.abc import Iterator

from data_pipelines.faces import cut
from data_pipelines.sources import splits, tree
from data_pipelines.sources.task import Labels, Licence, Survey, Task
from data_pipelines.sources.video import Video, task

LICENCE = Licence(
  "CC BY 4.0; the videos' owners keep their copyright",
  "https://www.robots.ox.ac.uk/~vgg/data/voxceleb/",
  "Name the authors of VoxCeleb2, and mind that neither the videos' owners "
  "nor the people shown were asked.",
)
META = "vox2_meta.csv"
_SPEAKER = re.compile(r"id\d{5}")
# YouTube's ids hold _ and - themselves, and have 11 characters.
_FLAT = re.compile(r"(id\d{5})[_#]([\w-]{11})[_#](\d{5})")
_SOUND = ("aac", "wav", "m4a")  # folders
_NO_LABELS = Labels()


def survey(root: str | os.PathLike, *, settings: cut.Settings) -> Survey:
  """All utterances by speaker, video and number, and what has no partner.

  Args:
    root: Folder with the trees of pictures and sound up to three levels down,
      one of these trees or its dev or test; or of flat names.
    settings: How videos become clips.

  Raises:
    ValueError: no such folder, nothing of VoxCeleb2 in it, or archives that
      are still packed.
  """
  top = tree.root(root)
  if os.path.basename(top) in ("mp4", *_SOUND):
    top = os.path.dirname(top)
  pictures, sounds, meta = _speakers(top)
  gaps: list[str] = []
  if pictures:
    tasks = list(_utterances(top, pictures, sounds, settings, gaps))
  else:
    tasks = list(_flat(top, settings, gaps))
  if not tasks:
    raise ValueError(
      f"{root}: no VoxCeleb2 here; expected "
      "dev/mp4/id00012/21Uxsk56VDQ/00001.mp4"
    )
  if meta is not None:
    gaps += _missing(meta, {task.identity for task in tasks})
  return Survey(tasks, gaps, LICENCE)


def _speakers(
  root: str,
) -> tuple[dict[str, str], dict[str, str], str | None]:
  """Speaker to folder, of pictures and of sound; and the meta file's path."""
  pictures: dict[str, str] = {}
  sounds: dict[str, str] = {}
  meta, archives = None, []
  for folder in tree.walk(root, 3, lambda name: not _SPEAKER.fullmatch(name)):
    name = os.path.basename(folder.path)
    if name == "txt":  # boxes of the faces, which `cut` finds itself
      continue
    into = sounds if name in _SOUND else pictures
    for speaker in filter(_SPEAKER.fullmatch, folder.folders):
      into.setdefault(speaker, os.path.join(folder.path, speaker))
    archives += [os.path.join(folder.path, x) for x in tree.packed(folder)]
    if META in folder.files:
      meta = os.path.join(folder.path, META)
  _refuse_packed(archives, pictures, sounds)
  return pictures, sounds, meta


def _refuse_packed(
  archives: list[str], pictures: dict[str, str], sounds: dict[str, str]
) -> None:
  """An archive whose speakers are in no folder is an error."""
  for path in archives:
    name = os.path.basename(path)
    unpacked = sounds if "aac" in name else pictures
    test = "test" in name
    if "vox2" in name and not any(
      (speaker in splits.VOXCELEB2) == test for speaker in unpacked
    ):
      whole = re.sub(r"_part\w+$", "", path)
      parts = f"cat {whole}_part* > {whole}.zip && " if whole != path else ""
      whole = whole.removesuffix(".zip")
      raise ValueError(
        f"{path}: still packed; run {parts}unzip {whole}.zip -d "
        f"{os.path.dirname(path)}"
      )


def _utterances(
  root: str,
  pictures: dict[str, str],
  sounds: dict[str, str],
  settings: cut.Settings,
  gaps: list[str],
) -> Iterator[Task]:
  if not sounds:
    gaps.append("no aac: the videos' own sound is taken")
  for speaker in sorted(pictures.keys() | sounds.keys()):
    shown, heard = pictures.get(speaker), sounds.get(speaker)
    if shown is None:
      gaps.append(f"{speaker}: no mp4 of this speaker, only sound")
      continue
    if heard is None and sounds:
      gaps.append(f"{speaker}: no m4a of this speaker")
    films = tree.look(shown).folders
    spoken = tree.look(heard).folders if heard else []
    gaps += [
      f"{speaker}/{film}: no mp4, only sound"
      for film in spoken
      if film not in films
    ]
    for film in films:
      place = os.path.join(shown, film)
      clips = tree.stems(tree.look(place), tree.VIDEO)
      voices: dict[str, str] = {}
      if heard and film in spoken:
        voices = tree.stems(tree.look(os.path.join(heard, film)), tree.SOUND)
      if heard and not voices:
        gaps.append(f"{speaker}/{film}: no m4a of this video")
      for stem in sorted(clips.keys() | voices.keys()):
        clip = f"{speaker}/{film}/{stem}"
        if stem not in clips:
          gaps.append(f"{clip}: no mp4, only sound")
          continue
        sound = None
        if stem in voices:
          sound = os.path.join(heard or "", film, voices[stem])
        elif voices:
          gaps.append(f"{clip}: no m4a")
        path = os.path.join(place, clips[stem])
        yield _task(root, path, sound, clip, speaker, film, settings)


def _flat(root: str, settings: cut.Settings, gaps: list[str]) -> Iterator[Task]:
  """Clips whose speaker is in their names; sound beside them, if any."""
  for stem, path, sound in tree.flat(root):
    match = _FLAT.fullmatch(stem)
    if match is None:
      gaps.append(f"{os.path.relpath(path, root)}: not a name of VoxCeleb2")
      continue
    clip = "/".join(match.groups())
    yield _task(root, path, sound, clip, match[1], match[2], settings)


def _task(
  root: str,
  path: str,
  sound: str | None,
  clip: str,
  speaker: str,
  film: str,
  settings: cut.Settings,
) -> Task:
  """The task of one utterance."""
  video = Video(root, path, sound, clip, speaker, film, _NO_LABELS, settings)
  return task(video, "test" if speaker in splits.VOXCELEB2 else "train")


def _missing(meta: str, speakers_here: set[str]) -> list[str]:
  """Speakers of the meta file without a clip; a set that lacks all is a line.

  The file's columns are padded with blanks: `id00012 ,n000012 ,m ,dev `.
  """
  sets: dict[str, list[str]] = {"dev": [], "test": []}
  with open(meta, encoding="utf-8") as file:
    for line in file:
      fields = [field.strip() for field in line.split(",")]
      if _SPEAKER.fullmatch(fields[0]) and fields[-1] in sets:
        sets[fields[-1]].append(fields[0])
  gaps = []
  for name, speakers in sets.items():
    lost = [speaker for speaker in speakers if speaker not in speakers_here]
    if lost and len(lost) == len(speakers):
      gaps.append(f"{name}: none of its {len(lost)} speakers")
    else:
      gaps += [
        f"{speaker}: no folder of this {name} speaker" for speaker in lost
      ]
  return gaps
