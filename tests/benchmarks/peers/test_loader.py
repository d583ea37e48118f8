"""PyTorch's loader makes the batches that ours makes."""

import importlib.util
import json
import subprocess
import sys

import numpy as np
import pytest

from speak_jax.bench import loader

SIZE = 256  # as in the benchmark: mouths are stored as they are shown


@pytest.fixture
def torch():
  if importlib.util.find_spec("torch") is None:
    pytest.skip("no PyTorch here: SPEAK_EXTRAS=peers source launch/setup.sh")
  import torch

  return torch


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
  """A small prepared set, and the same as folders of files."""
  from tests.benchmarks.peers import loader as peers

  data, files = (tmp_path_factory.mktemp(name) for name in ("data", "files"))
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(loader, "SECONDS", 1.0)
    loader.prepare(data, SIZE)
  records = loader.Many(str(data), 0)
  peers.export(records, records.few, files)
  return str(data), files


@pytest.mark.parametrize("name", ["syncnet, frames", "irfd", "speak"])
def test_both_make_the_same_batches(torch, folders, name):
  mine, theirs = batches(torch, folders, name)
  for field, ours, other in zip(mine._fields, mine, theirs, strict=True):
    other = other.numpy()
    assert (ours.shape, ours.dtype) == (other.shape, other.dtype), field
    if ours.dtype != np.uint8:
      np.testing.assert_array_equal(other, ours, field)
      continue
    # One decoder rounds otherwise than another.
    off = np.abs(ours.astype(int) - other)
    assert ours.any() and off.max() <= 4 and off.mean() < 0.5, field


def test_mouths_that_are_jpegs_lose_little(torch, folders):
  mine, theirs = batches(torch, folders, "syncnet, mouths")
  np.testing.assert_array_equal(theirs.audio.numpy(), mine.audio)
  off = np.abs(mine.mouth.astype(int) - theirs.mouth.numpy())
  assert 0 < off.mean() < 2


def batches(torch, folders, name):
  """The first batch of either side."""
  from data_pipelines.sampling.batched import batched
  from tests.benchmarks.peers import loader as peers

  stage, mouths = peers.ROWS[name]
  make = loader.samplers(SIZE)[stage]
  _, ours, theirs = peers.sides(*folders, make, mouths)
  other = torch.utils.data.DataLoader(theirs(6), 6, num_workers=0)
  return next(batched(ours, 6, threads=0)), next(iter(other))


def test_loaders_are_timed_by_the_command(torch, root, folders, tmp_path):
  out = tmp_path / "rows.json"
  words = ["--data", folders[0], "--stages", "syncnet", "--seconds", "0"]
  words += ["--json", str(out)]
  done = subprocess.run(
    [sys.executable, "-m", "tests.benchmarks.peers.loader", *words],
    cwd=root,
    capture_output=True,
    text=True,
    timeout=600,
  )
  assert done.returncode == 0, done.stderr
  rows = json.loads(out.read_text())["rows"]
  assert [row["stage"] for row in rows] == [
    "syncnet, frames",
    "syncnet, mouths",
  ]
  for row, text in zip(rows, done.stdout.splitlines()[2:4], strict=True):
    assert 0 < row["low"] <= row["median"] <= row["high"]
    assert min(row["ours"], row["theirs"], row["worker"]) > 0
    assert text.startswith(row["stage"])
    assert text.endswith("met") == (row["median"] >= row["goal"])
