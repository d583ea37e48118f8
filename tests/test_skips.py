"""A skip that is not expected fails the run of continuous integration."""

import os
import subprocess
import sys

import pytest

from tests import skips

TESTS = """
import pytest

def test_a(): pytest.skip("no browser here")
def test_b(): pytest.skip("no browser there")
@pytest.mark.skip(reason="not today")
def test_c(): pass
@pytest.mark.xfail(reason="known")
def test_d(): assert False
def test_e(): pass
"""
PLUGIN = """
from tests.skips import Floor

def pytest_configure(config):
  config.pluginmanager.register(Floor({}))
"""


@pytest.mark.parametrize(
  ("ci", "workers", "expected", "lines"),
  [
    ("true", 0, {"no browser": 2, "not today": 1}, []),
    ("true", 0, {"no browser": 2}, ["1 skipped, 0 expected: not today"]),
    (
      "true",
      2,
      {"no browser": 1, "not": 4},
      ["2 skipped, 1 expected: no browser"],
    ),
    ("", 0, {}, []),
  ],
)
def test_the_floor(tmp_path, root, ci, workers, expected, lines):
  (tmp_path / "test_some.py").write_text(TESTS)
  (tmp_path / "conftest.py").write_text(PLUGIN.format(expected))
  done = subprocess.run(
    [sys.executable, "-m", "pytest", "-n", str(workers), tmp_path],
    cwd=tmp_path,
    env=os.environ | {"PYTHONPATH": str(root), "CI": ci},
    capture_output=True,
    text=True,
    timeout=100,
  )
  said = [x for x in done.stdout.splitlines() if " expected: " in x]
  assert said == lines
  assert done.returncode == int(bool(lines)), done.stdout


@pytest.mark.parametrize(
  ("value", "is_ci"),
  [("true", True), ("1", True), ("False", False), ("", False)],
)
def test_who_is_continuous_integration(monkeypatch, value, is_ci):
  monkeypatch.setenv("CI", value)
  assert skips.in_ci() == is_ci
