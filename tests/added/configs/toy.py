"""A toy method: the identity picture, lit from below by the sound.

python -m speak_jax.train --config configs/toy.py[:preset[,key=value]]
"""

from ml_collections import ConfigDict

from speak_jax.configs import common

PRESETS = ("small64", "demo")
RECIPES = {
  "small64": {},
  "demo": {
    "model.image": 32,
    "toy.steps": 6,
    "toy.batch": 2,
    "toy.microbatch": 2,
    **common.TINY,
    "data.synthetic.identities": 2,
    "data.synthetic.clips": 1,
    "data.synthetic.seconds": 0.6,
    "data.synthetic.size": 32,
  },
}


def get_config(arg: str = "") -> ConfigDict:
  """The locked config of `arg` = "preset,key=value,...".

  Raises:
    ValueError: an unknown preset, key, or a malformed pair.
  """
  return common.config(arg, PRESETS, RECIPES, _config)


def _config(preset: str) -> dict:
  return dict(
    **common.run("toy", preset, ("toy",)),
    model=dict(
      image=64,  # px
      frames=5,  # of a sample
      context=0,  # frames of sound on each side
      width=8,
      dtype="float32",
    ),
    pretrained=dict(required=()),
    **common.machines(),
    data=common.data(),
    train=common.train(),
    toy=dict(
      steps=1_000,
      batch=16,
      microbatch=16,
      quiet=-8.0,  # log of the loudness that counts as none
      weights=dict(pixel=1.0),
      optim=common.optim(1e-2),
    ),
  )
