"""What becomes of every awkward file, drawn or cut from recordings.

One table for `prepare` (videos) and one for `generate` (all of them, in the
roles where they make sense), through the media layer that both share. The
synthesizer is a stub, the files, the face tracker and the commands' own steps
are not. `tests/awkward.py` draws the files; shared/data/awkward has others of
the same names.
"""

import json
import re
import subprocess
import sys
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import soundfile

from data_pipelines.dataset.index import read_index
from data_pipelines.faces.tracker import Step, Track, Tracker
from data_pipelines.media import mp4, video
from data_pipelines.media.error import MediaError, MediaWarning
from speak_jax.inference.synthesizer import Synthesizer
from tests import glass, talking
from tests.awkward import MAKERS, Files
from tests.plain_face import mesh_of


class Prepared(NamedTuple):
  """What `prepare` makes of a video."""

  frames: tuple[int, ...]  # of its clips; none: rejected
  rejected: tuple[str, ...] = ()  # patterns of the lines of rejects.jsonl
  noted: tuple[str, ...] = ()  # patterns of the lines of notes.jsonl
  drawn: tuple[int, ...] = ()  # `frames` where the drawn file is another


PREPARED = {
  "audio_late_400ms": Prepared((79,)),  # of picture; the sound ends at 3.0 s
  "audio_longer_than_video": Prepared((53,)),  # cut to the picture
  "face_leaves": Prepared(
    (41, 25), ("1.76 to 3.84: no face", "under 25 frames"), drawn=(41, 26)
  ),
  "fps_29_97": Prepared((75,)),
  "no_audio": Prepared((), ("no audio track",)),
  "one_frame": Prepared((), ("no audio track",)),
  "rotated_phone": Prepared((75,)),
  "text_renamed": Prepared((), ("cannot be read",)),
  "tiny_96px": Prepared(
    (), (r"face too small \(2\d px, 64 needed\) from 0\.00",)
  ),
  "truncated_mid_stream": Prepared(
    (31,),
    noted=("breaks off after 30 of 75", "the sound breaks off"),
    drawn=(30,),
  ),
  "truncated_no_moov": Prepared((), ("cannot be read",)),
  "two_faces": Prepared(
    (100,), noted=("2 faces; the largest one is followed",)
  ),
  "very_dark": Prepared((75,)),
  "vfr": Prepared((100,)),
  "zero_byte": Prepared((), ("empty file",)),
}


class Generated(NamedTuple):
  """What `generate` makes of a file in a role."""

  role: str  # one of the four, or "drive" for pose and emotion at once
  frames: int = 0  # of the video; 0: refused
  said: str = ""  # pattern of the one line: the refusal, or a warning
  drawn: int = 0  # `frames` where the drawn file is another


