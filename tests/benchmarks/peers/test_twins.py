"""Twins compute what our networks do, and the command measures both."""

import importlib.util
import json
import re
import subprocess
import sys

import flax.linen as nn
import jax
import numpy as np
import pytest

from tests.benchmarks.peers import timing

# The smallest sizes that have every part of what is measured.
TINY = (
  "resnet50:paper,model.image=32,model.encoder.stages=(1,2),"
  "model.encoder.width=4",
  "encoder:demo,model.image=32",
  "generator:demo,model.channels.32=16,model.channels.64=8",
  "syncnet:demo,model.lips=32",
  "wav2lip:demo,model.skips=True",
  "wav2lip:demo,model.skips=False",
  "wav2lip_expert:demo",
  "fomm_keypoints:demo",
  "fomm_generator:demo",
  "atvg:demo,model.frames=2",
)


@pytest.fixture
def torch():
  if importlib.util.find_spec("torch") is None:
    pytest.skip("no PyTorch here: SPEAK_EXTRAS=peers source launch/setup.sh")
  import torch

  return torch


def same(ours, theirs, rtol=1e-4):
  """Within a share of the largest number there is."""
  ours, theirs = np.asarray(ours), theirs.detach().numpy()
  assert ours.shape == theirs.shape
  assert np.isfinite(ours).all() and np.ptp(ours) > 0
  bound = rtol * np.abs(ours).max()
  np.testing.assert_allclose(theirs, ours, rtol=rtol, atol=bound)


@pytest.mark.parametrize("name", TINY)
def test_twin_gives_what_we_give(torch, name):
  from tests.benchmarks.peers import networks, sides

  peer = networks.peer(name)
  variables = networks.fresh(peer)
  inputs = networks.drawn(peer.inputs, 2)
  ours = sides.ours_forward(peer, variables, inputs)()
  for layout in sides.LAYOUTS:
    theirs = sides.theirs_forward(peer, variables, inputs, layout)()
    for mine, other in zip(ours, theirs, strict=True):
      same(mine, other)


@pytest.mark.parametrize("name", TINY)
def test_twin_learns_what_we_learn(torch, name, monkeypatch):
  """The gradient of the step that is timed, of every parameter."""
  from tests.benchmarks.peers import layers, networks, sides

  # Both draw what they drop by themselves.
  monkeypatch.setattr(nn.Dropout, "__call__", lambda self, x, **_: x)
  peer = networks.peer(name)
  variables = networks.fresh(peer)
  inputs = networks.drawn(peer.inputs, 6)
  others = {k: x for k, x in variables.items() if k != "params"}
  made = sides.ours_forward(peer, variables, inputs)()
  rng = np.random.default_rng(2)
  targets = [rng.normal(size=x.shape).astype(np.float32) for x in made]

  def ours(params, *args):
    return sides.ours_loss(peer, params, others, *args)[0]

  loss, slope = jax.jit(jax.value_and_grad(ours))(
    variables["params"], inputs, targets, jax.random.key(0)
  )
  twin = sides.twin_of(peer, variables, "contiguous").train()
  for module in twin.modules():
    if isinstance(module, torch.nn.Dropout):
      module.p = 0.0
  outputs = twin(*sides.tensors(peer, inputs))
  theirs = sides.theirs_loss(outputs, map(torch.from_numpy, targets))
  theirs.backward()
  assert theirs.item() == pytest.approx(float(loss), rel=1e-5)
  found = layers.gradients(twin, {"params": slope})
  assert len(found) == len(jax.tree.leaves(slope))
  largest = max(float(mine.norm()) for mine, _ in found.values())
  for path, (mine, other) in found.items():
    # What a norm behind a bias takes away is noise in both, and a norm over few
    # examples makes it louder.
    bound = 1e-2 * float(mine.norm()) + 1e-4 * largest
    assert float((mine - other).norm()) < bound, path


