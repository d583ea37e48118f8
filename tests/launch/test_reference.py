"""launch/reference.sh calls what the documents say, where python only notes."""

import shlex
from pathlib import Path

import numpy as np
import pytest

from data_pipelines.synthetic import demo_inputs
from speak_jax import bundle
from speak_jax.common import packaged
from speak_jax.inference import emotion_label
from speak_jax.inference.motion_model import MotionModel
from tests.launch.scripts import Run, calls, noting, script

ROOT = Path(__file__).parents[2]


@pytest.fixture
def reference(tmp_path) -> Run:
  """The script where `python` only notes its words."""
  return noting("reference.sh", tmp_path)


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


@pytest.mark.parametrize("by", ["flag", "variable"])
def test_portraits_teach_teeth_once(tmp_path, reference, by):
  (tmp_path / "faces").mkdir()
  words = ["photograph", "--out", str(tmp_path / "out")]
  more, variables = ["--portraits", "faces"], {}
  if by == "variable":
    more, variables = [], {"PORTRAITS": str(tmp_path / "faces")}
  run = reference(*words, *more, **variables)
  assert run.returncode == 0
  teeth = tmp_path / "out" / "photograph" / "teeth.safetensors"
  wanted = [
    *("-m", "speak_jax.tools.train_teeth"),
    *("--portraits", str(tmp_path / "faces"), "--out", str(teeth)),
  ]
  assert calls(tmp_path)[-1] == wanted
  teeth.parent.mkdir(parents=True, exist_ok=True)
  teeth.touch()
  reference(*words, *more, **variables)
  assert calls(tmp_path).count(wanted) == 1


def test_portraits_that_are_not_there_are_told_before_all_work(
  tmp_path, reference
):
  run = reference("photograph", "--portraits", "nowhere")
  assert run.returncode == 2 and not (tmp_path / "calls").exists()
  assert run.stderr == "reference.sh: nowhere: no such folder\n"


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


# What `python` is in a true run: the same commands with the smallest numbers.
TINY = """
import os, sys
numbers = {"--identities": "2", "--clips-per-identity": "2"}
numbers |= {"--held-out": "1", "--size": "64"}
given = sys.argv[1:]
drawn = "synthetic" in given
words = [
  numbers.get(before, word) if drawn else word
  for before, word in zip(["", *given], given)
]
if "speak_jax.train" in words:
  motion = dict(steps=2, batch=2, microbatch=2, frames=10, context=5)
  motion |= dict(width=8, layers=1)
  words += [f"--config.motion.{x}={y}" for x, y in motion.items()]
os.execv(sys.executable, [sys.executable, *words])
"""


def test_a_photograph_bundle_is_made_from_nothing(tmp_path, face_models):
  """The whole way with the true commands: drawn people, recordings, a run."""
  out = tmp_path / "out"
  (tmp_path / "grid" / "s1").mkdir(parents=True)
  for i in range(2):
    clip = demo_inputs.clip(0, i, "neutral", 1, seconds=1.2)
    demo_inputs.video(tmp_path / "grid" / "s1" / f"{i}.mp4", clip)
  done = script("reference.sh", tmp_path, ROOT, TINY)(
    *("photograph", "--out", str(out), "--grid", "grid"),
    PYTHONPATH=str(ROOT),
    SPEAK_JAX_MODELS=str(face_models),
  )
  assert done.returncode == 0, done.stderr
  made = out / "photograph" / "bundle"
  bundle.verify(made)
  content = bundle.read(made)
  assert content.moves_photographs
  assert content.config["steps"] == {"motion": 2}
  assert [x["name"] for x in content.config["data"]] == ["grid", "drawn"]
  assert "GRID audiovisual sentence corpus" in (made / "README.md").read_text()
  model = MotionModel.from_bundle(made, content=content)
  speech = np.random.default_rng(0).integers(-9_000, 9_000, 640 * 12)
  points = model.stream(
    speech.astype(np.int16), [0.0] * 12, emotion_label.strengths("happy")
  )
  assert np.isfinite(np.stack([*points])).all()


def test_help_of_reference_is_its_head(reference):
  said = reference("--help").stdout
  assert said.startswith("The models that come with the package")
  assert said.rstrip().endswith("and so does this script.")
