"""Programs are kept with the run, unless somebody said where."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import sys
from pathlib import Path
import jax
from speak_jax.training import compilation
compilation.keep_programs(Path(sys.argv[1]) / "compiled")
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
jax.jit(lambda x: x + 1)(1.0)
"""


@pytest.mark.parametrize("named", [False, True])
def test_programs_are_kept(named, tmp_path):
  env = {k: v for k, v in os.environ.items() if "COMPILATION_CACHE" not in k}
  if named:
    env["JAX_COMPILATION_CACHE_DIR"] = str(tmp_path / "elsewhere")
  subprocess.run(
    [sys.executable, "-c", SCRIPT, str(tmp_path)],
    cwd=Path(__file__).parents[2],
    env=env,
    check=True,
  )
  folder = tmp_path / ("elsewhere" if named else "compiled")
  assert list(folder.iterdir())
  assert [path.name for path in tmp_path.iterdir()] == [folder.name]
