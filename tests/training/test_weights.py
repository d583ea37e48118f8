"""Weights of a run, and a line where they are not for the networks."""

import json

import jax
import numpy as np
import pytest

from speak_jax.stages import registry
from speak_jax.training import run_config, state, weights
from speak_jax.training.checkpoint_manager import CheckpointManager
from tests.stages import small


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  """A run whose SyncNet is there, untrained."""
  folder = tmp_path_factory.mktemp("run")
  config = small.config(stages=("syncnet",))
  fresh = state.init_state(registry.STAGES["syncnet"].make(config), 0, {})
  saved = CheckpointManager(folder / "syncnet" / "checkpoints")
  saved.save(fresh, {}, {})
  saved.finish()
  (folder / "config.json").write_text(json.dumps({"config": config.to_dict()}))
  return folder, fresh


def test_weights_that_fit(run):
  folder, fresh = run
  config = run_config.read(folder)
  params, _ = weights.trained(folder, config, "syncnet", ["sync"])
  jax.tree.map(np.testing.assert_array_equal, params["sync"], fresh.ema["sync"])


def test_other_networks_are_one_line(run):
  other = small.config(model__sync=dict(width=6, out=8))
  line = r"run\d: its checkpoint of stage syncnet does not fit .* see .'sync'"
  with pytest.raises(ValueError, match=line) as caught:
    weights.trained(run[0], other, "syncnet", ["sync"])
  assert "\n" not in str(caught.value)


def test_a_config_without_a_key_is_one_line(run):
  old = small.config().copy_and_resolve_references().unlock()
  del old.model.pose_spatial_channels
  with pytest.raises(
    ValueError, match=r"run\d: its config .*pose_spatial_channels"
  ):
    weights.trained(run[0], old, "syncnet", ["sync"])
