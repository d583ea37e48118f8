"""No command replaces what it reads, or finds out at the end that it cannot.

And a command that is stopped leaves nothing.
"""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import soundfile

from data_pipelines.media import mp4, video
from data_pipelines.media.audio import RATES_HZ
from data_pipelines.media.limits import LIMITS
from data_pipelines.synthetic import demo_inputs
from speak_jax import bundle, generate
from speak_jax.common import outputs
from speak_jax.common.files import FileError
from speak_jax.inference import crops
from speak_jax.inference import inputs as reading
from speak_jax.inference.request import MAX_SIDE_PX
from speak_jax.inference.synthesizer import Synthesizer
from tests import glass, talking
from tests.reported.voices import RATE, voice

MP4 = (".mp4",)


@pytest.fixture
def there(tmp_path, monkeypatch) -> Path:
  """A working directory with an input, links to it, a bundle, a folder."""
  monkeypatch.chdir(tmp_path)
  (tmp_path / "pose.mp4").write_bytes(b"mine")
  (tmp_path / "link.mp4").symlink_to("pose.mp4")
  (tmp_path / "hard.mp4").hardlink_to(tmp_path / "pose.mp4")
  (tmp_path / "folder.mp4").mkdir()
  (tmp_path / "bundle" / "stablehlo").mkdir(parents=True)
  (tmp_path / "also").symlink_to("bundle")
  os.mkfifo(tmp_path / "pipe.mp4")
  return tmp_path


@pytest.mark.parametrize(
  ("name", "line"),
  [
    ("pose.mp4", "would replace the input"),
    ("./bundle/../pose.mp4", "would replace the input"),
    ("{there}/pose.mp4", "would replace the input"),
    ("link.mp4", "would replace the input"),
    ("hard.mp4", "would replace the input"),
    ("bundle/out.mp4", "lies in the input"),
    ("bundle/stablehlo/out.mp4", "lies in the input"),
    ("also/out.mp4", "lies in the input"),
    ("out.mkv", "the output is mp4; name it so"),
    ("out", "the output is mp4; name it so"),
    ("", "the output is mp4; name it so"),
    ("none/out.mp4", "no folder none"),
    ("pose.mp4/out.mp4", "no folder pose.mp4"),
    ("folder.mp4", "is a folder"),
    ("pipe.mp4", "is not a regular file"),
    ("x" * 300 + ".mp4", "cannot be written (File name too long)"),
  ],
)
def test_what_must_not_be_written_is_refused(there, name, line):
  name = name.format(there=there)
  before = sorted(there.rglob("*"))
  with pytest.raises(FileError) as error:
    outputs.check_file(name, ["pose.mp4", "bundle", "none.wav"], MP4)
  assert line in str(error.value) and str(error.value).startswith(name)
  assert sorted(there.rglob("*")) == before
  assert (there / "pose.mp4").read_bytes() == b"mine"


@pytest.mark.parametrize("name", ["new.mp4", "NEW.MP4", "old.mp4", "gone.mp4"])
def test_what_may_be_written_is_not(there, name):
  (there / "old.mp4").write_bytes(b"earlier")
  (there / "gone.mp4").symlink_to("nowhere")
  before = sorted(there.rglob("*"))
  outputs.check_file(name, ["pose.mp4", "bundle"], MP4)
  assert sorted(there.rglob("*")) == before


