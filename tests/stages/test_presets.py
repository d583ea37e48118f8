"""Every preset builds and traces an update of every phase, at full size."""

import jax
import pytest

from configs import speak as presets
from speak_jax.stages import irfd, speak, syncnet
from speak_jax.training.state import initial, update

# What a preset's phases must log, whatever else they do.
TERMS = {
  "base256": {"gan", "features", "perceptual", "opening", "sync"},
  "paper": {"gan", "perceptual", "sync"},
  "small64": {"opening", "sync", "mouth_box"},
  "demo": {"opening", "sync", "mouth_box"},
}


@pytest.mark.parametrize("preset", presets.PRESETS)
def test_preset_traces(preset):
  config = presets.get_config(preset)
  key = jax.eval_shape(lambda: jax.random.key(0))
  logged = {}
  for module in (syncnet, irfd, speak):
    stage = module.make(config)
    state = jax.eval_shape(lambda stage=stage: initial(stage, 0, {}))
    for index, phase in enumerate(stage.phases):
      new, metrics = jax.eval_shape(
        update(stage, index), state, stage.batch, key
      )
      assert jax.tree.map(lambda x: (x.shape, x.dtype), new) == jax.tree.map(
        lambda x: (x.shape, x.dtype), state
      )
      logged[stage.name, phase.name] = set(metrics)
  terms = logged["speak", "gen"]
  assert terms >= TERMS[preset]
  weights = config.speak.weights.to_dict()
  assert not terms & {name for name, weight in weights.items() if not weight}
