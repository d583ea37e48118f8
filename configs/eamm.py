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
  # Means of 4 x 4 px, which published halvings would move, tell no mouth.
  "model.generator.halvings": 1,
  "model.generator.width": 16,
  "model.generator.residuals": 2,
  # A face from the first step on: painting one anew takes days.
  "model.generator.skips": True,
  # Who has just begun to hear does not move.
  "model.anchored": True,
  # A batch of many people tells more than one of long stretches.
  "model.frames": 2,
  "model.ears": 16,
  "model.layers": 1,
  "model.feeling.stages": (1, 1, 1, 1),
  "model.feeling.features": 8,
  "eamm_finetune.every": 2,
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
    "model.ears": 4,
    "model.feeling.stages": (1, 1),
    "model.feeling.features": 4,
    "fomm.steps": 40,
    "fomm.batch": 4,
    "fomm.microbatch": 4,
    "eamm_motion.steps": 30,
    "eamm_motion.batch": 4,
    "eamm_motion.microbatch": 4,
    "eamm_finetune.steps": 10,
    "eamm_finetune.batch": 2,
    "eamm_finetune.microbatch": 2,
    "eamm_emotion.steps": 20,
    "eamm_emotion.batch": 4,
    "eamm_emotion.microbatch": 4,
    **common.TINY,
  },
  "small64": {
    **_SMALL,
    "fomm.steps": 6_000,
    "fomm.batch": 12,
    "fomm.microbatch": 12,
    "fomm.optim.lr": 1e-3,
    "fomm.optim.warmup": 300,
    "eamm_motion.steps": 4_000,
    # Of a person's other clips, where emotions are others: sound says nothing
    # of them, so that they are what is left for the last stage to learn.
    "eamm_motion.picture_from": "person",
    "eamm_motion.batch": 20,
    "eamm_motion.microbatch": 20,
    "eamm_motion.optim.lr": 1e-3,
    "eamm_motion.optim.warmup": 200,
    "eamm_finetune.steps": 300,
    "eamm_finetune.picture_from": "person",
    "eamm_finetune.batch": 12,
    "eamm_finetune.microbatch": 12,
    "eamm_finetune.optim.lr": 4e-4,
    "eamm_finetune.optim.warmup": 30,
    "eamm_emotion.steps": 2_400,
    "eamm_emotion.batch": 20,
    "eamm_emotion.microbatch": 20,
    "eamm_emotion.optim.lr": 1e-3,
    "eamm_emotion.optim.warmup": 200,
  },
  # What the public code does: pictures are read off by half a cell, VGG alone
  # says how frames should look, sound is exaggerated, four keypoints learn of
  # emotions and three of them are moved. The numbers of the latter are those
  # of its own weights.
  "released": {
    "model.moved": (1, 4, 6, 8),
    "model.displace": (0.2, 1.0, 1.0, 0.0),
    "model.loud": 1.6,
    "model.smooth.rate": 100.0,
    "eamm_emotion.picture_from": "neutral",
    "eamm_emotion.weights.classes": 0.0,
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
  return common.config(arg, PRESETS, RECIPES, _config)


def _config(preset: str) -> dict:
  return dict(
    **common.run(
      "eamm", preset, ("fomm", "eamm_motion", "eamm_finetune", "eamm_emotion")
    ),
    model=dict(
      image=256,  # px
      keypoints=10,
      shrink=4,  # keypoints and motion see pictures of this part of their side
      # Of both hourglasses: channels beside the input, the most, halvings.
      detector=dict(width=32, widest=1024, blocks=5),
      motion=dict(width=64, widest=1024, blocks=5),
      # Frames show the moved picture itself where nothing hides it, "skips", as
      # the authors' next method has it (Siarohin et al. 2021); or are painted.
      generator=dict(width=64, halvings=2, residuals=6, skips=False),
      # Ours: places are those of the cells' centres. The public code reads
      # pictures half a cell away from them.
      aligned=True,
      # Ours: what is heard moves the keypoints that are seen of the picture,
      # and heads are held against how the picture's is. Published: it is where
      # they lie, whosever picture it is.
      anchored=False,
      frames=16,  # of a sample, where sound is heard
      context=4,  # frames of sound on each side: a frame hears three more
      ears=64,  # channels of the first convolution over sound
      layers=3,  # of the LSTM
      # Of the residual network that sees emotions: blocks, first channels.
      feeling=dict(stages=(2, 2, 2, 2), features=64),
      moved=(),  # keypoints that an emotion moves; (): all of them
      # When video is made. Factors: of what is heard, and of what an emotion
      # adds to each of `moved`, (): 1.
      loud=1.0,
      displace=(),
      # One-Euro filters as published: Hz of the cut-off at rest, its rise
      # with speed, a factor of the numbers; ours: at the true rate, Hz.
      smooth=dict(
        keypoints=(0.05, 8.0, 10.0),
        displacement=(1.0, 0.2, 100.0),
        pose=(0.004, 0.7, 10.0),
        rate=25.0,
      ),
      dtype="auto",
    ),
    # Public weights to begin with, of the same sizes; both first ones may name
    # one file, such as vox-cpk.pth.tar or EAMM's 124_52000.pth.tar. VGG-19 is
    # of the perceptual loss, which is off without it.
    # 1-6000.pth.tar hears and 5-3000.pth.tar feels, by numbers of the head in
    # units of their own.
    pretrained=dict(
      required=(),
      fomm_keypoints="",
      fomm_generator="",
      vgg="",
      eamm_hearing="",
      eamm_feeling="",
    ),
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
    eamm_motion=dict(
      steps=60_000,  # ours
      batch=8,
      microbatch=8,
      # The picture that sound moves: of the "clip", of any clip of the
      # "person", or of a "neutral" one.
      picture_from="clip",
      # Of what is heard against what is seen; heat is that of the keypoints.
      weights=dict(points=10.0, jacobians=10.0, heat=1_000.0),
      optim=dict(common.optim(2e-4), b2=0.999),
    ),
    eamm_finetune=dict(
      steps=20_000,  # ours
      batch=6,
      microbatch=6,
      every=4,  # frames from one that is painted to the next
      picture_from="clip",
      # The last: of all that `fomm` weighs of how frames look.
      weights=dict(points=10.0, jacobians=10.0, heat=1_000.0, pictures=0.1),
      optim=dict(common.optim(2e-4), b2=0.999),
    ),
    eamm_emotion=dict(
      steps=40_000,  # ours
      batch=16,
      microbatch=16,
      picture_from="person",  # ours; published: of a "neutral" one
      weights=dict(points=10.0, jacobians=10.0, classes=1.0),
      optim=dict(common.optim(2e-4), b2=0.999),
    ),
  )
