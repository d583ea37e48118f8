"""`speak measure-photographs` from mp4 files to its report, or to one line."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from data_pipelines.faces.tracker import Tracker
from data_pipelines.media import decoder, mp4
from data_pipelines.media.audio import read_audio
from data_pipelines.synthetic import demo_inputs
from speak_jax.common import exit_codes, packaged
from speak_jax.evaluation.photographs import emotions
from speak_jax.evaluation.photographs.measure import STATIC, TRUTH
from speak_jax.inference.expression import EXPRESSIONS
from speak_jax.inference.motion_model import MotionModel
from tests import talking

ROOT = Path(__file__).parents[2]
MODULE = "speak_jax.tools.measure_photographs"
SIDE, SECONDS, RATE = 128, 1.0, 16_000


@pytest.fixture(scope="module")
def films(photograph, face_models, tmp_path_factory):
  """A folder: two clips of our own making, and three that cannot be measured.

  What speech does to their lips is what the bundle says; their heads follow a
  drawn person's.
  """
  folder = tmp_path_factory.mktemp("films")
  parts = tmp_path_factory.mktemp("parts")
  driver = demo_inputs.clip(0, 2, "neutral", 1, seconds=SECONDS)
  demo_inputs.video(parts / "driver.mp4", driver)
  Image.fromarray(photograph[0]).save(parts / "drawn.png")
  speech = read_audio(packaged.SENTENCE)
  model = MotionModel.from_bundle(packaged.PHOTOGRAPH)
  for i, (name, picture) in enumerate(
    {"a/one.mp4": packaged.PORTRAIT, "two.mp4": parts / "drawn.png"}.items()
  ):
    begin = round(i * SECONDS * RATE)
    words = speech[begin : begin + round(SECONDS * RATE)]
    soundfile.write(parts / "words.wav", words, RATE)
    (folder / name).parent.mkdir(exist_ok=True)
    talking.generate(
      model,
      identity=picture,
      audio=parts / "words.wav",
      pose=parts / "driver.mp4",
      output=folder / name,
      tracker=Tracker(face_models),
      size=2 * SIDE,
      framing="crop",
      say=lambda line: None,
    )
  frames = np.stack([*decoder.read_frames(folder / "two.mp4")])
  mp4.write_video(folder / "mute.mp4", frames)
  grey = np.full_like(frames, 128)
  mp4.write_video(folder / "nobody.mp4", grey, audio=speech[: 640 * len(grey)])
  mp4.write_video(folder / "short.mp4", frames[:5], audio=speech[: 640 * 5])
  (folder / "notes.txt").write_text("no clip")
  return folder


LEFT_OUT = [
  "mute.mp4: no audio track",
  "nobody.mp4: no face in the first frame",
  "short.mp4: 5 frames, fewer than 12",
]


@pytest.fixture(scope="module")
def report(films, tmp_path_factory):
  """(folder of the report, what was printed)."""
  folder = tmp_path_factory.mktemp("measured")
  done = subprocess.run(
    [
      *(sys.executable, "-m", MODULE, "--model=photograph", "--out=report"),
      *(f"--clips={films}", f"--size={SIDE}"),
    ],
    cwd=folder,
    env=os.environ | {"PYTHONPATH": str(ROOT)},
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stderr
  assert "Traceback" not in done.stderr
  return folder / "report", done.stdout


def test_the_report_is_whole(report):
  out, said = report
  files = ["metrics.json", "report.md", "sheet.png"]
  assert sorted(x.name for x in out.iterdir()) == files
  text = (out / "report.md").read_text()
  assert said == f"{text}\n"
  head, clips, _, *rest = [x for x in text.splitlines() if x]
  assert head == "# Photographs that are moved"
  assert clips.startswith(f"2 clips, 2 s, longer side {SIDE} px")
  assert rest[-3:] == [f"- Left out: {line}" for line in LEFT_OUT]
  found = json.loads((out / "metrics.json").read_text())
  assert found["clips"] == ["a/one.mp4", "two.mp4"]
  assert found["left out"] == LEFT_OUT
  assert found["seconds"] == pytest.approx(2 * SECONDS, abs=0.05)
  with Image.open(out / "sheet.png") as sheet:
    assert sheet.size == (6 * 128, 4 * 128)


def rows(report, title):
  """{row: {metric: value}} of a table."""
  tables = json.loads((report[0] / "metrics.json").read_text())["tables"]
  (table,) = [x for x in tables if x["title"].startswith(title)]
  first = next(iter(set(table["rows"][0]) & {"method", "asked"}))
  return {row[first]: row for row in table["rows"]}


def test_tables_have_the_rows_that_they_say(report):
  own = "Self-driven: "
  picture = rows(report, f"{own}the picture")
  assert list(picture) == ["photograph", STATIC, TRUTH]
  assert [row["clips"] for row in picture.values()] == [2, 2, 2]
  for reader in ("FaceMesh", "68 points"):
    motion = rows(report, f"{own}the motion, by {reader}")
    assert list(motion) == ["photograph", STATIC]
  for title in ("Cross-driven", "Emotion by name"):
    assert list(rows(report, title)) == ["photograph", STATIC]
  assert list(rows(report, "Speed and silence")) == ["photograph"]
  asked = rows(report, "Asked of photograph")
  assert list(asked) == [*emotions.ASKED, "as it is"]
  for row in asked.values():
    assert sum(row[x] for x in EXPRESSIONS) == pytest.approx(1)


def test_a_still_frame_and_the_truth_are_what_they_must_be(report):
  picture = rows(report, "Self-driven: the picture")
  still, true = picture[STATIC], picture[TRUTH]
  assert still["psnr_face_gain"] == still["psnr_gain"] == 0
  assert still["identity"] == 0 > still["identity_beyond"]
  assert true["sharpness"] == 1 and true["identity_beyond"] == 0
  assert true["psnr"] is None and 0 < true["identity"] < 0.4
  for title, tail in (("by FaceMesh", ""), ("by 68 points", "_2")):
    motion = rows(report, f"Self-driven: the motion, {title}")[STATIC]
    assert motion[f"f_lmd{tail}_over"] == motion[f"m_lmd{tail}_over"] == 1
    assert motion[f"f_lmd{tail}"] > 1 and motion[f"gap_r{tail}"] is None
  assert rows(report, "Emotion by name")[STATIC]["named"] == pytest.approx(0.2)


def test_what_made_the_clips_makes_them_again(report):
  """Lips of the clips are the model's own; so is the way heads are turned."""
  picture = rows(report, "Self-driven: the picture")["photograph"]
  assert picture["psnr_face_gain"] > 1 and picture["psnr_gain"] > 0.5
  assert picture["identity"] < 0.4
  motion = rows(report, "Self-driven: the motion, by FaceMesh")["photograph"]
  assert motion["f_lmd_over"] < 0.8
  assert motion["gap_r"] > 0.8 and motion["gap_r_gain"] > 0.3
  second = rows(report, "Self-driven: the motion, by 68 points")["photograph"]
  assert second["gap_r_2"] > 0.3 and second["gap_r_gain_2"] > 0.2
  speed = rows(report, "Speed and silence")["photograph"]
  assert speed["first"] > 0 and speed["rate"] > 1 and speed["silence"] < 0.3


