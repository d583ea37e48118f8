"""Wav2Lip: lips of a face repainted after a sound, trained like SPEAK.

python -m speak_jax.train --config configs/wav2lip.py[:preset[,key=value]]

Sizes, rates and weights are those of Prajwal et al. 2020 (arXiv 2008.10010)
and its public code; "ours" says where they are not.
"""

from ml_collections import ConfigDict

from speak_jax.configs import common

PRESETS = ("base", "demo", "small64", "released")
_SMALL = {
  "model.image": 64,
  "model.width": 4,
  # A face from the first step on: painting one anew takes days.
  "model.skips": True,
}
# Adam at one rate from first to last, and no bound on its steps.
_PLAIN = {"warmup": 0, "floor": 1.0, "clip": 0.0}
RECIPES = {
  # The published networks in our crop, with the mends that the keys tell of.
  "base": {},
  "demo": {
    "model.image": 32,
    "model.width": 2,
    "model.skips": True,
    "wav2lip_sync.steps": 40,
    "wav2lip_sync.batch": 4,
    "wav2lip_sync.microbatch": 4,
    "wav2lip.steps": 20,
    "wav2lip.batch": 2,
    "wav2lip.microbatch": 2,
    "wav2lip.gate.steps": 5,
    **common.TINY,
  },
  "small64": {
    **_SMALL,
    # Narrow networks take large steps; a few steps that two CPU cores can do.
    "wav2lip_sync.steps": 700,
    "wav2lip_sync.batch": 8,
    "wav2lip_sync.microbatch": 8,
    "wav2lip_sync.moments": 8,
    # The cosines' own cross-entropy holds both where they say nothing: with it
    # the expert was still at chance after 566 steps, without it two of three
    # choices were right after 75.
    "wav2lip_sync.weights.cosine": 0.0,
    "wav2lip_sync.weights.contrast": 1.0,
    # At 1e-3 it learned in one run and stayed at chance in the next.
    "wav2lip_sync.optim.lr": 4e-4,
    "wav2lip_sync.optim.warmup": 50,
    "wav2lip.steps": 1_600,
    "wav2lip.batch": 4,
    "wav2lip.microbatch": 4,
    "wav2lip.weights.l1": 0.97,
    "wav2lip.weights.gan": 0.0,
    # Else it paints stripes in the mouth's place, by which it deceives so small
    # an expert, and which cost little of the mean over a face.
    "wav2lip.region.mouth": 8.0,
    # Real mouths are at .45 and those of another moment at 1.3, faces that copy
    # the reference as well: there is nothing else to wait for.
    "wav2lip.gate.threshold": 1.3,
    "wav2lip.gate.steps": 100,
    "wav2lip.optim.lr": 1e-3,
    "wav2lip.optim.warmup": 50,
    "wav2lip.optim.b1": 0.9,
  },
  # What the public code does: a frame hears what is a frame late, moments next
  # to each other count as apart, the expert judges by a batch's statistics.
  "released": {
    "model.released_offset": True,
    "model.feather": 0.0,
    "wav2lip_sync.apart": 1,
    "wav2lip.apart": 1,
    "wav2lip.batch_statistics": True,
    **{
      f"{optim}.{key}": value
      for optim in ("wav2lip_sync.optim", "wav2lip.optim", "wav2lip.critic")
      for key, value in _PLAIN.items()
    },
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
    **common.run("wav2lip", preset, ("wav2lip_sync", "wav2lip")),
    model=dict(
      image=96,  # px of a face, a multiple of 32
      frames=5,  # of a sample: as many as the expert sees at once
      context=5,  # frames of sound on each side
      width=16,  # channels of the generator at full size; all others follow
      # Ours: what is painted is added to the upper half and the reference;
      # published: it is the face.
      skips=False,
      # False: a frame hears the five frames that it is in the middle of. True:
      # those from the one before it where it learns, from itself where it is
      # used, so that mouths lead by a frame.
      released_offset=False,
      feather=4.0,  # px over which a pasted face fades, ours; 0 = none
      dtype="auto",
    ),
    # Public weights to begin with, of the same sizes: wav2lip.pth or
    # wav2lip_gan.pth, lipsync_expert.pth, visual_quality_disc.pth.
    pretrained=dict(
      required=(), wav2lip_generator="", wav2lip_expert="", wav2lip_critic=""
    ),
    **common.machines(),
    data=common.data(),
    train=common.train(),
    wav2lip_sync=dict(
      steps=100_000,  # ours; published: until the loss is about .25
      batch=32,  # stretches: twice as many pairs, half of which match
      microbatch=32,
      apart=3,  # frames between moments that do not match, ours
      moments=1,  # of a stretch, `apart` frames from each other, ours
      # Ours: contrast, picking the moment that is heard among those of the
      # stretch, by cosines over the temperature: against a loss that stays at
      # .69 for hours.
      weights=dict(cosine=1.0, contrast=0.0),
      temperature=0.07,
      optim=dict(common.optim(1e-4), b1=0.9, b2=0.999),
    ),
    wav2lip=dict(
      steps=200_000,  # ours
      batch=16,  # stretches of five frames
      microbatch=16,
      apart=3,  # frames between a stretch and its reference, ours
      # As published with the critic, once the gate is open; before, l1 has
      # what sync has not. Without one: gan=0, sync=.01.
      weights=dict(l1=0.9, sync=0.03, gan=0.07),
      # Ours: how much more of l1 a mouth and a face weigh; published: nothing.
      region=dict(mouth=0.0, face=0.0),
      # The sync loss counts once its mean over so many steps is below this.
      gate=dict(threshold=0.75, steps=300),
      # True: the expert judges by the statistics of the batch.
      batch_statistics=False,
      optim=dict(common.optim(1e-4), b2=0.999),
      critic=dict(common.adam(1e-4), b2=0.999),
    ),
  )
