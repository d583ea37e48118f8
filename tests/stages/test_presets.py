"""Every preset builds and traces an update of every phase, at full size."""

import jax
import pytest
from jax.sharding import AxisType

from configs import speak as presets
from speak_jax.training import microbatches, sharding, step
from speak_jax.training.state import abstract_state

# What a preset's phases must log, whatever else they do.
TERMS = {
  "base256": {"gan", "features", "perceptual", "opening", "sync"},
  "paper": {"gan", "perceptual", "sync"},
  "small64": {"opening", "sync", "mouth_box"},
  "demo": {"opening", "sync", "mouth_box"},
}


def assert_large_arrays_are_split(state, large):
  for path, x in jax.tree_util.tree_flatten_with_path(state)[0]:
    name = jax.tree_util.keystr(path, simple=True, separator="/")
    if x.size >= large:
      axis = sharding.split_axis(name)
      assert axis is not None and x.shape[axis] % 8 == 0, name


@pytest.mark.usefixtures("unchecked")
@pytest.mark.skipif(jax.device_count() < 2, reason="needs two devices")
@pytest.mark.parametrize("preset", presets.PRESETS)
def test_preset_starts_on_two_devices(preset):
  """Its programs are traced with their shardings, as the loop runs them.

  And every large array of base256 can be split over eight devices.
  """
  mesh = jax.make_mesh(
    (2, 1),
    ("data", "model"),
    axis_types=(AxisType.Auto,) * 2,
    devices=jax.devices()[:2],
  )
  config = presets.get_config(preset)
  if preset == "paper":  # which is not trained without
    with config.unlocked():
      config.pretrained.vgg = "vgg19.safetensors"
  if preset in ("base256", "paper"):
    # One microbatch a step, half the traces: several are run for every stage in
    # training/test_sharding.py, and counted for every preset in
    # training/test_microbatches.py.
    with config.unlocked():
      for name in config.stages:
        config[name].batch = 2 * config[name].microbatch
  config, stages, _ = microbatches.fit_to_devices(config, 2)
  key = jax.eval_shape(lambda: jax.random.key(0))
  logged = {}
  for stage in stages.values():
    state = abstract_state(stage)
    if preset == "base256":
      assert_large_arrays_are_split(state, config.mesh.min_shard_size)
    placing = sharding.state_sharding(state, mesh, config.mesh.min_shard_size)
    for phase, run in step.jit_phases(stage, placing, mesh):
      *_, last = run.traced(state, stage.batch, key).values()
      new, metrics = last.out_info
      assert jax.tree.map(lambda x: (x.shape, x.dtype), new) == jax.tree.map(
        lambda x: (x.shape, x.dtype), state
      )
      logged[stage.name, phase.name] = set(metrics)
  terms = logged["speak", "gen"]
  assert terms >= TERMS[preset]
  weights = config.speak.weights.to_dict()
  assert not terms & {name for name, weight in weights.items() if not weight}
