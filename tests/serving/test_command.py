"""`speak serve` refuses what would be open to strangers."""

import os
import subprocess
import sys

import pytest

pytest.importorskip("fastapi", reason="no FastAPI here")


def refused(*words, token=""):
  """The one line that it ends with."""
  run = subprocess.run(
    [sys.executable, "-m", "speak_jax.serve", *words],
    capture_output=True,
    text=True,
    env={**os.environ, "SPEAK_SERVE_TOKEN": token},
    timeout=60,
  )
  assert run.returncode == 1
  (line,) = run.stderr.splitlines()
  return line


def test_other_hosts_need_a_token():
  for host in ("0.0.0.0", "example.org"):
    assert "needs --token-file" in refused("--host", host)


def test_a_token_is_long_and_there(tmp_path):
  (tmp_path / "empty").write_text("\n")
  assert "fewer than 16" in refused(token="secret")
  assert "empty" in refused("--token-file", str(tmp_path / "empty"))
  assert "No such file" in refused("--token-file", str(tmp_path / "none"))


def test_a_folder_that_is_no_bundle_is_refused(tmp_path):
  assert str(tmp_path) in refused("--model", str(tmp_path))