def refusal(forked, folder, *words):
  """The one line with which it ends; nothing is written."""
  words = "--model=photograph", "--out=report", *words
  done = forked.run(MODULE, *words, cwd=folder)
  assert done.returncode in (1, exit_codes.BAD_CONFIG)
  assert not done.stdout and not (folder / "report").exists()
  lines = [x for x in done.stderr.splitlines() if not x.startswith("read ")]
  (line,) = lines
  return line


def test_refusals_are_a_line(films, forked, tmp_path):
  (tmp_path / "empty").mkdir()
  few = "error: {}: fewer than two clips to measure"
  line = refusal(forked, tmp_path, "--clips=empty")
  assert line == few.format("empty")
  line = refusal(forked, tmp_path, "--clips=nowhere")
  assert line == "error: nowhere: no such folder"
  line = refusal(forked, tmp_path, "--clips=empty", "films")
  assert line.startswith("error: films: unexpected argument")
  (tmp_path / "odd").mkdir()
  for name in ("mute", "nobody", "short"):
    shutil.copy(films / f"{name}.mp4", tmp_path / "odd")
  shutil.copy(films / "short.mp4", tmp_path / "odd" / "zzz.mp4")
  line = refusal(forked, tmp_path, "--clips=odd", f"--size={SIDE}")
  assert line == f"{few.format('odd')} ({'; '.join(LEFT_OUT)} and 1 more)"
