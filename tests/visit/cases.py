"""Which file goes where: every file in every place, the wrong ones too."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import soundfile
from PIL import Image

from speak_jax.common import packaged

ROLES = ("identity", "audio", "pose", "emotion")


class Case(NamedTuple):
  """One file in one place; what comes along is the package's example."""

  name: str  # FOLDER/FILE, as people are told
  path: Path
  role: str  # of ROLES
  inputs: dict[str, Path]  # by role; a picture and a sound at least

  @property
  def stamp(self) -> str:
    """Size and time of the file: another file of the same name is new."""
    status = self.path.stat()
    return f"{status.st_size}-{status.st_mtime_ns}"


def every(
  folders: Iterable[Path], plain: Mapping[str, Path], only: str = ""
) -> tuple[list[Case], list[str]]:
  """Finds all files below folders, whatever they are called.

  Args:
    folders: Links in them are followed to files, not to folders.
    plain: What stands in the other places, by role.
    only: Left out is whose "NAME ROLE" does not hold this.

  Returns:
    The cases, by folder and file, and the folders' names.

  Raises:
    ValueError: two folders have one name, or a folder holds no file.
  """
  cases: list[Case] = []
  names: list[str] = []
  for folder in folders:
    name = folder.resolve().name
    if name in names:
      raise ValueError(f"{folder}: a second folder called {name}")
    names.append(name)
    found = sorted(
      Path(place) / file
      for place, _, files in os.walk(folder)
      for file in files
    )
    if not found:
      raise ValueError(f"{folder}: no files")
    for path in found:
      label = f"{name}/{path.relative_to(folder).as_posix()}"
      for role in ROLES:
        if only in f"{label} {role}":
          cases.append(Case(label, path, role, {**plain, role: path}))
  return cases, names


def write_plain(folder: Path, seconds: float) -> dict[str, Path]:
  """Writes the example's portrait and the begin of its sentence.

  Under names and with bytes of their own: a folder may hold the example.
  """
  out = {
    "identity": folder / "example_portrait.png",
    "audio": folder / "example_voice.wav",
  }
  with Image.open(packaged.PORTRAIT) as image:
    image.save(out["identity"])
  sound, rate = soundfile.read(packaged.SENTENCE, dtype="int16")
  soundfile.write(out["audio"], sound[: round(seconds * rate)], rate)
  return out


def spread(cases: Sequence[Case], count: int) -> list[Case]:
  """At most `count` of them, evenly spread."""
  if count >= len(cases):
    return list(cases)
  return [cases[i * len(cases) // count] for i in range(count)]
