"""TH-PAD's three stages: lips by contrast, the space of the rest, the prior.

All learn from stretches of a clip. The first brings frames and sounds into one
space (`thpad_lip.py`), the second trains all that draws (`thpad_space.py`), the
third what moves where there is no frame to look at (`thpad_prior.py`).
"""

from speak_jax.stages import rules, thpad_lip, thpad_prior, thpad_space
from speak_jax.stages.base import Row, Training
from speak_jax.stages.thpad_lip import LIP, SENSES
from speak_jax.stages.thpad_prior import MOVES, PRIOR
from speak_jax.stages.thpad_space import DRAWS, SPACE

TRAINING = Training(
  stages={
    LIP: Row(thpad_lip.make, (SENSES,), thpad_lip.sampler),
    SPACE: Row(thpad_space.make, (SENSES, DRAWS), thpad_space.sampler),
    PRIOR: Row(thpad_prior.make, (SENSES, DRAWS, MOVES), thpad_prior.sampler),
  },
  rules=(
    ("data.fps", rules.AT_25),
    ("pretrained.required", rules.each(rules.one_of("vgg"))),
    (
      "model.context",
      rules.Rule(
        "a multiple of 5 from 5 on",
        lambda x: isinstance(x, int) and x >= 5 and x % 5 == 0,
      ),
    ),
    ("model.hears", rules.SOME),
    ("model.prior.*", rules.SOME),
    (f"{LIP}.frames", rules.whole(2)),
    (f"{SPACE}.frames", rules.SOME),
    ("*.every", rules.whole(3)),
    ("*.temperature", rules.POSITIVE),
    (f"{PRIOR}.frames", rules.whole(2)),
    (f"{PRIOR}.given", rules.ANY),
    (f"{PRIOR}.given_share", rules.SHARE),
    (f"{PRIOR}.told_share", rules.SHARE),
    (f"{PRIOR}.noise_steps", rules.SOME),
    (f"{PRIOR}.count", rules.SOME),
    (f"{PRIOR}.guidance", rules.FROM_0),
  ),
  model_of={"prior": PRIOR},
)
