"""Every stage of every preset of the other methods, traced at its full size."""

import importlib

import jax
import jax.numpy as jnp
import pytest

from speak_jax.stages import registry

OTHERS = tuple(x for x in registry.METHODS if x != "speak")
CONFIGS = {x: importlib.import_module(f"configs.{x}") for x in OTHERS}


def presets(method):
  """Its presets; one that is another under a second name is left out."""
  found = {}
  for name in CONFIGS[method].PRESETS:
    values = CONFIGS[method].get_config(name).to_dict() | {"preset": ""}
    if values not in found.values():
      found[name] = values
  return found


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
  ("method", "preset"),
  [(x, preset) for x in OTHERS for preset in presets(x)],
)
def test_every_preset_traces(method, preset):
  config = CONFIGS[method].get_config(preset)
  rows = registry.training(method).stages
  assert set(config.stages) <= set(rows)
  for name in config.stages:
    stage = rows[name].make(config)
    params, collections = jax.eval_shape(lambda s=stage: s.init(0, {}))
    for phase in stage.phases:
      inputs = (stage.batch, jnp.int32(0), jax.random.key(0))
      out = jax.eval_shape(phase.loss, params, collections, *inputs)
      assert out.loss.shape == ()
      for group, changed in out.collections.items():
        before = dict(collections[group])
        assert jax.tree.structure(changed) == jax.tree.structure(before)
    sheet = jax.eval_shape(stage.sample_grids, params, collections, stage.batch)
    assert all(x.dtype == jnp.uint8 for x in sheet.values())