@pytest.mark.parametrize(
  ("name", "line"),
  [
    ("bundle", "is an input, and would be written into"),
    ("also", "is an input, and would be written into"),
    ("bundle/new/report", "lies in the input"),
    ("pose.mp4", "is not a folder"),
    ("pose.mp4/report", "is not a folder"),
    ("", "a folder without a name"),
    ("new/" + "x" * 300, "cannot be written (File name too long)"),
  ],
)
def test_folders_are_refused_alike(there, name, line):
  with pytest.raises(FileError) as error:
    outputs.check_folder(name, [], sealed=["bundle"])
  assert line in str(error.value)
  outputs.check_folder("report/of/today", ["pose.mp4"], sealed=["bundle"])
  assert not (there / "report").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_refused(there):
  (there / "bundle").chmod(0o555)
  with pytest.raises(FileError, match=r"cannot be written .Permission denied"):
    outputs.check_file("bundle/out.mp4", [], MP4)
  with pytest.raises(FileError, match=r"cannot be written .Permission denied"):
    outputs.check_folder("bundle/new", [])


def test_a_folder_that_takes_no_file_is_refused(there, monkeypatch):
  """As root sees a read-only one."""

  def refuse(path, **rest):
    raise OSError(30, "Read-only file system", str(path))

  monkeypatch.setattr(Path, "touch", refuse)
  with pytest.raises(FileError, match=r"cannot be written .Read-only file sys"):
    outputs.check_file("out.mp4", [], MP4)
  with pytest.raises(FileError, match=r"cannot be written .Read-only file sys"):
    outputs.check_folder("new/report", [])


NAMES = (
  "12:30 take.mp4",
  "x" * 240 + ".mp4",
  "ü" * 120 + ".mp4",
  "-o.mp4",
  " a  b .mp4",
  "名前 🎤.mp4",
  "%03d.mp4",
  "pipe:1.mp4",
  "a\nb.mp4",
  'it\'s "so".mp4',
  os.fsdecode(b"caf\xe9.mp4"),
)


@pytest.mark.parametrize("name", NAMES, ids=ascii)
@pytest.mark.parametrize("folder", ["", "12:30/"])
def test_every_legal_name_works(tmp_path, monkeypatch, name, folder):
  monkeypatch.chdir(tmp_path)
  Path("12:30").mkdir()
  frames = np.zeros((3, 16, 16, 3), np.uint8)
  outputs.check_file(folder + name, [], MP4)
  assert mp4.write_video(folder + name, frames) == 3
  assert os.listdir(folder or ".") == [name] if folder else True
  assert video.probe(folder + name).frames == 3


def test_a_failed_write_leaves_nothing(tmp_path):
  def frames():
    yield np.zeros((16, 16, 3), np.uint8)
    raise KeyboardInterrupt

  with pytest.raises(KeyboardInterrupt):
    mp4.write_video(tmp_path / "out.mp4", frames())
  assert list(tmp_path.iterdir()) == []


# --- generate --------------------------------------------------------------


@pytest.fixture
def inputs(tmp_path) -> dict[str, Path]:
  grey = np.full((25, 96, 96, 3), 100, np.uint8)
  for name in ("pose.mp4", "emotion.mp4"):
    mp4.write_video(tmp_path / name, grey)
  cv2.imwrite(str(tmp_path / "identity.png"), grey[0])
  soundfile.write(tmp_path / "speech.wav", voice(), RATE)
  (tmp_path / "link.png").symlink_to("identity.png")
  return {
    "identity": tmp_path / "identity.png",
    "audio": tmp_path / "speech.wav",
    "pose": tmp_path / "pose.mp4",
    "emotion": tmp_path / "emotion.mp4",
  }


class Never:
  """A tracker that is not asked: nothing has been read."""

  def track(self, frames, which="largest"):
    raise AssertionError

  stream = votes = boxes = track