SECOND = 25  # frames of the speech that is said where none is asked about
GENERATED = {
  "cmyk.jpg": [Generated("identity", SECOND)],
  "exif_rotated.jpg": [Generated("identity", SECOND)],
  "gray.jpg": [Generated("identity", SECOND)],
  "gray16.png": [Generated("identity", SECOND)],
  "no_face.png": [Generated("identity", said="no face found")],
  "palette.png": [Generated("identity", SECOND)],
  "rgba.png": [Generated("identity", SECOND)],
  "tiny.png": [Generated("identity", SECOND, "px and is enlarged to 64")],
  "truncated.jpg": [Generated("identity", said="cannot be read")],
  "two_people.jpg": [Generated("identity", SECOND, "2 faces; the largest")],
  "upside_down.jpg": [
    Generated("identity", SECOND, "upside down; turned upright")
  ],
  "clipped.wav": [Generated("audio", 100, r"\d\d% of the sound is clipped")],
  "empty.wav": [Generated("audio", said="holds no sound")],
  "float32_48k_stereo.wav": [Generated("audio", 75)],
  "noise_only.wav": [Generated("audio", 75)],
  "pcm24_44k.wav": [Generated("audio", 75)],
  "short_0p1s.wav": [Generated("audio", 2)],
  "silent.wav": [Generated("audio", 75, "silent; the mouth will rest")],
  "speech.mp3": [Generated("audio", 150)],
  "stereo_8k.wav": [Generated("audio", 125)],
  "audio_late_400ms.mp4": [Generated("audio", 75), Generated("drive", SECOND)],
  "audio_longer_than_video.mp4": [
    Generated("audio", 131),
    Generated("drive", SECOND),  # back and forth
  ],
  "face_leaves.mp4": [
    Generated("audio", 125),
    Generated("drive", 125, "no face from 1.76 to 3.84 s"),
  ],
  "fps_29_97.mp4": [Generated("audio", 75), Generated("drive", SECOND)],
  "no_audio.mp4": [
    Generated("audio", said="no audio track"),
    Generated("drive", SECOND),
  ],
  "one_frame.mp4": [
    Generated("audio", said="no audio track"),
    Generated("drive", SECOND, "a single picture; the head will keep still"),
  ],
  "rotated_phone.mp4": [Generated("audio", 75), Generated("drive", SECOND)],
  "text_renamed.mp4": [Generated("drive", said="cannot be read")],
  "tiny_96px.mp4": [
    Generated("pose", SECOND, "px and is enlarged to 64"),
    Generated("emotion", said=r"face too small \(2\d px\)"),
  ],
  "truncated_mid_stream.mp4": [
    Generated(
      "audio", 27, r"the sound breaks off after 1\.\d\d of 3\.00 s", drawn=30
    ),
    Generated("drive", SECOND, "breaks off after 30 of 75"),
  ],
  "truncated_no_moov.mp4": [Generated("drive", said="cannot be read")],
  "two_faces.mp4": [
    Generated("audio", 100),
    Generated("drive", SECOND, "2 faces; the largest"),
  ],
  "very_dark.mp4": [Generated("audio", 75), Generated("drive", SECOND)],
  "vfr.mp4": [Generated("audio", 100), Generated("drive", SECOND)],
  "zero_byte.mp4": [
    Generated("audio", said="empty file"),
    Generated("drive", said="empty file"),
  ],
}


def test_the_tables_name_every_file(awkward):
  assert len(MAKERS) == 35
  assert set(GENERATED) == set(MAKERS)
  assert {f"{n}.mp4" for n in PREPARED} == {n for n in MAKERS if ".mp4" in n}
  there = {path.name for path in awkward.everything().iterdir()}
  assert there - {"AWKWARD.md"} == set(MAKERS)


# --- prepare ---------------------------------------------------------------


@pytest.fixture(scope="module")
def prepared(awkward: Files, face_models, root, tmp_path_factory) -> Path:
  """A data set of them all, by the command; it says nothing but its lines."""
  out = tmp_path_factory.mktemp("awkward") / "set"
  done = subprocess.run(
    [
      *(sys.executable, "-m", "data_pipelines.prepare", "--source=folder"),
      *(f"--input={awkward.everything()}", f"--output={out}", "--size=64"),
      *("--workers=1", "--max-reject=0.9"),
    ],
    cwd=root,
    capture_output=True,
    text=True,
    timeout=300,
  )
  assert done.returncode == 0, done.stderr
  assert "Traceback" not in done.stderr
  return out


def lines(path: Path) -> list[dict]:
  return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("name", sorted(PREPARED))
def test_prepare(prepared, awkward, recordings, name):
  want = PREPARED[name]
  lengths = [
    row.frames
    for row in read_index(prepared)
    if re.fullmatch(rf"{name}(_\d+)?", row.clip)
  ]
  frames = want.drawn if want.drawn and recordings is None else want.frames
  assert tuple(lengths) == frames
  rejected = [x for x in lines(prepared / "rejects.jsonl") if x["clip"] == name]
  assert {x["file"] for x in rejected} <= {str(awkward.path(f"{name}.mp4"))}
  said = [
    x["reason"]
    if x["start"] is None
    else f"{x['start']:.2f} to {x['stop']:.2f}: {x['reason']}"
    for x in rejected
  ]
  assert bool(said) == bool(want.rejected)
  for part in want.rejected:
    assert any(re.search(part, line) for line in said), said
  notes = [x for x in lines(prepared / "notes.jsonl") if x["clip"] == name]
  assert len(notes) == len(want.noted)
  for part in want.noted:
    assert any(re.search(part, x["note"]) for x in notes), notes


# --- generate --------------------------------------------------------------


@pytest.fixture(scope="module")
def tracker(face_models) -> Tracker:
  return Tracker(face_models)


