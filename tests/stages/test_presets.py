"""Every preset builds and traces an update of every phase, at full size."""

import functools

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
  "photo": {"points", "lips", "speed", "gap"},
}


# Whose traces take longest: several microbatches a step with --campaigns.
LARGE = ("base256", "paper")


def prepared(preset, devices, microbatches_a_step=None):
  """A preset's config for some devices, and its stages by name.

  Args:
    preset: Its name.
    devices: Over which each batch is split.
    microbatches_a_step: Instead of the preset's own.
  """
  config = presets.get_config(preset)
  with config.unlocked():
    if preset == "paper":  # which is not trained without
      config.pretrained.vgg = "vgg19.safetensors"
    for name in config.stages:
      if microbatches_a_step:
        each = devices * config[name].microbatch
        config[name].batch = microbatches_a_step * each
  config, stages, _ = microbatches.fit_to_devices(config, devices)
  return config, stages


@functools.cache
def states(preset):
  """Shapes of each stage's state, which no batch changes."""
  _, stages = prepared(preset, 1)
  return {name: abstract_state(stage) for name, stage in stages.items()}


def trace(preset, microbatches_a_step=None):
  """Traces every program of a preset on two devices, as the loop runs them.

  Returns:
    Names of what each phase logs, by stage and phase; and the config.
  """
  mesh = jax.make_mesh(
    (2, 1),
    ("data", "model"),
    axis_types=(AxisType.Auto,) * 2,
    devices=jax.devices()[:2],
  )
  config, stages = prepared(preset, 2, microbatches_a_step)
  key = jax.eval_shape(lambda: jax.random.key(0))
  logged = {}
  for stage in stages.values():
    state = states(preset)[stage.name]
    placing = sharding.state_sharding(state, mesh, config.mesh.min_shard_size)
    for phase, run in step.jit_phases(stage, placing, mesh):
      *_, last = run.traced(state, stage.batch, key).values()
      new, metrics = last.out_info
      assert jax.tree.map(lambda x: (x.shape, x.dtype), new) == jax.tree.map(
        lambda x: (x.shape, x.dtype), state
      )
      logged[stage.name, phase.name] = set(metrics)
  return logged, config


two = pytest.mark.skipif(jax.device_count() < 2, reason="needs two devices")


@two
@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("preset", presets.PRESETS)
def test_preset_starts_on_two_devices(preset):
  """The large ones with one microbatch a step, which is half the traces."""
  logged, config = trace(preset, 1 if preset in LARGE else None)
  terms = logged[("motion", "fit") if preset == "photo" else ("speak", "gen")]
  assert terms >= TERMS[preset]
  weights = config.speak.weights.to_dict()
  assert not terms & {name for name, weight in weights.items() if not weight}


@two
@pytest.mark.campaign
@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("preset", LARGE)
def test_large_presets_accumulate_on_two_devices(preset):
  """As above with gradients added up over the preset's own microbatches."""
  logged, _ = trace(preset)
  assert logged["speak", "gen"] >= TERMS[preset]


@pytest.mark.usefixtures("unchecked")
def test_large_arrays_of_base256_can_be_split_over_eight_devices():
  config, _ = prepared("base256", 1)
  large = 0
  for state in states("base256").values():
    for path, x in jax.tree_util.tree_flatten_with_path(state)[0]:
      name = jax.tree_util.keystr(path, simple=True, separator="/")
      if x.size >= config.mesh.min_shard_size:
        axis = sharding.split_axis(name)
        assert axis is not None and x.shape[axis] % 8 == 0, name
        large += 1
  assert large > 100
