"""The client and the minimal program, run as a reader would."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from speak_jax.common import packaged
from speak_jax.inference.motion_model import MotionModel
from tests.serving.ask import TOKEN

ROOT = Path(__file__).parents[2]
CALM = np.zeros(8, np.float32)


def run(name, *words, env=None):
  command = [sys.executable, str(ROOT / "examples" / name), *map(str, words)]
  return subprocess.run(
    command,
    check=True,
    capture_output=True,
    text=True,
    env={**os.environ, **(env or {})},
    timeout=120,
  ).stdout


@pytest.fixture
def files(tmp_path, face, voice):
  (tmp_path / "face.jpg").write_bytes(face)
  (tmp_path / "voice.wav").write_bytes(voice)
  return tmp_path


def test_the_client_makes_a_video(served, files):
  words = ("video", files / "face.jpg", files / "voice.wav", files / "out.mp4")
  more = ("--url", served.client.url, "--option", "size=64")
  said = run("serve_client.py", *words, *more, env={"SPEAK_SERVE_TOKEN": TOKEN})
  assert "wrote" in said
  assert (files / "out.mp4").read_bytes()[4:8] == b"ftyp"


@pytest.mark.parametrize("live", [False, True])
def test_the_client_streams(served, files, live):
  words = ("stream", files / "face.jpg", files / "voice.wav", files / "out")
  more = ["--url", served.client.url, "--option", "size=64"]
  env = {"SPEAK_SERVE_TOKEN": TOKEN}
  said = run(
    "serve_client.py", *words, *more, *(["--live"] if live else []), env=env
  )
  count = len(list((files / "out").glob("*.jpg")))
  assert f"{count} frames" in said
  assert count == 15 or (live and count >= 15)


def test_a_bundle_runs_with_jax_and_numpy_alone(files):
  sound, rate = soundfile.read(files / "voice.wav", dtype="int16")
  assert rate == 16_000
  words = (packaged.PHOTOGRAPH, files / "voice.wav", files / "points.npy")
  run("serve_minimal.py", *words)
  network = MotionModel.from_bundle(packaged.PHOTOGRAPH)
  n = network.length(sound)
  want = np.stack(list(network.stream(sound, [0.0] * n, CALM)))
  np.testing.assert_allclose(np.load(files / "points.npy"), want, atol=1e-6)
