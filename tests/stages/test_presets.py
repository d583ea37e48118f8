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


@pytest.mark.skipif(jax.device_count() < 2, reason="needs two devices")
@pytest.mark.parametrize("preset", presets.PRESETS)
def test_preset_starts_on_two_devices(preset):
  """Its programs are traced with their shardings, as the loop runs them."""
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
  config, stages, _ = microbatches.fit_to_devices(config, 2)
  key = jax.eval_shape(lambda: jax.random.key(0))
  logged = {}
  for stage in stages.values():
    state = abstract_state(stage)
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
