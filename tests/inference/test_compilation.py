"""Compiled programs are kept for the user, and never run when damaged."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from speak_jax.common import files
from speak_jax.inference import compilation

ROOT = Path(__file__).parents[2]
SCRIPT = """
import json
import jax
from jax import monitoring
from speak_jax.inference import compilation
events = []
monitoring.register_event_listener(lambda name, **_: events.append(name))
compilation.LEAST_S = 0
compilation.keep()
found = float(jax.jit(lambda x: x * 2 + 1)(20.0))
hits = sum(x.endswith("/cache_hits") for x in events)
print(json.dumps([found, hits, jax.config.jax_compilation_cache_dir]))
"""


class Home:
  """A user's cache, and processes that use it."""

  def __init__(self, cache: Path):
    self.cache = cache
    self.programs = cache / "speak_jax" / "compiled"

  def run(self, **named: str) -> tuple[int, str | None]:
    """Programs that a process found, and the folder that it named."""
    kept = {k: v for k, v in os.environ.items() if "CACHE" not in k}
    run = subprocess.run(
      [sys.executable, "-W", "error", "-c", SCRIPT],
      cwd=ROOT,
      env=kept | {"XDG_CACHE_HOME": str(self.cache)} | named,
      capture_output=True,
      text=True,
      check=True,
    )
    assert not run.stderr
    found, hits, place = json.loads(run.stdout)
    assert found == 41.0
    return hits, place

  def files(self) -> list[Path]:
    return sorted(self.programs.glob("*-cache"))


@pytest.fixture
def home(tmp_path):
  return Home(tmp_path)


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
  """A cache that one process has filled, and what its files hold."""
  home = Home(tmp_path_factory.mktemp("cache"))
  assert home.run() == (0, str(home.programs))
  assert home.programs.stat().st_mode & 0o777 == 0o700
  content = {x: x.read_bytes() for x in home.programs.iterdir()}
  assert len(content) == 2 * len(home.files()) > 0
  return home, content


@pytest.fixture
def used(filled):
  """The same for each test; the folder's path is in the names of programs."""
  home, content = filled
  shutil.rmtree(home.programs)
  home.programs.mkdir(mode=0o700)
  for file, held in content.items():
    file.write_bytes(held)
  return home


def test_the_next_process_finds_them(used):
  before = used.files()
  assert used.run()[0] == len(before)
  assert used.files() == before


@pytest.mark.parametrize(
  "damage",
  [
    lambda x: x[:-1],
    lambda x: b"",
    lambda x: x[:99] + bytes([x[99] ^ 1]) + x[100:],
    lambda x: b"nothing of the kind",
  ],
  ids=["short", "empty", "bit", "other"],
)
def test_a_damaged_one_is_compiled_again(damage, used):
  before = used.files()
  for file in before:
    file.write_bytes(damage(file.read_bytes()))
  assert used.run()[0] == 0
  assert used.files() == before
  assert used.run()[0] == len(before)


def test_one_that_nobody_has_sealed_is_compiled_again(used):
  for file in used.files():
    compilation._sum_of(file).unlink()
  assert used.run()[0] == 0
  assert used.run()[0] == len(used.files())


def test_a_folder_that_others_write_to_is_not_used(used):
  used.programs.chmod(0o777)
  assert used.run() == (0, None)


def test_a_folder_that_cannot_be_made_is_none(home):
  home.programs.parent.write_text("a file in its place")
  assert home.run() == (0, None)


def test_one_that_is_named_is_used_as_it_is(home, tmp_path):
  own = str(tmp_path / "own")
  assert home.run(JAX_COMPILATION_CACHE_DIR=own) == (0, own)
  assert not home.programs.exists()


def test_the_oldest_go_first(tmp_path, monkeypatch):
  for age, name in enumerate(("new", "older", "oldest")):
    file = tmp_path / f"{name}-cache"
    file.write_bytes(b"x" * 10)
    files.write(compilation._sum_of(file), files.sha256(file))
    os.utime(file, (1e9 - age, 1e9 - age))
  monkeypatch.setattr(compilation, "MOST_BYTES", 25)
  compilation._tidy(tmp_path)
  left = sorted(x.name for x in tmp_path.iterdir())
  assert left == [
    "new-cache",
    "new-cache.sha256",
    "older-cache",
    "older-cache.sha256",
  ]
