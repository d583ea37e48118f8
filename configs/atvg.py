"""ATVG: sound to landmarks, landmarks to video, trained like SPEAK.

python -m speak_jax.train --config configs/atvg.py[:preset[,key=value]]

Sizes, rates and weights are those of Chen et al. 2019 (arXiv 1905.03820) and
its public code; "ours" says where they are not.
"""

from ml_collections import ConfigDict

from speak_jax.configs import common

PRESETS = ("base", "demo", "small64", "released")
_SMALL = {
  "model.image": 64,
  "model.frames": 5,
  "model.width": 16,
  "model.layers": 1,
  "model.blocks": 3,
}
RECIPES = {
  # The published networks in our crop, with the mends that the keys tell of.
  "base": {},
  "demo": {
    **_SMALL,
    "model.image": 32,
    "model.width": 4,
    "model.blocks": 1,
    "atvg_landmarks.steps": 40,
    "atvg_landmarks.batch": 4,
    "atvg_landmarks.microbatch": 4,
    "atvg_video.steps": 20,
    "atvg_video.batch": 2,
    "atvg_video.microbatch": 2,
    **common.TINY,
  },
  "small64": {
    **_SMALL,
    "atvg_landmarks.steps": 10_000,
    "atvg_video.steps": 20_000,
  },
  # What the public code does: a frame does not know those before it, the
  # critic is trained and nobody hears it, movements are exaggerated.
  "released": {
    "model.recurrent": False,
    "model.exaggerate": (1.0, 2.2, 2.4, 2.6, 2.8, 3.0),
    "atvg_video.weights.gan": 0.0,
    "atvg_video.weights.landmarks": 0.0,
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
    **common.run("atvg", preset, ("atvg_landmarks", "atvg_video")),
    model=dict(
      image=128,  # px, a multiple of 32
      frames=16,  # of a sample
      context=4,  # frames of sound on each side: a frame hears three more
      width=64,  # channels at full size; all others follow
      layers=3,  # of the LSTMs
      blocks=9,  # residual blocks
      directions=6,  # coefficients of landmarks
      # Landmarks move on the mean shape, alike for everybody; True: on the
      # shape of the identity picture.
      keep_shape=False,
      recurrent=True,  # ours: the public code's frames are each the first
      # Factors of the coefficients when video is made; ours: none.
      exaggerate=(1.0, 1.0, 1.0, 1.0, 1.0, 1.0),
      dtype="auto",
    ),
    # Public weights to begin with, of the same sizes: atnet_lstm_18.pth, whose
    # coefficients are of a basis of its own, generator_23.pth, and a critic
    # that its code has saved.
    pretrained=dict(required=(), atvg_at="", atvg_vg="", atvg_critic=""),
    **common.machines(),
    data=common.data(),
    train=common.train(),
    atvg_landmarks=dict(
      steps=40_000,  # ours; 10 epochs of LRW
      batch=16,
      microbatch=16,
      weights=dict(coefficients=1.0),
      optim=dict(common.optim(2e-4), b2=0.999),
    ),
    atvg_video=dict(
      steps=60_000,  # ours; 5 epochs of LRW
      batch=10,
      microbatch=10,
      # Ours: the public code cuts the gradient of the last two off, so that
      # their weights of 1 were never tried.
      weights=dict(pixel=10.0, gan=0.1, landmarks=0.01),
      optim=dict(common.optim(2e-4), b2=0.999),
      critic=dict(common.adam(2e-4), b2=0.999),
    ),
  )
