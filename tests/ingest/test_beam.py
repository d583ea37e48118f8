"""Apache Beam's way is compared with the usual one, where Beam is installed."""

import importlib.util
import subprocess
import sys

import pytest

FLAGS = (
  "--source=synthetic",
  "--identities=3",
  "--clips-per-identity=1",
  "--held-out=1",
  "--seconds=0.2",
  "--size=32",
)


def content(folder):
  return {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()}


def run(module, root, output, *options):
  command = [sys.executable, "-m", f"data_pipelines.{module}", *FLAGS]
  return subprocess.run(
    [*command, f"--output={output}", *options],
    cwd=root,
    capture_output=True,
    text=True,
    timeout=600,
  )


def test_without_beam_it_is_one_line(tmp_path, root):
  if importlib.util.find_spec("apache_beam"):
    pytest.skip("Apache Beam is installed")
  ran = run("ingest.beam", root, tmp_path / "data")
  assert ran.returncode == 1
  assert ran.stderr.splitlines() == [
    "prepare: Apache Beam is not installed; docs/preparing.md says how, in an "
    "environment of its own"
  ]


def test_the_direct_runner_gives_the_same_bytes(tmp_path, root):
  if not importlib.util.find_spec("apache_beam"):
    pytest.skip("no Apache Beam here: see launch/requirements-beam.txt")
  usual = run("prepare", root, tmp_path / "usual")
  assert usual.returncode == 0, usual.stderr
  for mode in ("in_memory", "multi_processing"):
    data = tmp_path / mode
    options = ("--runner=DirectRunner", f"--direct_running_mode={mode}")
    ran = run("ingest.beam", root, data, "--", *options)
    assert ran.returncode == 0, ran.stderr
    assert content(data) == content(tmp_path / "usual")
  assert len(content(data)) > 7
