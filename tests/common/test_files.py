import errno
import hashlib
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from data_pipelines.media.error import MediaError
from speak_jax import bundle
from speak_jax.common import files
from speak_jax.common.files import FileError

ROOT = Path(__file__).parents[2]


def names(folder):
  return sorted(x.name for x in folder.iterdir())


@pytest.mark.parametrize("content", [b"\0\xff", "na\u00efve\n"])
@pytest.mark.parametrize("sync", [True, False])
def test_content_is_replaced(tmp_path, content, sync):
  path = tmp_path / "a.json"
  for old in (None, b"old"):
    if old:
      path.write_bytes(old)
    files.write(path, content, sync=sync)
    wanted = content if isinstance(content, bytes) else content.encode()
    assert path.read_bytes() == wanted
  assert names(tmp_path) == ["a.json"]


@pytest.mark.parametrize("fails", ["fsync", "replace"])
def test_a_failure_leaves_the_old_content(tmp_path, monkeypatch, fails):
  path = tmp_path / "a.json"
  files.write(path, b"old")

  def fail(*arguments):
    raise OSError(errno.EIO, "Input/output error")

  monkeypatch.setattr(os, fails, fail)
  with pytest.raises(OSError, match="Input/output error"):
    files.write(path, b"new")
  assert path.read_bytes() == b"old" and names(tmp_path) == ["a.json"]


def test_what_the_caller_does_not_finish_is_gone(tmp_path):
  path = tmp_path / "a.mp4"

  def half():
    with files.replacing(path) as partial:
      assert partial.suffix == ".mp4" and partial.parent == tmp_path
      partial.write_bytes(b"half")
      raise KeyboardInterrupt

  with pytest.raises(KeyboardInterrupt):
    half()
  assert names(tmp_path) == []


def test_the_longest_name_that_there_is(tmp_path):
  path = tmp_path / ("a" * 251 + ".mp4")
  files.write(path, b"content")
  assert path.read_bytes() == b"content"


def test_content_and_rename_are_forced_to_the_disk(tmp_path, monkeypatch):
  forced = []
  real = os.fsync

  def fsync(handle):
    forced.append(os.readlink(f"/proc/self/fd/{handle}"))
    real(handle)

  monkeypatch.setattr(os, "fsync", fsync)
  files.write(tmp_path / "a", b"1")
  file, folder = forced
  assert file.startswith(f"{tmp_path}/.") and folder == str(tmp_path)
  files.write(tmp_path / "a", b"1", sync=False)
  assert len(forced) == 2


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOSPC])
def test_a_file_system_that_cannot_force_a_folder(
  tmp_path, monkeypatch, number
):
  real = os.fsync

  def fsync(handle):
    if os.path.isdir(f"/proc/self/fd/{handle}"):
      raise OSError(number, os.strerror(number))
    real(handle)

  monkeypatch.setattr(os, "fsync", fsync)
  if number == errno.EINVAL:
    files.write(tmp_path / "a", b"1")
  else:
    with pytest.raises(OSError, match="No space left"):
      files.write(tmp_path / "a", b"1")


@pytest.mark.parametrize("before", [False, True])
def test_a_folder_is_replaced_whole(tmp_path, before):
  target = tmp_path / "deep" / "bundle"
  if before:
    target.mkdir(parents=True)
    (target / "old").touch()
  with files.replacing_folder(target) as fresh:
    (fresh / "inner").mkdir()
    (fresh / "inner" / "new").write_text("1")
    assert names(target.parent) == [fresh.name] + ["bundle"] * before
  assert names(target) == ["inner"] and names(target.parent) == ["bundle"]
  assert (target / "inner" / "new").read_text() == "1"

  def half():
    with files.replacing_folder(target) as fresh:
      (fresh / "other").touch()
      raise ValueError

  with pytest.raises(ValueError):
    half()
  assert names(target) == ["inner"] and names(target.parent) == ["bundle"]


def test_a_process_that_ends_discards_what_is_half_written(tmp_path):
  code = (
    "import os, sys\n"
    "from speak_jax.common import files\n"
    "os.chdir(sys.argv[1])\n"
    "with files.replacing('a') as one, files.replacing_folder('b') as two:\n"
    "  one.touch()\n"
    "  (two / 'inner').touch()\n"
    "  assert len(os.listdir()) == 2\n"
    "  files.discard()\n"
    "  os._exit(0)\n"
  )
  line = [sys.executable, "-c", code, str(tmp_path)]
  subprocess.run(line, cwd=ROOT, check=True)
  assert names(tmp_path) == []


def test_a_probe_leaves_nothing_whenever_the_process_ends(tmp_path):
  files.probe(tmp_path)
  assert names(tmp_path) == []
  code = (
    "import os, pathlib, sys\n"
    "from speak_jax.common import files\n"
    "def end(path):\n"
    "  assert os.listdir(sys.argv[1]) == [path.name]\n"
    "  files.discard()\n"
    "  os._exit(3)\n"
    "pathlib.Path.unlink = end\n"
    "files._remove = os.remove\n"
    "files.probe(sys.argv[1])\n"
  )
  line = [sys.executable, "-c", code, str(tmp_path)]
  assert subprocess.run(line, cwd=ROOT).returncode == 3
  assert names(tmp_path) == []


def test_sha256(tmp_path):
  path = tmp_path / "a"
  path.write_bytes(b"x" * 1_000_000)
  assert files.sha256(path) == hashlib.sha256(b"x" * 1_000_000).hexdigest()


@pytest.mark.parametrize("kind", [FileError, MediaError, bundle.BundleError])
def test_an_error_is_one_line_and_pickles(kind):
  error = pickle.loads(pickle.dumps(kind("a\nb.mp4", "cut\n  short")))
  assert isinstance(error, FileError) and type(error) is kind
  assert str(error) == r"a\x0ab.mp4: cut short"
