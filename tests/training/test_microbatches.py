"""Every preset's batches on every number of devices, and runs that move."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from configs import speak
from speak_jax.training import loop, microbatches
from tests.training import toy

DEVICES = (1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 64)


@pytest.mark.parametrize("devices", DEVICES)
@pytest.mark.parametrize("preset", speak.PRESETS)
def test_every_preset_starts_on(preset, devices):
  config = speak.get_config(preset)
  fitted, stages, lines = microbatches.fit_to_devices(config, devices)
  assert set(stages) == set(config.stages)
  for name, stage in stages.items():
    asked, found = config[name], fitted[name]
    assert stage.microbatch == found.microbatch <= asked.microbatch
    turns = microbatches.accumulation_steps(stage, found.batch, devices)
    assert turns * found.microbatch * devices == found.batch
    shapes = jax.tree.leaves(stage.batch)
    assert {x.shape[0] for x in shapes} == {found.batch}
    # No larger than it has to be: a turn of any device less by the least that
    # it can be less by would leave an example out.
    unit = devices * turns * stage.together
    assert asked.batch <= found.batch < asked.batch + unit
    # Nor are turns small: half of what is asked, or all that a device has.
    assert 2 * found.microbatch >= asked.microbatch or turns == 1
    # As few as that microbatch allows.
    assert (turns - 1) * devices * asked.microbatch < asked.batch
    same = found == asked
    assert same == (not any(line.startswith(name) for line in lines))


def test_batches_of_base256_are_those_of_eight_devices():
  """No turns on eight, eight turns on one, and nothing is compared less."""
  config = speak.get_config("base256")
  for devices, turns in ((1, 8), (2, 4), (8, 1)):
    fitted, stages, lines = microbatches.fit_to_devices(config, devices)
    assert lines == []
    for name, stage in stages.items():
      assert (
        microbatches.accumulation_steps(stage, fitted[name].batch, devices)
        == turns
      )


@pytest.mark.parametrize(
  ("asked", "want"),
  [
    # batch, microbatch, devices, together
    ((5, 5, 1, 1), (5, 5)),
    ((5, 5, 2, 1), (6, 3)),
    ((5, 5, 4, 1), (8, 2)),
    ((16, 16, 4, 2), (16, 4)),
    ((16, 16, 16, 2), (32, 2)),  # pairs: two examples each at least
    ((28, 8, 2, 2), (32, 8)),  # 14 each: 7 is odd
    ((28, 8, 2, 1), (28, 7)),
    ((256, 32, 6, 1), (264, 22)),  # 43 each, a prime: two turns of 22
    ((256, 32, 7, 2), (280, 20)),
    ((28, 7, 2, 2), (36, 6)),  # three turns of 6, for 7 is odd
    ((64, 8, 64, 1), (64, 1)),
  ],
)
def test_plan(asked, want):
  assert microbatches.plan(*asked) == want


def test_microbatches_too_small_for_pairs_are_refused():
  config = speak.get_config("paper,irfd.microbatch=1")
  with pytest.raises(ValueError, match=r"config\.irfd: .* at least 2"):
    microbatches.fit_to_devices(config, 1)


def test_a_batch_that_does_not_divide_is_refused():
  with pytest.raises(ValueError, match=r"toy: a batch of 4 .* on 3 devices"):
    microbatches.accumulation_steps(toy.stage(), 4, 3)


def test_a_run_goes_on_with_its_batch_alone(tmp_path, capsys):
  run = toy.run(tmp_path, 1)
  loop.fit(run, toy.batches(), {})
  larger = run._replace(steps=2, stage=toy.stage(batch=8))
  with pytest.raises(ValueError, match=r"with batches of 4, and 8 .*batch=4"):
    loop.fit(larger, toy.batches(size=8), {})
  smaller = run._replace(steps=2, stage=toy.stage()._replace(microbatch=1))
  loop.fit(smaller, toy.batches(), {})
  assert "microbatches were of 2 examples and are of 1 now" in (
    capsys.readouterr().err
  )


def test_batches_of_before_are_known_by_the_config(tmp_path):
  """Checkpoints of before kept the batch in the config alone."""
  run = toy.run(tmp_path, 1)
  old = {"config": json.dumps({"toy": {"batch": 2}})}
  with pytest.raises(ValueError, match="with batches of 2, and 4"):
    run.check_origin("5", old)
  old = {"config": json.dumps({"toy": {"batch": 4}})}
  assert not run.check_origin("5", old)


TRAIN = """
import sys
from speak_jax.training.run import train
from tests.e2e.test_train import config
try:
  train(config(stages=("syncnet",), syncnet__batch=5,
    syncnet__microbatch=4, syncnet__steps=int(sys.argv[2])), sys.argv[1])
except ValueError as error:
  sys.exit(f"refused: {error}")
"""


def test_a_run_on_four_devices_and_then_on_one(tmp_path):
  """Five clips become eight on four devices; six on one are refused then."""

  def train(devices: int, steps: int):
    return subprocess.run(
      [sys.executable, "-c", TRAIN, str(tmp_path), str(steps)],
      cwd=Path(__file__).parents[2],
      env=os.environ | {"JAX_NUM_CPU_DEVICES": str(devices)},
      capture_output=True,
      text=True,
    )

  first = train(4, 2)
  assert first.returncode == 0, first.stderr[-2000:]
  line = "syncnet: for 4 devices batch 5 -> 8, microbatch 4 -> 2"
  assert line in first.stderr
  assert "2 steps of 8 in microbatches of 2" in first.stderr
  rows = (tmp_path / "syncnet" / "metrics.jsonl").read_text().splitlines()
  row = json.loads(rows[-1])
  assert row["step"] == 2
  assert all(np.isfinite(value) for value in row.values())
  stored = json.loads((tmp_path / "config.json").read_text())["config"]
  assert (stored["syncnet"]["batch"], stored["syncnet"]["microbatch"]) == (8, 2)
  second = train(1, 3)
  assert "was trained with batches of 8, and 6 are asked" in second.stderr