class Nowhere:
  """A tracker for a role that is not asked about: the face fills the file."""

  def track(self, frames, which="largest") -> Track:
    n = len(list(frames))
    points = np.random.default_rng(0).uniform(16, 80, (68, 2))
    return Track(
      np.repeat(points[None], n, 0).astype(np.float32),
      np.repeat(mesh_of(points)[None], n, 0),
      np.zeros((n, 3), np.float32),
      np.ones(n, bool),
      1,
    )

  def stream(self, frames, which="largest"):
    return _steps(self.track(frames))

  def votes(self, frame, which="largest", thorough=True):
    return np.array([2.0, 0, 0, 0])

  def boxes(self, frame):
    raise NotImplementedError


class Only:
  """A real tracker for one role, in the order generate asks them."""

  def __init__(self, tracker, role: str):
    self._tracker, self._role = tracker, role

  def track(self, frames, which="largest") -> Track:
    frames = list(frames)
    plain = all(frame.std() == 0 for frame in frames)  # the other role's
    return (Nowhere() if plain else self._tracker).track(frames, which)

  def stream(self, frames, which="largest"):
    return _steps(self.track(frames, which))

  def votes(self, frame, which="largest", thorough=True):
    plain = frame.std() == 0
    return (Nowhere() if plain else self._tracker).votes(frame, which)

  def boxes(self, frame):
    raise NotImplementedError


def _steps(track: Track):
  """The steps of a track that is there."""
  rows = zip(track.landmarks, track.mesh, track.pose, track.found, strict=True)
  for landmarks, mesh, pose, found in rows:
    yield Step(landmarks, mesh, pose, bool(found), track.faces, False)


@pytest.fixture(scope="module")
def others(tmp_path_factory) -> dict[str, Path]:
  """Unremarkable inputs for the roles that a file does not have."""
  folder = tmp_path_factory.mktemp("others")
  grey = np.full((96, 96, 3), 100, np.uint8)
  mp4.write_video(folder / "grey.mp4", np.repeat(grey[None], 25, 0))
  noise = np.random.default_rng(0).uniform(-0.3, 0.3, 16000 * 5)
  soundfile.write(folder / "short.wav", noise[:16000], 16000)
  soundfile.write(folder / "long.wav", noise, 16000)
  return {
    "grey": folder / "grey.mp4",
    "short": folder / "short.wav",
    "long": folder / "long.wav",
  }


@pytest.mark.parametrize(
  ("name", "want"),
  [(name, want) for name in sorted(GENERATED) for want in GENERATED[name]],
  ids=lambda x: x if isinstance(x, str) else x.role,
)
def test_generate(awkward, recordings, tracker, others, tmp_path, name, want):
  path = awkward.path(name)
  roles = dict.fromkeys(("identity", "pose", "emotion"), others["grey"])
  roles |= {"audio": others["short"], want.role: path}
  if roles.pop("drive", None):
    roles |= {"pose": path, "emotion": path}
  if want.role == "drive" and name == "face_leaves.mp4":
    # In the first second it has not left yet.
    roles["audio"] = others["long"]
  settings = glass.SETTINGS._replace(image=64, emotion=64)
  made = Synthesizer(glass.functions(), glass.VARIABLES, settings)
  reason = None
  with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always", MediaWarning)
    try:
      talking.generate(
        made,
        **roles,
        output=tmp_path / "out.mp4",
        tracker=Only(tracker, want.role),
        size=16,
        say=lambda line: None,
      )
    except MediaError as error:
      reason = str(error)
  about = [str(w.message) for w in caught if name in str(w.message)]
  assert all("\n" not in line for line in about)
  if want.frames == 0:
    assert reason is not None
    assert reason.startswith(f"{path}: ") and re.search(want.said, reason)
    assert "\n" not in reason
    assert list(tmp_path.iterdir()) == []  # nothing half-written
    return
  assert reason is None
  assert [x.name for x in tmp_path.iterdir()] == ["out.mp4"]
  frames = want.drawn if want.drawn and recordings is None else want.frames
  assert video.probe(tmp_path / "out.mp4").frames == frames
  if want.said:
    assert any(re.search(want.said, line) for line in about), about
  else:
    assert about == []