@pytest.mark.parametrize(
  ("output", "sheet", "line"),
  [
    ("pose.mp4", None, "would replace the input"),
    ("emotion.mp4", None, "would replace the input"),
    ("out.mp4", "identity.png", "would replace the input"),
    ("out.mp4", "link.png", "would replace the input"),
    ("out.mp4", "none/sheet.png", "no folder"),
    ("out.mp4", "sheet.jpg", "the output is png; name it so"),
    (
      "out.avi",
      None,
      "the output is mp4 or .mov or .webm or a folder/; name it so",
    ),
  ],
)
def test_generate_refuses_before_the_work(inputs, output, sheet, line):
  folder = inputs["pose"].parent
  before = {path: path.read_bytes() for path in folder.iterdir()}
  made = Synthesizer(glass.functions(), glass.VARIABLES, glass.SETTINGS)
  with pytest.raises(FileError, match=line):
    talking.generate(
      made,
      **inputs,
      output=folder / output,
      sheet=folder / sheet if sheet else None,
      tracker=Never(),
      size=16,
      say=lambda line: None,
    )
  assert {path: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize(
  ("output", "sheet"),
  [("ok_pose.mp4", None), ("out.mp4", "ok_identity.png")],
)
def test_the_reported_files_stay(reported, tmp_path, output, sheet):
  roles = {
    "identity": "ok_identity.png",
    "audio": "voice_normal.wav",
    "pose": "ok_pose.mp4",
    "emotion": "ok_emotion.mp4",
  }
  for name in roles.values():
    (tmp_path / name).write_bytes((reported / name).read_bytes())
  made = Synthesizer(glass.functions(), glass.VARIABLES, glass.SETTINGS)
  with pytest.raises(FileError, match="would replace the input"):
    talking.generate(
      made,
      **{role: tmp_path / name for role, name in roles.items()},
      output=tmp_path / output,
      sheet=tmp_path / sheet if sheet else None,
      tracker=Never(),
      size=16,
      say=lambda line: None,
    )
  assert {x.name: x.read_bytes() for x in tmp_path.iterdir()} == {
    name: (reported / name).read_bytes() for name in roles.values()
  }


@pytest.mark.parametrize("role", ["identity", "audio", "pose", "emotion"])
def test_an_input_that_is_not_there_is_said_before_the_work(inputs, role):
  made = Synthesizer(glass.functions(), glass.VARIABLES, glass.SETTINGS)
  missing = inputs[role].with_name("none.mp4")
  with pytest.raises(FileError, match=r"none\.mp4: no such file"):
    talking.generate(
      made,
      **(inputs | {role: missing}),
      output=missing.with_name("out.mp4"),
      tracker=Never(),
      size=16,
      say=lambda line: None,
    )


# --- the commands ----------------------------------------------------------


def command(cwd: Path, root: Path, *words) -> subprocess.Popen:
  return subprocess.Popen(
    [sys.executable, "-m", *map(str, words)],
    cwd=cwd,
    env=os.environ | {"PYTHONPATH": str(root)},
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )


@pytest.mark.parametrize(
  ("words", "code", "line"),
  [
    (
      "speak_jax.generate --identity=a.png --audio=a.wav --pose=a.mp4"
      " -o link.mp4",
      1,
      "link.mp4: would replace the input a.mp4",
    ),
    (
      "speak_jax.evaluate --model=set --out=set",
      1,
      "set: is an input, and would be written into",
    ),
    (
      "speak_jax.evaluate --model=none --data=mine=set --out=set/report",
      1,
      "set/report: lies in the input set",
    ),
    (
      "speak_jax.export --workdir=set --out=./set/../set",
      1,
      "set: is an input, and would be written into",
    ),
    (
      "speak_jax.tools.study --collect=a.md --out=a.md",
      1,
      "a.md: would replace the input a.md",
    ),
    (
      "speak_jax.tools.train_judge --out=a.png",
      1,
      "a.png: the output is safetensors",
    ),
    (
      "data_pipelines.prepare --source=folder --input=set --output=set",
      1,
      "set: is an input, and would be written into",
    ),
    (
      "data_pipelines.inspect set --sheet=set/a.png",
      1,
      "set/a.png: lies in the input set",
    ),
    (
      "data_pipelines.inspect set --play=0 --out=set/a.mp4",
      1,
      "set/a.mp4: lies in the input set",
    ),
    (
      "data_pipelines.synthetic.sheet --out=a.md",
      1,
      "a.md: the output is png",
    ),
  ],
  ids=lambda x: x.split()[0] if isinstance(x, str) and "--" in x else "",
)
def test_every_command_refuses_in_a_line(tmp_path, root, words, code, line):
  (tmp_path / "set").mkdir()
  for name in ("a.png", "a.wav", "a.mp4", "a.md", "set/a.png", "set/a.mp4"):
    (tmp_path / name).write_bytes(b"mine")
  (tmp_path / "link.mp4").symlink_to("a.mp4")
  before = sorted(tmp_path.rglob("*"))
  done = command(tmp_path, root, *words.split())
  _, said = done.communicate(timeout=300)
  assert done.returncode == code, said
  assert said.count("\n") == 1 and line in said
  assert sorted(tmp_path.rglob("*")) == before
  assert all(x.read_bytes() == b"mine" for x in before if x.is_file())


@pytest.mark.parametrize("when", ["at once", "in the work"])
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("model", ["photograph", "reference"])
def test_a_signal_ends_generate_in_a_line(
  tmp_path, root, face_models, model, name, when
):
  person = demo_inputs.clip(0, 0, "neutral", 1, seconds=0.2)
  (tmp_path / "face.jpg").write_bytes(person.frames[0])
  soundfile.write(tmp_path / "a.flac", np.tile(voice(), 200), RATE)
  number = getattr(signal, name)
  running = command(
    *(tmp_path, root, "speak_jax.generate", "--identity=face.jpg"),
    *("--audio=a.flac", "-o", "out.mp4", "--size=512", f"--model={model}"),
  )
  if when == "at once":
    time.sleep(0.5)
  else:
    deadline = time.monotonic() + 200
    while not list(tmp_path.glob(".*partial*")):
      assert time.monotonic() < deadline and running.poll() is None
      time.sleep(0.05)
  running.send_signal(number)
  _, said = running.communicate(timeout=60)
  assert running.returncode == 128 + number, said
  assert "Traceback" not in said
  (last,) = [x for x in said.splitlines() if "stopped" in x]
  assert last.endswith(f"stopped by {name}") and said.endswith(f"{last}\n")
  assert sorted(x.name for x in tmp_path.iterdir()) == ["a.flac", "face.jpg"]


def test_help_says_what_is_limited():
  said = " ".join((generate.__doc__ or "").split())
  for limit in (
    f"{LIMITS.seconds / 3600:g} hours",
    f"{LIMITS.file_bytes >> 30} GiB",
    f"{LIMITS.side_px} px and {LIMITS.pixels / 1e6:.1f} megapixels",
    f"({LIMITS.image_pixels / 1e6:.0f} of a picture",
    f"{LIMITS.audio_rate_hz / 1000:g} kHz, faces",
    f"at least {crops.MIN_SIDE_PX} px",
    f"16 to {MAX_SIDE_PX} px",
    f"at its rate ({RATES_HZ[-1] / 1000:g} kHz at most)",
  ):
    assert limit in said, limit
  assert reading.SEARCH_S == 10 and "the ten seconds" in said


@pytest.mark.parametrize("role", ["identity", "audio", "pose", "emotion"])
@pytest.mark.parametrize(
  ("given", "line"), [("", "a file without a name"), (".", "is a folder")]
)
def test_an_input_that_is_no_file_is_said(inputs, role, given, line):
  folder = inputs["pose"].parent
  with pytest.raises(FileError, match=f"^{re.escape(given)}: {line}$"):
    reading.check_files(
      [*(inputs | {role: given}).values()], folder / "out.mp4", None
    )


def test_a_packed_bundle_is_to_be_unpacked(tmp_path):
  (tmp_path / "bundle.zip").write_bytes(b"PK")
  with pytest.raises(bundle.BundleError, match=r"\.zip: a file; .*unpack it"):
    bundle.read(tmp_path / "bundle.zip")
