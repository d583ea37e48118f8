import fnmatch
import json
import re
from pathlib import Path

import pytest

from data_pipelines.faces import nets
from speak_jax.pretrained import hub
from speak_jax.tools import licences

ROOT = Path(__file__).parents[2]
WEIGHTS = (".safetensors", ".tflite", ".bin", ".pth", ".pt", ".onnx", ".npz")


def shipped() -> list[str]:
  """Files of weights in the two packages, fetched ones too."""
  return sorted(
    path.relative_to(ROOT).as_posix()
    for package in ("speak_jax", "data_pipelines")
    for path in (ROOT / package).rglob("*")
    if path.suffix in WEIGHTS
  )


def listed(name: str, entries: list[licences.Entry]) -> bool:
  return any(
    fnmatch.fnmatch(name, pattern)
    for entry in entries
    for pattern in entry.files
  )


def test_every_file_of_weights_is_listed():
  entries = licences.entries()
  assert len(shipped()) >= 10
  assert [name for name in shipped() if not listed(name, entries)] == []
  folder = "data_pipelines/faces/models"
  assert all(listed(f"{folder}/{name}", entries) for name in nets.MODEL_FILES)


def test_a_file_that_is_not_listed_is_told():
  assert not listed("speak_jax/assets/new.safetensors", licences.entries())


def test_what_is_listed_is_there():
  for entry in licences.entries():
    for pattern in entry.files:
      if entry.comes == "with the package":
        assert fnmatch.filter(shipped(), pattern), pattern


def test_weights_that_can_be_named_are_listed():
  text = (ROOT / "docs" / "install.md").read_text()
  named = set(
    re.findall(r"[\w/.-]+\.pth|facebook/[\w-]+|syncnet_\w+\.model", text)
  )
  assert len(named) >= 4
  for name in (*named, *hub._ELSEWHERE):
    assert listed(name.split("=")[-1], licences.entries()), name


@pytest.mark.parametrize("entry", licences.entries(), ids=lambda x: x.files[0])
def test_entry_says_everything(entry):
  assert all(entry), entry


def test_command_prints_them(forked):
  run = forked.run("speak_jax.tools.licences")
  assert run.returncode == 0, run.stderr
  assert "GRID" in run.stdout and "CC BY 4.0" in run.stdout
  whole = forked.run("speak_jax.tools.licences", "--json")
  assert json.loads(whole.stdout) == json.loads(licences.PATH.read_text())
