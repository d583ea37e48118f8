"""Compiled programs are kept on disk: a restart does not compile again."""

from pathlib import Path
from typing import Any

import jax


def keep_programs(folder: Path) -> None:
  """Keeps compiled programs in a folder, before the first is compiled.

  What JAX_COMPILATION_CACHE_DIR, or jax.config, names already stays.

  Args:
    folder: JAX makes it; with several processes the first one writes.
  """
  settings: Any = jax.config
  if not settings.jax_compilation_cache_dir:
    settings.update("jax_compilation_cache_dir", str(folder))
