"""The judge is not the model, and no report is silent about how good it is."""

import ast
import hashlib
import inspect
from pathlib import Path

import jax
import numpy as np
import pytest

from speak_jax.evaluation.disentanglement import matrix, swap_report
from speak_jax.models import judge as models
from speak_jax.stages import irfd, speak, syncnet
from speak_jax.tools.train_judge import faces as rendered
from speak_jax.tools.train_judge import learning, make
from tests.stages import small
from tests.tools.dots import dots

# Of the committed weights: who trains another judge writes its hash here.
SHA256 = "000fc98ace9edfea1461e35f68379191f5db8ed14d4afdcf7ba6d91d7469e279"


def common(judged, trained) -> list[str]:
  """Names of the judge's arrays that a run holds too, as they are or as half.

  Constants (fresh biases and scales) are nobody's.
  """

  def prints(tree):
    found = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
      half = np.asarray(leaf).astype(np.float16)
      if half.size > 1 and np.ptp(half):
        found[half.tobytes()] = jax.tree_util.keystr(path)
    return found

  ours, theirs = prints(judged), prints(trained)
  return sorted(ours[key] for key in ours.keys() & theirs.keys())


@pytest.fixture(scope="module")
def run():
  """Parameters of every stage."""
  config = small.config()
  return [
    small.parameters(stage.make(config))[0] for stage in (syncnet, irfd, speak)
  ]


def test_the_weights_are_the_committed_ones():
  digest = hashlib.sha256(models.WEIGHTS.read_bytes()).hexdigest()
  assert digest == SHA256


def test_it_shares_no_array_with_a_run(run):
  judged = models.load()
  assert len(jax.tree.leaves(run)) > 50
  assert common(judged, run) == []
  # The check would see one that was copied.
  taken = judged["finder"]["resnet"]
  assert len(common(judged, [*run, taken])) > 3


def test_its_training_takes_a_renderer_and_nothing_of_a_model():
  arguments = inspect.signature(make.make).parameters
  assert list(arguments) == [
    "out", "minutes", "seed", "renderer", "frames", "steps",
  ]  # fmt: skip
  assert list(inspect.signature(learning.train).parameters) == [
    "faces", "seed", "seconds", "steps",
  ]  # fmt: skip
  names = set()
  for path in Path(make.__file__).parent.glob("*.py"):
    for node in ast.walk(ast.parse(path.read_text())):
      if isinstance(node, ast.ImportFrom):
        names |= {f"{node.module}.{alias.name}" for alias in node.names}
      elif isinstance(node, ast.Import):
        names |= {alias.name for alias in node.names}
  own = "speak_jax.tools.train_judge"
  ours = {x for x in names if x.startswith("speak_jax") and own not in x}
  assert ours == {
    "speak_jax.common.command_line",
    "speak_jax.common.files",
    "speak_jax.common.outputs",
    "speak_jax.common.batching.in_batches",
    "speak_jax.spec",
    "speak_jax.losses.disentangle",
    "speak_jax.metrics.identity",
    "speak_jax.metrics.sums",
    "speak_jax.models.judge",
    "speak_jax.nn.pixels.as_frames",
    "speak_jax.common.progress.Progress",
  }


def test_it_learns_and_is_scored_on_what_the_renderer_gave(
  tmp_path, monkeypatch
):
  given, learned, scored = set(), [], []

  def renderer(seed, n, framing):
    faces = dots(seed, n, framing)
    rng = np.random.default_rng(seed)
    faces.frames[:] = rng.integers(0, 256, faces.frames.shape)
    given.update(frame.tobytes() for frame in faces.frames)
    return faces

  def train(faces, seed, seconds, steps):
    learned.extend(frame.tobytes() for frame in faces.frames)
    return models.init(jax.random.key(0))

  def score(params, faces):
    scored.extend(frame.tobytes() for frame in faces.frames)
    return {"frames": float(len(faces.frames))}

  monkeypatch.setattr(rendered, "CHUNK", 24)
  monkeypatch.setattr(make, "HELD_OUT", 24)
  monkeypatch.setattr(make, "train", train)
  monkeypatch.setattr(make, "score", score)
  monkeypatch.setattr(make, "centre", lambda params, faces: params)
  make.make(tmp_path / "j.safetensors", 60.0, 0, renderer=renderer, frames=48)
  assert len(learned) == 48
  assert len(scored) == 3 * 24
  assert set(learned) | set(scored) <= given
  assert not set(learned) & set(scored)


def test_no_matrix_without_it():
  empty = matrix.matrix({})
  for show in (swap_report.markdown, swap_report.picture):
    with pytest.raises(ValueError, match="accuracy"):
      show(empty, "")
