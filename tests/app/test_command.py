"""`speak app`: what it refuses before it serves, and how it ends."""

import importlib.util
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HAS_GRADIO = importlib.util.find_spec("gradio") is not None


def fails(forked, *words):
  done = forked.run("speak_jax.app", *words)
  assert done.returncode == 1 and "Traceback" not in done.stderr
  (line,) = done.stderr.splitlines()
  return line


@pytest.fixture
def found(forked):
  if not HAS_GRADIO:
    pytest.skip("no Gradio here")
  return forked


def test_without_gradio_it_is_one_line(forked):
  if HAS_GRADIO:
    pytest.skip("Gradio is installed")
  assert "error: Gradio is not installed; pip install" in fails(forked)


@pytest.mark.parametrize(
  ("words", "line"),
  [
    (["--host=0.0.0.0"], "others can reach it, so it needs --password-file"),
    (["--host=::"], "others can reach it, so it needs --password-file"),
    (["--host=192.168.1.1"], "so it needs --password-file"),
    (["--host=example.org"], "is neither an IP address nor localhost"),
    (["--password-file=nowhere"], "nowhere: cannot be read"),
    (["--host=0.0.0.0", "--password-file=/dev/null"], "is no password of 8"),
    (["x"], "x: unexpected argument"),
  ],
)
def test_what_is_refused(found, words, line):
  assert line in fails(found, *words)


def test_a_port_that_is_taken(found):
  with socket.create_server(("127.0.0.1", 0)) as taken:
    port = taken.getsockname()[1]
    line = fails(found, f"--port={port}")
  assert f"--port {port}: cannot listen at 127.0.0.1" in line


def test_it_serves_and_leaves_nothing(face_models, tmp_path):
  if not HAS_GRADIO:
    pytest.skip("no Gradio here")
  process = subprocess.Popen(
    [sys.executable, "-m", "speak_jax", "app", "--port=0"],
    cwd=tmp_path,
    env=os.environ
    | {
      "TMPDIR": str(tmp_path),
      "PYTHONPATH": os.pathsep.join(
        [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
      ),
    },
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )
  try:
    assert process.stdout is not None
    line = process.stdout.readline()
    url = re.match(r"app: (http://127\.0\.0\.1:\d+/)", line)
    assert url, line + process.communicate(timeout=5)[1]
    local = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with local.open(url[1], timeout=20) as page:
      assert b"SPEAK" in page.read()
    assert list(tmp_path.glob("speak-app-*/uploads"))
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=20)
  finally:
    process.kill()
    process.wait()
  assert process.returncode == 130
  assert said.splitlines() == ["app: stopped by SIGINT"]
  assert not list(tmp_path.glob("speak-app-*"))
