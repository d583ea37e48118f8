"""EAMM, and the First Order Motion Model in it, trained like SPEAK.

python -m speak_jax.train --config configs/eamm.py[:preset[,key=value]]

Sizes, rates and weights are those of Siarohin et al. 2019 (arXiv 2003.00196),
of Ji et al. 2022 (arXiv 2205.15278) and of their public code; "ours" says where
they are not.
"""

from ml_collections import ConfigDict

from speak_jax.configs import common

PRESETS = ("base", "demo", "small64", "released")
_SMALL = {
  "model.image": 64,
  "model.keypoints": 5,
  "model.shrink": 2,
  "model.detector.width": 8,
  "model.detector.widest": 64,
  "model.detector.blocks": 3,
  "model.motion.width": 16,
  "model.motion.widest": 64,
  "model.motion.blocks": 3,
  "model.generator.width": 16,
  "model.generator.residuals": 2,
}
RECIPES = {
  # The published networks in our crop, with the mends that the keys tell of.
  "base": {},
  "demo": {
    **_SMALL,
    "model.image": 32,
    "model.keypoints": 3,
    "model.detector.width": 4,
    "model.detector.widest": 16,
    "model.detector.blocks": 2,
    "model.motion.width": 4,
    "model.motion.widest": 16,
    "model.motion.blocks": 2,
    "model.generator.width": 4,
    "model.generator.residuals": 1,
    "fomm.steps": 40,
    "fomm.batch": 4,
    "fomm.microbatch": 4,
    "train.first_save": 1,
    "data.threads": 0,
    "data.synthetic.identities": 3,
    "data.synthetic.held_out": 2,
    "data.synthetic.clips": 2,
    "data.synthetic.seconds": 1.0,
    "data.synthetic.size": 64,
    "data.synthetic.twins_every": 0,
    "data.synthetic.workers": 0,
  },
  "small64": {
    **_SMALL,
    "fomm.steps": 10_000,
    "fomm.batch": 16,
    "fomm.microbatch": 16,
  },
  # What the public code does: pictures are read off by half a cell, VGG alone
  # says how frames should look.
  "released": {
    "model.aligned": False,
    "pretrained.required": ("vgg",),
    "fomm.weights.pixel": 0.0,
    "fomm.weights.gradient": 0.0,
    "fomm.weights.structure": 0.0,
  },
}


def get_config(arg: str = "") -> ConfigDict:
  """The locked config of `arg` = "preset,key=value,...".

  Raises:
    ValueError: an unknown preset, key, or a malformed pair.
  """
  preset, values = common.parse_arg(arg, PRESETS)
  config = ConfigDict(_config(preset))
  common.override(config, RECIPES[preset])
  common.override(config, values)
  return config.lock()


def _config(preset: str) -> dict:
  return dict(
    **common.run("eamm", preset, ("fomm",)),
    model=dict(
      image=256,  # px
      keypoints=10,
      shrink=4,  # keypoints and motion see pictures of this part of their side
      # Of both hourglasses: channels beside the input, the most, halvings.
      detector=dict(width=32, widest=1024, blocks=5),
      motion=dict(width=64, widest=1024, blocks=5),
      generator=dict(width=64, residuals=6),
      # Ours: places are those of the cells' centres. The public code reads
      # pictures half a cell away from them.
      aligned=True,
      dtype="auto",
    ),
    # Public weights to begin with, of the same sizes; both first ones may name
    # one file, such as vox-cpk.pth.tar or EAMM's 124_52000.pth.tar. VGG-19 is
    # of the perceptual loss, which is off without it.
    pretrained=dict(required=(), fomm_keypoints="", fomm_generator="", vgg=""),
    **common.machines(),
    data=common.data(),
    train=common.train(),
    fomm=dict(
      steps=100_000,  # ours
      batch=40,
      microbatch=40,
      weights=dict(
        perceptual=10.0,  # of five maps of VGG-19 at four scales each
        # Ours; what there is where no VGG-19 is given.
        pixel=10.0,
        gradient=10.0,
        structure=1.0,
        points=10.0,  # of a picture and a warped one
        jacobians=10.0,
      ),
      region=dict(mouth=4.0, face=1.0),  # ours: more than a room weighs
      # Random warps: deviation of a matrix's numbers, of a thin plate's
      # weights, and controls of it in a row.
      warp=dict(turn=0.05, bend=0.005, side=5),
      optim=dict(common.optim(2e-4), b2=0.999),
    ),
  )
