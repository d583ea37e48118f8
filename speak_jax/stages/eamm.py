"""EAMM's stages: video that moves a picture, and what learns to stand for it.

The first one, `fomm`, is the First Order Motion Model, and is of use alone.
Then sound takes the place of the video (`eamm_motion.py`), and an emotion
moves what it says (`eamm_emotion.py`).
"""

from speak_jax.nn import mfcc
from speak_jax.stages import eamm_emotion, eamm_motion, fomm, rules
from speak_jax.stages.base import Row, Training
from speak_jax.stages.eamm_emotion import EMOTION, FEELING
from speak_jax.stages.eamm_motion import FINETUNE, HEARING, MOTION, SCALE

TRAINING = Training(
  stages={
    fomm.NAME: Row(fomm.make, (fomm.KEYPOINTS, fomm.GENERATOR), fomm.sampler),
    MOTION: Row(
      eamm_motion.make_motion, (HEARING, SCALE), eamm_motion.motion_sampler
    ),
    FINETUNE: Row(
      eamm_motion.make_finetune,
      (HEARING, SCALE, fomm.GENERATOR),
      eamm_motion.finetune_sampler,
    ),
    EMOTION: Row(eamm_emotion.make, (FEELING,), eamm_emotion.sampler),
  },
  rules=(
    ("data.fps", rules.AT_25),
    (
      "model.image",
      rules.Rule(
        "a power of 2 from 32 on",
        lambda x: isinstance(x, int) and x >= 32 and x & (x - 1) == 0,
      ),
    ),
    (
      "pretrained.required",
      rules.each(
        rules.one_of(fomm.KEYPOINTS, fomm.GENERATOR, fomm.VGG, HEARING, FEELING)
      ),
    ),
    ("model.keypoints", rules.SOME),
    ("model.shrink", rules.SOME),
    ("model.detector.*", rules.SOME),
    ("model.motion.*", rules.SOME),
    ("model.generator.skips", rules.SWITCH),
    ("model.generator.*", rules.SOME),
    ("model.aligned", rules.SWITCH),
    ("model.anchored", rules.SWITCH),
    ("model.context", rules.whole(mfcc.BEFORE + 1)),
    ("model.ears", rules.SOME),
    ("model.layers", rules.SOME),
    ("model.feeling.stages", rules.each(rules.SOME, least=1)),
    ("model.feeling.features", rules.SOME),
    ("model.moved", rules.each(rules.ANY)),
    ("model.loud", rules.FROM_0),
    ("model.displace", rules.each(rules.FROM_0)),
    ("model.smooth.rate", rules.POSITIVE),
    ("model.smooth.*", rules.each(rules.FROM_0, 3)),
    ("fomm.warp.side", rules.whole(2)),
    ("fomm.warp.*", rules.FROM_0),
    ("eamm_finetune.every", rules.SOME),
    ("*.picture_from", rules.one_of("clip", "person", "neutral")),
  ),
  model_of={"feeling": EMOTION, "moved": EMOTION},
)
