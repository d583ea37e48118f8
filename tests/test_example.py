"""The portrait and the sentence that come along: small, whole, fit to talk."""

import os
import re
import shlex
import subprocess
import sys
import warnings
from pathlib import Path

from PIL import Image

from data_pipelines.faces.tracker import Tracker
from data_pipelines.media import mp4, video
from speak_jax import bundle
from speak_jax.common import files, packaged
from speak_jax.inference.inputs import Rules, read_photograph, read_speech
from speak_jax.provenance import examination
from speak_jax.provenance.marking import LAW, Marking, of_bundle
from speak_jax.provenance.watermark import code_of

ROOT = Path(__file__).parents[1]
MADE = re.compile(r"^speak generate .*--identity example.*$", re.MULTILINE)


def test_files_are_those_of_the_origin_that_is_told():
  text = (packaged.EXAMPLE / "README.md").read_text()
  told = dict(re.findall(r"^\| (\S+) \| ([0-9a-f]{64}) \|", text, re.MULTILINE))
  assert sorted(told) == ["portrait.jpg", "sentence.wav"]
  for name, digest in told.items():
    assert files.sha256(packaged.EXAMPLE / name) == digest
  assert packaged.PORTRAIT.stat().st_size <= 150e3
  assert packaged.SENTENCE.stat().st_size <= 200e3
  assert "assets/example" in (ROOT / "NOTICE").read_text()


def test_nothing_about_them_is_odd(face_models):
  """No warning: one face, frontal enough, sharp, a voice that is heard."""
  with warnings.catch_warnings():
    warnings.simplefilter("error")
    frame, mesh, alpha, _ = read_photograph(
      packaged.PORTRAIT, 25.0, Tracker(), Rules()
    )
    speech, _ = read_speech(packaged.SENTENCE, None)
  assert alpha is None
  assert min(frame.shape[:2]) >= 512
  assert mesh.shape == (468, 3)
  assert 3.0 < len(speech) / 16000 < 3.2


def test_the_readmes_moving_picture_moves_and_is_small():
  text = (ROOT / "README.md").read_text()
  path = ROOT / re.findall(r"!\[[^\]]*\]\(([^)]*\.webp)\)", text)[0]
  assert path.stat().st_size <= 1.5e6
  with Image.open(path) as picture:
    # Every second frame of the sentence's 77.
    assert (path.stem, getattr(picture, "n_frames", 1)) == ("example", 39)


def made(folder: Path, *words: str) -> subprocess.CompletedProcess:
  """The README's command, with more words."""
  (line,) = MADE.findall((ROOT / "README.md").read_text())
  command = shlex.split(line, comments=True)[1:]
  return subprocess.run(
    [sys.executable, "-m", "speak_jax", *command, *words],
    cwd=folder,
    env=os.environ | {"PYTHONPATH": str(ROOT)},
    capture_output=True,
    text=True,
  )


def test_a_video_says_that_it_is_synthetic_and_by_which_weights(
  face_models, tmp_path
):
  run = made(tmp_path, "--size", "256", "--no-watermark")
  assert run.returncode == 0, run.stderr
  assert run.stderr.startswith(f"warning: {LAW}\n")
  digest = bundle.digest(packaged.PHOTOGRAPH)
  known = {code_of(digest): "photograph"}
  (path,) = tmp_path.glob("*.mp4")
  bare = examination.examine(path, known)
  assert bare.manifest is not None and bare.manifest.says_synthetic
  assert bare.tags is not None and bare.tags.digest == digest
  assert not bare.mark.there
  mark = Marking(
    of_bundle(packaged.PHOTOGRAPH, bundle.read(packaged.PHOTOGRAPH))
  )
  frames = mark.frames(video.read_frames(path))
  mp4.write_video(tmp_path / "marked.mp4", frames)
  found = examination.examine(tmp_path / "marked.mp4", known)
  assert found.mark.there and found.weights == "photograph"


def test_the_readmes_command_makes_a_video_of_it(face_models, tmp_path):
  run = made(tmp_path, "--size", "128")
  assert run.returncode == 0, run.stderr
  (path,) = tmp_path.glob("*.mp4")
  info = video.probe(path)
  assert (info.frames, info.height) == (77, 128)
