"""Programs that were compiled are kept in the user's cache, for the next start.

They are JAX's own persistent compilation cache, in
$XDG_CACHE_HOME/speak_jax/compiled (~/.cache). JAX names a program by its
operations, shapes and options, the versions of jaxlib and XLA, and the machine
with what its processor can do; so one that was made elsewhere is not found,
and is compiled. JAX does not look whether a file is as it was written, and
would compile what it cannot read at every start without replacing it. So every
file has its SHA-256 beside it, and what differs is removed before JAX looks.
Nothing of this is ever inside a bundle.
"""

import atexit
import contextlib
import os
from pathlib import Path
from typing import Any

import jax

from speak_jax.common import files
from speak_jax.training.compilation import keep_programs

LEAST_S = 0.1  # of a compilation that is worth a file
MOST_BYTES = 512 << 20  # of all; the oldest go first
_PROGRAMS, _SUM = "*-cache", ".sha256"


def folder() -> Path:
  """Where the user's programs are kept."""
  cache = os.environ.get("XDG_CACHE_HOME", "") or Path.home() / ".cache"
  return Path(cache) / "speak_jax" / "compiled"


def keep() -> None:
  """Keeps the programs of this process, and uses those of earlier ones.

  Before anything is compiled; it holds for the whole process. A cache that
  JAX_COMPILATION_CACHE_DIR or jax.config names is used as it is. Where the
  folder cannot be written, or others may write to it, nothing is kept: what
  lies there is run.
  """
  settings: Any = jax.config
  if settings.jax_compilation_cache_dir:
    return
  place = folder()
  try:
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not _is_own(place):
      return
    _tidy(place)
  except OSError:
    return
  settings.update("jax_persistent_cache_min_compile_time_secs", LEAST_S)
  keep_programs(place)
  atexit.register(_seal, place)


def _is_own(place: Path) -> bool:
  """Whether nobody but the user (and root) can put programs there."""
  state = place.stat()
  return state.st_uid == os.getuid() and not state.st_mode & 0o022


def _tidy(place: Path) -> None:
  """Removes programs that are damaged, or too many."""
  programs = sorted(
    place.glob(_PROGRAMS), key=lambda x: x.stat().st_mtime, reverse=True
  )
  size = 0
  for program in programs:
    size += program.stat().st_size
    if size > MOST_BYTES or not _is_whole(program):
      program.unlink(missing_ok=True)
      _sum_of(program).unlink(missing_ok=True)


def _is_whole(program: Path) -> bool:
  """Whether it is as `_seal` has found it."""
  known = _sum_of(program)
  return known.is_file() and known.read_text() == files.sha256(program)


def _seal(place: Path) -> None:
  """Writes the sums of new programs."""
  with contextlib.suppress(OSError):  # without one it is made again
    for program in place.glob(_PROGRAMS):
      if not _sum_of(program).exists():
        files.write(_sum_of(program), files.sha256(program), sync=False)


def _sum_of(program: Path) -> Path:
  return program.with_name(program.name + _SUM)
