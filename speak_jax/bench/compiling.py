"""How long XLA takes for a program: anew, and from its cache on disk."""

import tempfile
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jax.experimental.compilation_cache import compilation_cache

_NAMES = (
  "jax_compilation_cache_dir",
  "jax_persistent_cache_min_compile_time_secs",
)


class Compiled(NamedTuple):
  """A program, and seconds of tracing, lowering and compiling it."""

  program: Any
  cold: float  # nothing is known of it
  warm: float  # XLA's part is on disk, as a second process finds it


def compiled(trace: Callable[[], Any]) -> Compiled:
  """Compiles a program twice, and forgets all others of this process.

  Args:
    trace: Gives a jax.stages.Traced.
  """
  settings: Any = jax.config
  before = {name: getattr(settings, name) for name in _NAMES}
  with tempfile.TemporaryDirectory() as folder:
    try:
      for name, value in zip(_NAMES, (folder, 0.0), strict=True):
        settings.update(name, value)
      compilation_cache.reset_cache()
      _, cold = _timed(trace)
      program, warm = _timed(trace)
    finally:
      for name, value in before.items():
        settings.update(name, value)
      compilation_cache.reset_cache()
  return Compiled(program, cold, warm)


def _timed(trace: Callable[[], Any]) -> tuple[Any, float]:
  jax.clear_caches()
  begin = time.perf_counter()
  program = trace().lower().compile()
  return program, time.perf_counter() - begin
