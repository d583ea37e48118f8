"""Files and folders that appear whole or not at all, and their SHA-256.

New content goes into a temporary file beside its target, is forced to the disk,
and takes the target's place by a rename. After a crash the target holds either
its old content or its new one.
"""

import errno
import hashlib
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from speak_jax.common.names import printable

LFS_POINTER = b"version https://git-lfs"  # begins the note in a file's place
_MARK = ".partial"  # in the name of every temporary file
_PARTIAL: set[Path] = set()  # what this process is writing
# Answers of file systems that cannot force a folder's entries to the disk.
_NO_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EACCES)


class FileError(ValueError):
  """A file or folder that cannot be used; one line, `path: reason`."""

  def __init__(self, path: str | os.PathLike, reason: str):
    """Joins path and reason, whatever line breaks the reason had."""
    self.path = os.fspath(path)
    self.reason = " ".join(str(reason).split())
    super().__init__(self.path, self.reason)  # both, so that it pickles

  def __str__(self) -> str:
    """Returns `path: reason`."""
    return printable(f"{self.path}: {self.reason}")


@contextmanager
def replacing(path: str | os.PathLike, *, sync: bool = True) -> Iterator[Path]:
  """Yields a path for new content, which replaces `path` if all goes well.

  The temporary name is unique on all machines that share the folder, and short,
  because `path` may have the longest name that its file system takes. The
  temporary file is removed if anything fails.

  Args:
    path: File to write; its folder must exist.
    sync: Force content and rename to the disk. Without it a crash of the
      machine can leave an empty file.

  Raises:
    OSError: The file cannot be written.
  """
  target = Path(path)
  partial = beside(target.parent, target.suffix)
  _PARTIAL.add(partial)
  try:
    yield partial
    if sync:
      force(partial)
    os.replace(partial, target)
    if sync:
      force(target.parent)
  finally:
    partial.unlink(missing_ok=True)
    _PARTIAL.discard(partial)


def write(
  path: str | os.PathLike, content: bytes | str, *, sync: bool = True
) -> None:
  """Replaces a file's content; see `replacing`.

  Args:
    path: File to write; its folder must exist.
    content: Bytes, or text to be stored as UTF-8.
    sync: Force it to the disk.

  Raises:
    OSError: The file cannot be written.
  """
  if isinstance(content, str):
    content = content.encode()
  with replacing(path, sync=sync) as partial:
    partial.write_bytes(content)


@contextmanager
def replacing_folder(path: str | os.PathLike) -> Iterator[Path]:
  """Yields an empty folder that replaces the folder `path` if all goes well.

  Raises:
    OSError: The folder cannot be written.
  """
  target = Path(path)
  target.parent.mkdir(parents=True, exist_ok=True)
  fresh, old = beside(target.parent, ""), beside(target.parent, "")
  _PARTIAL.add(fresh)
  try:
    fresh.mkdir()
    yield fresh
    for name in (*fresh.rglob("*"), fresh):
      force(name)
    if target.exists():
      target.rename(old)
      fresh.rename(target)
      shutil.rmtree(old)
    else:
      fresh.rename(target)
    force(target.parent)
  finally:
    _remove(fresh)
    _PARTIAL.discard(fresh)


@contextmanager
def temporary_folder(prefix: str) -> Iterator[Path]:
  """Yields a new folder of this user's alone; at the end it is removed.

  Args:
    prefix: Its name begins so.
  """
  folder = Path(tempfile.mkdtemp(prefix=prefix))
  _PARTIAL.add(folder)
  try:
    yield folder
  finally:
    _remove(folder)
    _PARTIAL.discard(folder)


def probe(folder: str | os.PathLike) -> None:
  """Writes an empty file into a folder, and removes it.

  Raises:
    OSError: Nothing can be written there.
  """
  path = beside(folder, "")
  _PARTIAL.add(path)
  try:
    path.touch(exist_ok=False)
    path.unlink()
  finally:
    _PARTIAL.discard(path)


def discard() -> None:
  """Removes what this process has half written, as its last deed."""
  for partial in tuple(_PARTIAL):
    _remove(partial)


def beside(folder: str | os.PathLike, suffix: str) -> Path:
  """A temporary name in `folder` that no process or machine chooses again."""
  return Path(folder) / f".{uuid.uuid4().hex}{_MARK}{suffix}"


def force(path: str | os.PathLike) -> None:
  """Forces a file's content, or a folder's list of entries, to the disk.

  Raises:
    OSError: The disk is full or broken.
  """
  handle = os.open(path, os.O_RDONLY)
  try:
    os.fsync(handle)
  except OSError as error:
    if error.errno not in _NO_SYNC or not os.path.isdir(path):
      raise
  finally:
    os.close(handle)


def sha256(path: str | os.PathLike) -> str:
  """Hex digest of a file's content.

  Raises:
    OSError: The file cannot be read.
  """
  with open(path, "rb") as file:
    return hashlib.file_digest(file, "sha256").hexdigest()


def is_lfs_pointer(path: str | os.PathLike) -> bool:
  """Whether Git LFS has left its note in place of a file.

  Raises:
    OSError: The file cannot be read.
  """
  with open(path, "rb") as file:
    return file.read(len(LFS_POINTER)) == LFS_POINTER


def _remove(path: Path) -> None:
  if path.is_dir():
    shutil.rmtree(path, ignore_errors=True)
  else:
    with suppress(OSError):
      path.unlink(missing_ok=True)
