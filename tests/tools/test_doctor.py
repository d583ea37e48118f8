"""speak doctor: what is missing is said, with what mends it, and the code."""

import importlib.metadata
import subprocess
import types

import pytest

from data_pipelines.faces import nets
from speak_jax.common import packaged
from speak_jax.tools import doctor
from speak_jax.tools.doctor import MISSING, OK, WARNING, Finding


def test_whole_machine_is_well(face_models, capsys):
  """Here nothing is missing, and every subject has its line."""
  assert face_models.is_dir()
  assert doctor.examine(doctor.CHECKS) == 0
  said = capsys.readouterr().out
  assert all(subject in said for subject in doctor.CHECKS)
  assert said.splitlines()[-1] == "nothing is missing"
  assert "mp4 written and read" in said


def test_missing_counts_and_warnings_do_not(capsys):
  def broken():
    raise OSError("libstuff.so: no such\nfile")

  checks = {
    "one": lambda: iter([Finding(OK, "here")]),
    "two": lambda: iter([Finding(WARNING, "little", "get more")]),
    "three": lambda: iter([Finding(MISSING, "gone", "fetch it")]),
    "four": broken,
  }
  assert doctor.examine({"one": checks["one"], "two": checks["two"]}) == 0
  assert doctor.examine(checks) == 1
  lines = capsys.readouterr().out.splitlines()
  assert lines[-1] == "missing: 2"
  assert any("OSError: libstuff.so: no such file" in line for line in lines)
  assert [x.split()[1:] for x in lines if "mend:" in x][:3] == [
    ["get", "more"],
    ["get", "more"],
    ["fetch", "it"],
  ]


def test_face_models_are_told_of(tmp_path, monkeypatch):
  monkeypatch.setenv("SPEAK_JAX_MODELS", str(tmp_path))
  (tmp_path / "face_landmark.tflite").write_bytes(b"something else")
  (found,) = doctor.face_models()
  assert found.state == MISSING
  assert all(name in found.says for name in nets.MODEL_FILES)
  assert found.mend.endswith("-m data_pipelines.faces.fetch")


def test_package_that_is_too_old_or_gone(monkeypatch):
  asked = ["jax>=0.10.0", "numpy>=99", "nothing-such>=1", 'x>=1; extra=="dev"']
  monkeypatch.setattr(importlib.metadata, "requires", lambda _: asked)
  (found,) = doctor.packages()
  assert found.state == MISSING
  assert f"numpy>=99 (here {importlib.metadata.version('numpy')})" in found.says
  assert "nothing-such>=1 (here not)" in found.says
  assert found.mend.endswith("-m pip install 'numpy>=99' 'nothing-such>=1'")


@pytest.mark.parametrize("damaged", ["REFERENCE", "PHOTOGRAPH"])
def test_damaged_model_is_told_of(tmp_path, monkeypatch, damaged):
  monkeypatch.setattr(packaged, damaged, tmp_path)
  found = doctor.models()
  wrong = [x for x in found if x.state != OK]
  assert [x.state for x in wrong] == [MISSING]
  assert str(tmp_path) in wrong[0].says
  assert "not a bundle" in wrong[0].says and wrong[0].mend


def fake(**answers: str):
  """Commands that answer by the name of their program; others are not there."""

  def run(words, limit_s=0.0):
    del limit_s
    program = words[0].rpartition("/")[2].rstrip("0123456789.")
    if program not in answers:
      return None
    return subprocess.CompletedProcess(words, 0, answers[program], "")

  return run


CPU, GPU = '[["cpu", "cpu"]]', '[["gpu", "Tesla V100"], ["gpu", "Tesla V100"]]'
V100 = "Tesla V100-SXM2-16GB, 7.0, 580.126.09\n"
H100 = "NVIDIA H100 80GB HBM3, 9.0, 580.95.05\n"


@pytest.mark.parametrize(
  ("jax", "smi", "state", "mend"),
  [
    (CPU, None, OK, ""),
    (GPU, V100, OK, ""),
    (CPU, V100, MISSING, "requirements-cuda12.txt"),
    (CPU, V100 + H100, MISSING, "requirements-cuda12.txt"),
    (CPU, H100, MISSING, "requirements-cuda.txt"),
    (CPU, H100.replace("580.95", "550.54"), MISSING, "requirements-cuda12.txt"),
    (CPU, "Some card, [N/A], 580.1\n", OK, ""),
  ],
)
def test_gpu_that_jax_does_not_use(monkeypatch, jax, smi, state, mend):
  monkeypatch.delenv("JAX_PLATFORMS", raising=False)
  answers = {"python": jax} | ({"nvidia-smi": smi} if smi else {})
  monkeypatch.setattr(doctor, "_run", fake(**answers))
  (found,) = doctor.devices()
  assert found.state == state
  assert found.mend.endswith(mend)
  if state == OK:
    assert found.says.startswith("2 x Tesla V100" if jax == GPU else "1 x cpu")


def test_gpu_that_was_left_out_on_purpose(monkeypatch):
  monkeypatch.setenv("JAX_PLATFORMS", "cpu")
  answers = {"python": CPU, "nvidia-smi": H100}
  monkeypatch.setattr(doctor, "_run", fake(**answers))
  (found,) = doctor.devices()
  assert (found.state, found.mend) == (WARNING, "unset it")


def test_jax_that_does_not_answer(monkeypatch):
  monkeypatch.setattr(doctor, "_run", fake())
  (found,) = doctor.devices()
  assert found.state == MISSING
  assert "no answer within 120 s" in found.says


def test_without_a_checkout_it_is_pip_and_pinned(monkeypatch):
  """The extra's own requirements: the package need not be on an index."""
  own = types.SimpleNamespace(
    name="speak_jax",
    version=importlib.metadata.version("jax"),
    requires=[
      "jax>=0.10.0",
      'jax[cuda12]; extra == "cuda12"',
      'nvidia-cudnn-cu12==9.10.2.21; extra == "cuda12"',
    ],
    read_text=lambda _: '{"url": "file:///home/me/speak"}',
  )
  monkeypatch.setattr(doctor, "_CHECKOUT", False)
  monkeypatch.setattr(importlib.metadata, "distribution", lambda _: own)
  here = importlib.metadata.version("jax")
  assert doctor._install("cuda12").endswith(
    f"-m pip install 'jax[cuda12]=={here}' nvidia-cudnn-cu12==9.10.2.21"
  )
  assert doctor._install("").endswith("file:///home/me/speak")


@pytest.mark.parametrize(("free", "state"), [(1 << 30, WARNING), (9 << 30, OK)])
def test_little_memory_or_disk_is_a_warning(monkeypatch, free, state):
  monkeypatch.setattr(doctor, "_memory", lambda: free)
  assert [x.state for x in doctor.memory()] == [state]
  usage = types.SimpleNamespace(free=free)
  monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: usage)
  assert {x.state for x in doctor.disk()} == {state}
