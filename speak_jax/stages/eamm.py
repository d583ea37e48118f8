"""EAMM's stages: video that moves a picture, and what learns to stand for it.

The first one, `fomm`, is the First Order Motion Model, and is of use alone.
"""

from speak_jax.stages import fomm, rules
from speak_jax.stages.base import Row, Training

TRAINING = Training(
  stages={
    fomm.NAME: Row(fomm.make, (fomm.KEYPOINTS, fomm.GENERATOR), fomm.sampler),
  },
  rules=(
    (
      "pretrained.required",
      rules.each(rules.one_of(fomm.KEYPOINTS, fomm.GENERATOR, fomm.VGG)),
    ),
    ("model.keypoints", rules.SOME),
    ("model.shrink", rules.SOME),
    ("model.detector.*", rules.SOME),
    ("model.motion.*", rules.SOME),
    ("model.generator.*", rules.SOME),
    ("model.aligned", rules.SWITCH),
    ("fomm.warp.side", rules.whole(2)),
    ("fomm.warp.*", rules.FROM_0),
  ),
)
