"""CREMA-D: 91 actors say 12 sentences with six emotions.

Official layout (github.com/CheyneyComputerScience/CREMA-D):

  VideoFlash/1001_DFA_ANG_XX.flv   actor, sentence, emotion, level
  AudioWAV/1001_DFA_ANG_XX.wav     the same sound, converted by the authors
  AudioMP3/1001_DFA_ANG_XX.mp3
  SentenceFilenames.csv            the names of all 7,442 clips

Videos that were turned into another format are taken from any folder. The
six emotions are six of MEAD's eight by their names; contempt and surprise do
not occur. Levels LO, MD, HI are 1, 2, 3; XX is not specified: 0.
"""

import csv
import os
import re

from data_pipelines.faces import cut
from data_pipelines.sources import splits, tree
from data_pipelines.sources.task import Labels, Licence, Survey
from data_pipelines.sources.video import Video, task
from speak_jax import spec
from speak_jax.common.files import is_lfs_pointer

LICENCE = Licence(
  "Open Database License 1.0, contents under DbCL 1.0",
  "http://opendatacommons.org/licenses/odbl/1.0/",
  "CREMA-D may be used and shared, data made from it under the same licence; "
  "name its authors.",
)
NAMES = "SentenceFilenames.csv"
EMOTIONS = {
  "ANG": "angry",
  "DIS": "disgusted",
  "FEA": "fear",
  "HAP": "happy",
  "NEU": "neutral",
  "SAD": "sad",
}
LEVELS = {"LO": 1, "MD": 2, "HI": 3, "XX": 0}
SENTENCES = "IEO|TIE|IOM|IWW|TAI|MTI|IWL|ITH|DFA|ITS|TSI|WSI"
# Named by the authors' README: two next to empty, one without a length, one
# of a minute in which every emotion is shown.
DAMAGED = frozenset(
  ("1076_MTI_NEU_XX", "1076_MTI_SAD_XX", "1064_TIE_SAD_XX", "1064_IEO_DIS_MD")
)
# An old copy has 1040_ITH_SAD_X.wav.
_NAME = re.compile(
  rf"(10\d\d)_({SENTENCES})_({'|'.join(EMOTIONS)})"
  rf"_({'|'.join(LEVELS)}|X)"
)


def survey(root: str | os.PathLike, *, settings: cut.Settings) -> Survey:
  """All clips by name, and what has no partner or is not there.

  Args:
    root: The repository's folder, or one above or below it.
    settings: How videos become clips.

  Raises:
    ValueError: no such folder, nothing of CREMA-D in it, or files that Git
      LFS or an archive still holds.
  """
  top = tree.root(root)
  if os.path.basename(top) in ("VideoFlash", "AudioWAV", "AudioMP3"):
    top = os.path.dirname(top)
  videos: dict[str, str] = {}
  sounds: dict[str, str] = {}
  gaps, listed, archives = [], None, []
  for folder in tree.walk(top, 3):
    for into, suffixes in ((videos, tree.VIDEO), (sounds, tree.SOUND)):
      for stem, name in tree.stems(folder, suffixes).items():
        path = os.path.join(folder.path, name)
        whole = f"{stem}X" if stem.endswith("_X") else stem
        if not _NAME.fullmatch(stem) or not _actor(whole):
          gaps.append(f"{os.path.relpath(path, top)}: not a name of CREMA-D")
        elif whole not in into or name.endswith(".wav"):  # before its mp3
          into[whole] = path
    archives += [os.path.join(folder.path, x) for x in tree.packed(folder)]
    if NAMES in folder.files:
      listed = os.path.join(folder.path, NAMES)
  if not videos:
    if archives:
      raise ValueError(
        f"{archives[0]}: still packed; run unzip {archives[0]} -d {top}"
      )
    raise ValueError(
      f"{root}: no CREMA-D here; expected VideoFlash/1001_DFA_ANG_XX.flv"
    )
  _refuse_pointers(videos, sounds)
  gaps += _missing(listed, videos, sounds)
  tasks = [
    task(
      _video(top, name, videos[name], sounds.get(name), settings), _split(name)
    )
    for name in sorted(videos)
    if name not in DAMAGED
  ]
  return Survey(tasks, sorted(gaps), LICENCE)


def _actor(name: str) -> bool:
  return 1001 <= int(name[:4]) <= 1091


def _split(name: str) -> str:
  return "test" if name[:4] in splits.CREMA_D else "train"


def _video(
  root: str,
  name: str,
  path: str,
  sound: str | None,
  settings: cut.Settings,
) -> Video:
  """The video of a clip, labels by its name."""
  actor, _, emotion, level = name.split("_")
  labels = Labels(
    spec.EMOTIONS.index(EMOTIONS[emotion]), LEVELS[level], "front"
  )
  # All videos of an actor are from one session.
  return Video(root, path, sound, name, actor, actor, labels, settings)


def _refuse_pointers(videos: dict[str, str], sounds: dict[str, str]) -> None:
  """Without Git LFS the repository has notes of 130 bytes for files."""
  for paths in (videos, sounds):
    for path in list(paths.values())[:1]:
      if is_lfs_pointer(path):
        raise ValueError(
          f"{path}: only a Git LFS pointer; run git lfs pull, or take the "
          "files from gitlab.com/cs-cooper-lab/crema-d-mirror"
        )


def _missing(
  listed: str | None, videos: dict[str, str], sounds: dict[str, str]
) -> list[str]:
  """Clips without a partner, known damage, and names that are nowhere."""
  gaps = []
  for name in videos.keys() | sounds.keys():
    if name in DAMAGED:
      gaps.append(f"{name}: damaged in the official set, left out")
    elif name not in videos:
      gaps.append(f"{name}: no video, only sound")
    elif name not in sounds:
      gaps.append(f"{name}: no wav or mp3; the video's own sound is taken")
  if listed is not None:
    with open(listed, encoding="utf-8", newline="") as file:
      names = [row.get("Filename") or "" for row in csv.DictReader(file)]
    gaps += [
      f"{name}: neither video nor sound"
      for name in names
      if name and name not in videos and name not in sounds
    ]
  return gaps