def test_twin_must_have_all_weights(torch):
  from tests.benchmarks.peers import layers

  twin = torch.nn.Sequential(torch.nn.Linear(2, 3))
  weights = {"0": {"kernel": np.ones((2, 3)), "bias": np.arange(3)}}
  layers.load(twin, {"params": weights})
  assert twin(torch.ones(1, 2)).tolist() == [[2, 3, 4]]
  with pytest.raises(ValueError, match="the twin has no 1/bias"):
    layers.load(twin, {"params": {**weights, "1": {"bias": np.ones(3)}}})
  with pytest.raises(KeyError):
    layers.load(twin, {"params": {"0": {"kernel": np.ones((2, 3))}}})


def test_twin_is_timed_by_the_command(torch, root, tmp_path):
  """A row for each, in print and as JSON, and how many are fast enough."""
  words = ["--networks", "encoder:small64", "--seconds", "0", "--json"]
  done = run(root, *words, tmp_path / "rows.json")
  assert done.returncode == 0, done.stderr
  lines = done.stdout.splitlines()
  assert f"torch {torch.__version__}" in lines[0]
  rows = json.loads((tmp_path / "rows.json").read_text())["rows"]
  assert [(x["what"], x["batch"]) for x in rows] == [
    ("forward", 1),
    ("forward", 8),
    ("step", 8),
  ]
  for row, text in zip(rows, lines[3:6], strict=True):
    assert 0 < row["low"] <= row["median"] <= row["high"]
    assert row["pairs"] == timing.LEAST
    assert text.startswith("encoder:small64") and f"{row['median']:.2f}" in text
    assert text.endswith("met") == (row["median"] >= row["goal"])
  assert re.fullmatch(r"[0-3] of 3 goals met", lines[-1])


def run(root, *words):
  return subprocess.run(
    [sys.executable, "-m", "tests.benchmarks.peers", *words],
    cwd=root,
    capture_output=True,
    text=True,
    timeout=600,
  )


@pytest.mark.skipif(
  importlib.util.find_spec("torch") is not None, reason="PyTorch is here"
)
def test_without_pytorch_it_is_one_line(root):
  done = run(root)
  assert done.returncode == 1 and not done.stdout
  assert len(done.stderr.splitlines()) == 1
  assert "SPEAK_EXTRAS=peers" in done.stderr


def test_names_that_are_asked_for(torch):
  from tests.benchmarks.peers import networks

  assert networks.chosen("") == list(networks.NAMES)
  both = ["wav2lip:small64", "wav2lip:base"]
  assert networks.chosen("wav2lip") == both
  assert networks.chosen("atvg:base,wav2lip") == [*both, "atvg:base"]
  with pytest.raises(ValueError, match="no network vgg"):
    networks.chosen("vgg")


def test_ratio_is_above_one_where_we_are_faster():
  """Of each pair by itself: what slows both leaves it as it is."""
  found = timing.of_pairs([(1.0, 2.0), (10.0, 30.0), (2.0, 2.0), (1.0, 2.0)])
  assert (found.low, found.median, found.high) == (1.75, 2.0, 2.25)
  assert (found.pairs, found.ours_ms, found.theirs_ms) == (4, 1500, 2000)


def test_pairs_take_turns(monkeypatch):
  calls = []
  monkeypatch.setattr(timing, "taken", lambda work: work() or 1.0)
  found = timing.paired(
    lambda: calls.append("a"), lambda: calls.append("b"), 12.0
  )
  assert found.pairs == 6 and found.median == 1
  # After one of each: ours first, then theirs first.
  assert "".join(calls) == "ab" + "abba" * 3


def test_the_quicker_layout_is_taken(monkeypatch):
  times = {"slow": 2.0, "quick": 1.0}
  monkeypatch.setattr(timing, "taken", lambda work: work())
  works = {name: lambda name=name: times[name] for name in times}
  assert timing.quickest(works) == "quick"
