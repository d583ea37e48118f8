"""What is wrong with a command's config is one line, and exit code 64."""

import subprocess
import sys
from pathlib import Path

import pytest

from speak_jax import exit_codes

ROOT = Path(__file__).parents[1]
CONFIG = "--config=configs/speak.py:demo"
COMMANDS = {"train": ["--workdir=run"], "ablate": ["--data=data", "--out=out"]}
WRONG = {
  "key": ([CONFIG, "--config.datta=1"], """no 'datta' Did you mean "data\""""),
  "value": ([CONFIG, "--config.seed=one"], "invalid literal"),
  "preset": (["--config=configs/speak.py:small"], "'small' is not one of"),
  "file": (["--config=no.py"], "No such file or directory: 'no.py'"),
  # With a key set too, ml_collections says so within the parsing.
  "file, key": (["--config=no.py", "--config.seed=1"], "directory: 'no.py'"),
  "none": ([], "Flag --config must have a value other than None"),
}


@pytest.mark.parametrize(
  ("command", "wrong"),
  [*(("train", wrong) for wrong in WRONG), ("ablate", "key")],
)
def test_a_wrong_config_is_a_line(command, wrong):
  given, line = WRONG[wrong]
  words = ["-m", f"speak_jax.{command}", *COMMANDS[command], *given]
  done = subprocess.run(
    [sys.executable, *words], cwd=ROOT, capture_output=True, text=True
  )
  assert done.returncode == exit_codes.BAD_CONFIG, done.stderr
  assert line in done.stderr
  assert done.stderr.startswith(f"{command}: ")
  assert len(done.stderr.splitlines()) == 1
  assert not done.stdout
