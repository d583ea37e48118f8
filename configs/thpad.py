"""TH-PAD: lips by contrast, a space without them, and a prior that moves it.

python -m speak_jax.train --config configs/thpad.py[:preset[,key=value]]

The losses are those of Yu et al. 2023 (arXiv 2212.04248). Sizes, weights and
rates are ours, since nothing of the method's code is public.
"""

from ml_collections import ConfigDict

from speak_jax.configs import common

PRESETS = ("base", "demo", "small64", "released")

# Every size that a preset chooses. Channels are by resolution, coarse to fine.
SIZES = {
  "base": dict(
    image=256,
    # f_id, f_cl with f_a and f_ol, the two parts of f_nl, f_l.
    codes=dict(identity=512, contrast=512, head=6, face=36, lips=500),
    encoder=dict(stages=(3, 4, 6, 3), width=64, bottleneck=True, stem="deep"),
    hears=32,  # channels of E_a's first layers; SyncNet_color's
    channels={4: 512, 8: 512, 16: 512, 32: 512, 64: 256, 128: 128, 256: 64},
    latent=512,
    maps=(16, 32, 64, 256),
    discriminator=dict(width=64, scales=3, layers=3),
    prior=dict(width=512, layers=8, heads=8, hidden=2048),
  ),
  "small64": dict(
    image=64,
    codes=dict(identity=128, contrast=64, head=6, face=6, lips=64),
    encoder=dict(stages=(1, 1, 1), width=16, bottleneck=False, stem="small"),
    hears=8,
    channels={8: 64, 16: 48, 32: 32, 64: 16},
    latent=96,
    maps=(8, 16, 32, 64),
    discriminator=dict(width=24, scales=2, layers=2),
    prior=dict(width=128, layers=2, heads=4, hidden=256),
  ),
  "demo": dict(
    image=32,
    codes=dict(identity=16, contrast=16, head=4, face=4, lips=16),
    encoder=dict(stages=(1, 1), width=8, bottleneck=False, stem="small"),
    hears=4,
    channels={8: 16, 16: 12, 32: 8},
    latent=16,
    maps=(8, 16, 32),
    discriminator=dict(width=4, scales=1, layers=2),
    prior=dict(width=16, layers=1, heads=2, hidden=32),
  ),
}
_SIZED_AS = {"released": "base"}

# Windows of the prior, and how it is asked.
_SHORT = {
  "thpad_prior.frames": 25,
  "thpad_prior.given": 5,
  "thpad_prior.count": 10,
}
RECIPES = {
  "base": {},
  "small64": {
    **_SHORT,
    "thpad_lip.steps": 600,
    "thpad_lip.batch": 8,
    "thpad_lip.microbatch": 8,
    "thpad_lip.optim.lr": 2e-3,
    "thpad_lip.optim.warmup": 50,
    "thpad_space.steps": 700,
    "thpad_space.batch": 16,
    "thpad_space.optim.lr": 1e-3,
    "thpad_space.optim.warmup": 50,
    "thpad_space.optim.ema": 0.99,
    # No GAN, which would more than double a step, and no VGG: features of E_id.
    "thpad_space.weights.gan": 0.0,
    "thpad_space.weights.features": 0.0,
    "thpad_prior.steps": 1_000,
    "thpad_prior.batch": 8,
    "thpad_prior.microbatch": 8,
    "thpad_prior.optim.lr": 1e-3,
    "thpad_prior.optim.warmup": 50,
    "thpad_prior.optim.ema": 0.99,
    "train.save_every": 500,
    "train.sheet_every": 500,
    "data.synthetic.size": 96,
    "data.synthetic.identities": 200,
    "data.synthetic.held_out": 12,
    "data.synthetic.framing": "medium",
    "data.synthetic.twins_every": 0,
  },
  # What shows that all stages run, in minutes; nothing of a GAN is traced.
  "demo": {
    **_SHORT,
    "thpad_prior.frames": 10,
    "thpad_lip.batch": 4,
    "thpad_lip.microbatch": 4,
    "thpad_lip.steps": 20,
    "thpad_space.batch": 4,
    "thpad_space.microbatch": 4,
    "thpad_space.steps": 20,
    "thpad_space.weights.gan": 0.0,
    "thpad_space.weights.features": 0.0,
    "thpad_prior.batch": 4,
    "thpad_prior.microbatch": 4,
    "thpad_prior.steps": 40,
    **common.TINY,
  },
  # Neither weights nor code are released: `base` under the name that every
  # method has.
  "released": {},
}


def get_config(arg: str = "") -> ConfigDict:
  """The locked config of `arg` = "preset,key=value,...".

  Raises:
    ValueError: an unknown preset, key, or a malformed pair.
  """
  return common.config(arg, PRESETS, RECIPES, _config)


def _config(preset: str) -> dict:
  sizes = common.sizes(SIZES, _SIZED_AS, preset)
  return dict(
    **common.run("thpad", preset, ("thpad_lip", "thpad_space", "thpad_prior")),
    model=dict(
      **sizes,
      context=5,  # frames of sound on each side; a frame hears two more
      up="bilinear",  # how G doubles; "transposed" as StyleGAN2
      dtype="auto",
    ),
    # Public weights to start from: a file, or a name on the Hugging Face hub.
    pretrained=dict(required=(), vgg=""),  # VGG-19 of L_G; "" = E_id's features
    **common.machines(),
    data=common.data(),
    train=common.train(),
    thpad_lip=dict(
      steps=50_000,
      batch=32,  # clips
      microbatch=32,
      frames=8,  # that are compared, of a clip
      every=3,  # frames from one to the next: all others are negatives
      temperature=0.07,
      weights=dict(
        lip=1.0,  # L_cl
        moment=1.0,  # the same within each clip; ours
      ),
      optim=common.optim(1e-4),
    ),
    thpad_space=dict(
      steps=200_000,
      batch=32,
      microbatch=16,
      frames=4,  # that are drawn, of a clip
      every=3,
      temperature=0.07,
      region=dict(mouth=8.0, face=1.5),  # extra pixel weight, as in speak
      gan_ramp=(10_000, 20_000),  # steps over which the weight rises
      gan_lead=1_000,  # steps that the discriminator learns before that
      r1=1.0,
      r1_every=16,
      weights=dict(
        lip=1.0,  # L_cl
        moment=1.0,  # as in thpad_lip
        orthogonal=1.0,  # L_ol
        covariance=1.0,  # of f_nl and f_a over a batch; ours
        variance=0.1,  # floor of f_nl's std, against constants; ours
        # L_G. Ours in place of one plain L1: a pyramid of it, by region, and
        # where the landmarks go that G moves the picture by.
        pixel=1.0,
        gradient=0.0,
        structure=0.0,
        flow=2.0,
        expression=2.0,
        mouth_box=1.0,
        perceptual=10.0,  # on VGG-19, where pretrained.vgg is given
        perceptual_encoders=0.1,  # else: on the features of E_id
        features=10.0,  # feature matching in D
        gan=1.0,
      ),
      optim=common.optim(1e-4),
      discriminator=common.adam(1e-4),
    ),
    thpad_prior=dict(
      steps=100_000,
      batch=32,
      microbatch=32,
      frames=100,  # of a window
      given=10,  # frames that a window has of the one before
      given_share=0.5,  # of the examples in training
      told_share=0.9,  # that hear their sound
      noise_steps=1_000,
      count=50,  # of these, when frames are made
      guidance=1.5,  # 1 = none
      weights=dict(clean=1.0, velocity=1.0),
      optim=common.optim(1e-4),
    ),
  )
