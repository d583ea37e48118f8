"""launch/reference.sh calls what the documents say, where python only notes."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from speak_jax import bundle
from speak_jax.common import packaged

ROOT = Path(__file__).parents[2]


@pytest.fixture
def reference(tmp_path) -> Callable[..., subprocess.CompletedProcess]:
  """Runs launch/reference.sh where `python` only notes its words.

  They are in `calls`, a line of JSON each.
  """
  launch = tmp_path / "launch"
  launch.mkdir()
  shutil.copy(ROOT / "launch" / "reference.sh", launch)
  (launch / "setup.sh").write_text(
    f'SPEAK_ROOT={tmp_path}\nsetup_folder() {{ printf "%s\\n" "$1"; }}\n'
  )
  python = tmp_path / "bin" / "python"
  python.parent.mkdir()
  python.write_text(
    f"#!{sys.executable}\nimport json, sys\n"
    f"with open({str(tmp_path / 'calls')!r}, 'a') as file:\n"
    "  print(json.dumps(sys.argv[1:]), file=file)\n"
  )
  python.chmod(0o755)
  path = f"{python.parent}{os.pathsep}{os.environ['PATH']}"

  def run(*words: str, **env: str) -> subprocess.CompletedProcess:
    return subprocess.run(
      ["bash", launch / "reference.sh", *words],
      cwd=tmp_path,
      env={**os.environ, "PATH": path, **env},
      capture_output=True,
      text=True,
    )

  return run


def calls(folder: Path) -> list[list[str]]:
  """What `python` was called with."""
  lines = (folder / "calls").read_text().splitlines()
  return [json.loads(line) for line in lines]


def photograph_page() -> list[list[str]]:
  """The commands by which docs/photographs.md trains, but the measurement."""
  text = (ROOT / "docs" / "photographs.md").read_text()
  block = text.partition("## Training")[2].partition("```bash\n")[2]
  block = block.partition("```")[0].replace("\\\n", " ")
  lines = [shlex.split(x, comments=True) for x in block.splitlines()]
  return [words[1:] for words in lines if words[:1] == ["python"]]


@pytest.mark.parametrize("by", ["flag", "variable"])
def test_photographs_are_trained_as_their_page_says(tmp_path, reference, by):
  (tmp_path / "grid" / "s1").mkdir(parents=True)
  words = ["photograph", "--out", "/out"]
  if by == "flag":
    run = reference(*words, "--grid", "grid")  # of today's folder
  else:
    run = reference(*words, GRID=str(tmp_path / "grid"))
  assert run.returncode == 0 and run.stderr == ""
  names = {
    str(tmp_path / "grid"): "RECORDINGS",
    "/out/photograph/grid": "SPEECH",
    "/out/photograph/drawn": "DRAWN",
    "/out/photograph/bundle": "BUNDLE",
    "/out/photograph": "RUN",
  }
  made = calls(tmp_path)
  assert "GRID" in made[-1][-1] and "CC BY 4.0" in made[-1][-1]
  made[-1][-1] = "what licences ask"
  for words in made:
    for i, word in enumerate(words):
      for path, name in names.items():
        word = word.replace(path, name)
      words[i] = word
  assert made == photograph_page()
  # And of what comes along the drawn people were made so.
  drawn = bundle.read(packaged.PHOTOGRAPH).config["data"][1]
  for flag, key in (
    ("--identities", "identities"),
    ("--clips-per-identity", "clips_per_identity"),
    ("--held-out", "held_out"),
    ("--size", "size"),
    ("--framing", "framing"),
  ):
    assert made[0][made[0].index(flag) + 1] == str(drawn[key])


def test_without_grid_drawn_people_alone_and_what_that_costs(
  tmp_path, reference
):
  run = reference("train", "--out", "/out", GRID="")
  assert run.returncode == 0
  assert "lips learn from drawn people alone" in run.stderr
  made = [words[1:] for words in calls(tmp_path)]
  modules = [words[0].rpartition(".")[2] for words in made]
  photographs = ["prepare", "train", "export"]
  assert modules == [*photographs, "prepare", "train", "export", "evaluate"]
  assert "--config.data.path=/out/photograph/drawn" in made[1]
  assert made[2][-2:] == ["--attribution", ""]


def test_grid_that_is_not_there_is_told_before_all_work(tmp_path, reference):
  for what in ("train", "photograph"):
    run = reference(what, "--grid", "nowhere")
    assert run.returncode == 2
    line = "reference.sh: nowhere: holds no folder s1 of the GRID corpus\n"
    assert run.stderr == line
  assert not (tmp_path / "calls").exists()


def test_a_report_of_reference_trains_nothing(tmp_path, reference):
  assert reference("report", GRID="nowhere").returncode == 0
  modules = [words[1] for words in calls(tmp_path)]
  assert modules == ["data_pipelines.prepare", "speak_jax.evaluate"]


def test_help_of_reference_is_its_head(reference):
  said = reference("--help").stdout
  assert said.startswith("The models that come with the package")
  assert said.rstrip().endswith("and so does this script.")
