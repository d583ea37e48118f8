"""One process at a time in a folder, and the next one waits for its end."""

import errno
import fcntl
import os
import subprocess
import sys
import threading

import pytest

from configs.speak import get_config
from speak_jax.common.lock import locked
from speak_jax.training.run import train

HOLDER = """
import sys, time
from pathlib import Path
from speak_jax.common.lock import locked
with locked(Path(sys.argv[1]), "other"):
  print("held", flush=True)
  time.sleep(600)
"""


@pytest.fixture
def other(tmp_path):
  """Another process that holds tmp_path/lock."""
  with subprocess.Popen(
    [sys.executable, "-c", HOLDER, str(tmp_path / "lock")],
    stdout=subprocess.PIPE,
    text=True,
  ) as process:
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()


def wait_for(condition):
  """Until something is so, at most half a minute."""
  ended = threading.Event()
  for _ in range(600):
    if condition():
      return
    ended.wait(0.05)
  raise AssertionError("it never was")


def test_the_next_one_says_that_it_waits_and_goes_on(tmp_path, other, capfd):
  entered = threading.Event()

  def enter():
    with locked(tmp_path / "lock", "mine"):
      entered.set()

  thread = threading.Thread(target=enter, daemon=True)
  thread.start()
  said = []
  wait_for(lambda: said.append(capfd.readouterr().err) or any(said))
  assert "".join(said) == (
    f"mine: waiting for another run ({tmp_path / 'lock'})\n"
  )
  assert not entered.is_set()
  other.kill()  # a lock is no file that outlives its process
  assert entered.wait(30)
  thread.join()


def test_several_share_it_but_not_with_one_that_does_not(tmp_path):
  path = tmp_path / "lock"
  with (
    locked(path, "a", shared=True),
    locked(path, "b", shared=True),
    path.open() as file,
    pytest.raises(BlockingIOError),
  ):
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
  with locked(path, "c"):
    pass


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_file_systems_without_locks_go_without(tmp_path, monkeypatch, code):
  def refuse(*_):
    raise OSError(code, os.strerror(code))

  monkeypatch.setattr(fcntl, "flock", refuse)
  entered = False
  with locked(tmp_path / "lock", "mine"):
    entered = True
  assert entered


def test_other_errors_are_not_lost(tmp_path, monkeypatch):
  def refuse(*_):
    raise OSError(errno.EIO, os.strerror(errno.EIO))

  monkeypatch.setattr(fcntl, "flock", refuse)
  with (
    pytest.raises(OSError, match="Input/output"),
    locked(tmp_path / "lock", "mine"),
  ):
    pass


def test_training_waits_for_the_one_that_has_its_run(tmp_path, other, capfd):
  """Two in one run would write each other's checkpoints."""
  config = get_config("small64")  # batches for one device or two
  result = []

  def begin():
    try:
      train(config, tmp_path)
    except ValueError as error:
      result.append(str(error))

  thread = threading.Thread(target=begin, daemon=True)
  thread.start()
  said = []
  wait_for(lambda: result or said.append(capfd.readouterr().err) or any(said))
  assert not result, result
  assert not (tmp_path / "config.json").exists()
  # What ends it here without a training: the other had a model of its own.
  (tmp_path / "irfd" / "checkpoints" / "3").mkdir(parents=True)
  (tmp_path / "config.json").write_text(
    '{"config": {"model": {"image": 128, "dtype": "float32"}}}',
    encoding="utf-8",
  )
  other.kill()
  thread.join(60)
  assert "was trained with another model." in result[0]
