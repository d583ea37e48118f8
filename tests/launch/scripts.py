"""Scripts of launch/ that call `python`, which a test writes."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[2]

Run = Callable[..., subprocess.CompletedProcess]


def script(name: str, folder: Path, root: Path, python: str) -> Run:
  """Puts a script of launch/ into a folder; runs it there, without set-up.

  Args:
    name: Of the script.
    folder: Its own.
    root: The checkout, as the script takes it to be.
    python: The text of the program `python`.
  """
  launch, program = folder / "launch", folder / "bin" / "python"
  launch.mkdir()
  shutil.copy(ROOT / "launch" / name, launch)
  (launch / "setup.sh").write_text(
    f'SPEAK_ROOT={root}\nsetup_folder() {{ printf "%s\\n" "$1"; }}\n'
  )
  program.parent.mkdir()
  program.write_text(f"#!{sys.executable}\n{python}")
  program.chmod(0o755)
  path = f"{program.parent}{os.pathsep}{os.environ['PATH']}"

  def run(*words: str, **env: str) -> subprocess.CompletedProcess:
    return subprocess.run(
      ["bash", launch / name, *words],
      cwd=folder,
      env={**os.environ, "PATH": path, **env},
      capture_output=True,
      text=True,
    )

  return run


def noting(name: str, folder: Path) -> Run:
  """A script where `python` only notes its words, for `calls`."""
  return script(
    name,
    folder,
    folder,
    "import json, sys\n"
    f"with open({str(folder / 'calls')!r}, 'a') as file:\n"
    "  print(json.dumps(sys.argv[1:]), file=file)\n",
  )


def calls(folder: Path) -> list[list[str]]:
  """What `python` was called with."""
  lines = (folder / "calls").read_text().splitlines()
  return [json.loads(line) for line in lines]
