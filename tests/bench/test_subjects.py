"""Processes of subjects, and what is told of the machine."""

import subprocess
import sys

import pytest

from speak_jax.bench import inputs, machine, processes, subjects
from tests.bench.tiny import TINY


def test_a_new_process_measures_and_says_why_it_does_not(
  face_models, monkeypatch, tmp_path
):
  figures = list(subjects.apart("start", TINY))
  assert [one.name for one in figures] == [
    "speak generate",
    "speak generate: of processors",
    "speak generate: compiled anew",
  ]
  assert min(one.median for one in figures) > 0
  monkeypatch.setitem(subjects.SUBJECTS, "figure", "no subject")
  with pytest.raises(subjects.FailedError, match=r"figure: AttributeError: .*"):
    list(subjects.apart("figure", TINY))
  monkeypatch.setenv("SPEAK_JAX_MODELS", str(tmp_path))
  (one,) = subjects.apart("photograph", TINY)
  assert not one.values and one.note.startswith("skipped: ")


def test_the_machine_is_told():
  facts = machine.facts()
  for name in ("python", "jax", "jaxlib", "speak_jax", "cpu", "devices"):
    assert facts[name]
  assert facts["cores"] >= 1 and facts["memory_gib"] > 0
  assert machine.moment()["products_per_s"] > 0


def test_processes_that_decode_are_counted():
  before = processes.cpu_s()
  assert len(inputs.speech(0.5)) == 8000
  assert processes.cpu_s() > before


def test_a_process_is_watched():
  code = "x = bytearray(50 << 20); x[::4096] = bytes(len(x[::4096]))"
  with subprocess.Popen([sys.executable, "-c", code]) as process:
    own, others = processes.watched(process)
  assert process.returncode == 0 and own > 0 and others >= 0
