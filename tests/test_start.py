"""A process is soon at its first frame: what it must not load before that."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# Each takes a tenth of a second or more to import.
TRAINING = ("flax", "optax", "orbax", "grain", "array_record")
SCIENCE = ("scipy.interpolate", "scipy.signal", "scipy.spatial", "scipy.stats")
NETWORKS = ("jax", "numba", *TRAINING, *SCIENCE)


def loaded(code: str, modules: tuple[str, ...]) -> list[str]:
  """Which modules a process has imported when it is through some code."""
  last = f"\nprint(json.dumps([x for x in {modules} if x in sys.modules]))"
  run = subprocess.run(
    [sys.executable, "-c", f"import json, sys\n{code}{last}"],
    cwd=ROOT,
    capture_output=True,
    text=True,
    timeout=300,
    check=True,
  )
  return json.loads(run.stdout.splitlines()[-1])


def test_the_package_loads_nothing():
  assert loaded("import speak_jax", ("numpy", "cv2", "av", *NETWORKS)) == []


def test_what_loads_a_model_loads_no_network():
  assert loaded("import speak_jax; speak_jax.load", NETWORKS) == []


@pytest.mark.parametrize(
  "words", [["--help"], ["--identity", "a.png", "--audio", "a.wav"]]
)
def test_help_and_errors_of_generate_load_no_network(words):
  code = f"""
import runpy
sys.argv = ["speak", "generate", *{words}]
try:
  runpy.run_module("speak_jax", run_name="__main__", alter_sys=True)
except SystemExit:
  pass
else:
  raise AssertionError
"""
  assert loaded(code, NETWORKS) == []


@pytest.mark.parametrize("kind", ["frame", "stream"])
def test_the_first_frame_needs_neither_training_nor_scipy(kind):
  code = """
import numpy as np
import speak_jax
from speak_jax.common import packaged
model = speak_jax.load()
"""
  if kind == "frame":
    code += "video = model.generate(packaged.PORTRAIT, packaged.SENTENCE)\n"
    code += "assert next(iter(video)).any()"
  else:
    code += "stream = model.stream(packaged.PORTRAIT)\n"
    code += "stream.push(np.zeros(32_000, np.int16), 16_000)\n"
    code += "assert next(stream.ready()).picture.any()"
  assert loaded(code, (*TRAINING, *SCIENCE)) == []


def test_planted_module_is_found():
  assert loaded("import scipy.signal", SCIENCE) == [*SCIENCE]
