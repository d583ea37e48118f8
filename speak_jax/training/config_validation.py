"""What every key of a config may be, looked at before any work.

`configs/` says what the keys mean and `validate` what they can be: there is a
rule for every key, so none is refused late, or never. Here are those of the
keys that all methods share, and SPEAK's; another method has its own in its
`TRAINING`. What keys may be together is up to who uses them.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from data_pipelines.sampling.clips import IDENTITY_FROM
from data_pipelines.sampling.pairs import KINDS, weights_of
from speak_jax.losses.disentangle import NORMS
from speak_jax.models.generator import UPS
from speak_jax.nn.precision import DTYPES
from speak_jax.stages import registry, speak, syncnet
from speak_jax.stages.rules import (
  ANY,
  BELOW_1,
  FROM_0,
  PLACE,
  POSITIVE,
  RAMP,
  SHARE,
  SOME,
  SWITCH,
  TEXT,
  Rule,
  each,
  either,
  number,
  one_of,
  whole,
)


def _mixes(x: Any) -> bool:
  if not isinstance(x, str):
    return False
  try:
    mix = weights_of(x)
  except ValueError:
    return False
  return all(kind in KINDS and 0 < w < math.inf for kind, w in mix)


PAIRS = Rule(
  f"'auto', or KIND:WEIGHT,... with weights over 0 of {', '.join(KINDS)}",
  lambda x: x == "auto" or _mixes(x),
)
# Looked up when they are asked for: a method may be added later.
STAGE = Rule(
  "the name of a stage",
  lambda x: isinstance(x, str) and x in registry.STAGES,
)
METHOD = Rule("the name of a method", lambda x: x in registry.METHODS)
# By key, * for any one name; the first that fits.
RULES: tuple[tuple[str, Rule], ...] = (
  ("method", METHOD),
  ("preset", TEXT),
  ("commit", TEXT),
  ("seed", whole(0, 2**32 - 1)),
  ("stages", each(STAGE, least=1)),
  ("init_from", PLACE),
  ("finetune_from", PLACE),
  # Networks.
  ("model.image", whole(8, 4096)),
  ("model.channels.*", SOME),
  ("model.codes.mouth", ANY),
  ("model.codes.*", SOME),
  ("model.encoder.stages", each(SOME, least=1)),
  ("model.encoder.width", SOME),
  ("model.encoder.bottleneck", SWITCH),
  ("model.encoder.stem", one_of("deep", "small")),
  ("model.latent", SOME),
  ("model.maps", each(SOME)),
  ("model.audio.front", one_of("mel", "waveform")),
  ("model.audio.steps", one_of("published", "frame")),
  ("model.audio.level", one_of("clip", "window")),
  ("model.audio.*", SOME),
  ("model.discriminator.*", SOME),
  ("model.sync.*", SOME),
  ("model.frames", SOME),
  ("model.face", SOME),
  ("model.mouth", SOME),
  ("model.lips", ANY),
  ("model.context", ANY),
  ("model.pose_spatial_channels", ANY),
  ("model.appearance", ANY),
  ("model.ablate", one_of("", "identity", "pose", "emotion")),
  ("model.emotion_input", one_of("face", "frame")),
  ("model.up", one_of(*UPS)),
  ("model.norm", one_of("group", "batch")),
  ("model.dtype", one_of("auto", *DTYPES)),
  ("model.lips_square", each(POSITIVE, 2)),
  ("model.flow", SWITCH),
  ("model.landmarks", SWITCH),
  ("model.bare_codes", SWITCH),
  ("model.sync_motion", SWITCH),
  ("model.sync_unit", SWITCH),
  ("pretrained.required", each(one_of("resnet", "speech", "vgg"))),
  ("pretrained.*", PLACE),
  # Machines.
  ("mesh.data", either(-1, SOME)),
  ("mesh.model", SOME),
  ("mesh.*", ANY),
  ("cluster.*", SOME),
  # Data.
  ("data.path", PLACE),
  ("data.mix.*", FROM_0),
  ("data.max_bad", FROM_0),
  ("data.fps", number(1, 120)),
  ("data.workers", either(-1, ANY)),
  ("data.threads", ANY),
  ("data.cache_gb", FROM_0),
  ("data.allow_change", SWITCH),
  ("data.augment.stretch", BELOW_1),
  ("data.augment.emotion_clip", SHARE),
  ("data.augment.*", SWITCH),
  ("data.synthetic.seconds", number(0.2)),
  ("data.synthetic.size", whole(16, 2048)),
  ("data.synthetic.framing", one_of("tight", "medium", "wide")),
  ("data.synthetic.identities", SOME),
  ("data.synthetic.clips", SOME),
  ("data.synthetic.meshes", SWITCH),
  ("data.synthetic.*", ANY),
  # The loop.
  ("train.loss_scale.initial", POSITIVE),
  ("train.loss_scale.growth", SOME),
  ("train.compilation_cache", SWITCH),
  ("train.remat", SWITCH),
  ("train.log_every", SOME),
  ("train.save_every", SOME),
  ("train.keep", SOME),
  ("train.bad_steps", SOME),
  ("train.first_save", ANY),
  ("train.sheet_every", ANY),
  ("train.video_every", ANY),
  ("train.rollbacks", ANY),
  ("train.collapse_after", ANY),
  ("train.video_seconds", POSITIVE),
  ("train.*", FROM_0),  # seconds, and how small a code's std may be
  # Stages.
  ("syncnet.loss", one_of(*syncnet.LOSSES)),
  ("syncnet.windows", SOME),
  ("syncnet.temperature", POSITIVE),
  ("syncnet.margin", FROM_0),
  ("syncnet.reach", FROM_0),
  ("syncnet.augment.mirror", SWITCH),
  ("syncnet.augment.*", FROM_0),
  ("syncnet.hearing.noise", SHARE),
  ("syncnet.hearing.noise_level", each(number(-10, 10), 2)),
  ("syncnet.hearing.*", FROM_0),
  ("irfd.losses", one_of("robust", "paper")),
  ("irfd.norms", one_of(*NORMS)),
  ("irfd.pairs", PAIRS),
  ("irfd.drop_maps", SHARE),
  ("irfd.label_smoothing", BELOW_1),
  ("irfd.margin", FROM_0),
  ("irfd.unit_identity", SWITCH),
  ("irfd.triplet", one_of("crossed", "printed")),
  ("speak.encoders", one_of(*speak.ENCODERS)),
  ("speak.convolutions", one_of("auto", "fixed", "trained")),
  ("speak.identity_from", one_of(*IDENTITY_FROM)),
  ("speak.sync_target", one_of(*speak.SYNC_TARGETS)),
  ("speak.sync_ramp", RAMP),
  ("speak.emotion_frames", SOME),
  ("speak.stretch", ANY),
  ("speak.from_scratch", SWITCH),
  ("speak.mel.*", SOME),
  ("speak.lr_factors.*", FROM_0),
  ("speak.speech.lr_factor", FROM_0),
  ("speak.speech.b1", BELOW_1),
  ("motion.frames", whole(2)),
  ("motion.context", ANY),
  ("motion.width", SOME),
  ("motion.layers", ANY),
  ("motion.label_strength.*", POSITIVE),
  ("motion.augment.noise", SHARE),
  ("motion.augment.noise_level", each(number(-10, 10), 2)),
  ("motion.augment.*", FROM_0),
  ("*.steps", SOME),
  ("*.batch", SOME),
  ("*.microbatch", SOME),
  ("*.same_session", SWITCH),
  ("*.gan_ramp", RAMP),
  ("*.gan_lead", ANY),
  ("*.r1", FROM_0),
  ("*.r1_every", SOME),
  ("*.region.*", FROM_0),
  ("*.weights.*", FROM_0),
  ("*.*.lr", POSITIVE),
  ("*.*.warmup", ANY),
  ("*.*.floor", SHARE),
  ("*.*.b1", BELOW_1),
  ("*.*.b2", BELOW_1),
  ("*.*.clip", FROM_0),
  ("*.*.ema", BELOW_1),
)


def validate(config: ConfigDict) -> None:
  """Refuses a config with a value that cannot be.

  Raises:
    ValueError: naming the first such key, its value, and what it may be.
  """
  _check(("method",), config.method, ())  # whose rules the others follow
  own = registry.training(config.method).rules
  for path, value in leaves(config):
    _check(path, value, own)


def _check(
  path: tuple[str, ...], value: Any, own: Sequence[tuple[str, Rule]]
) -> None:
  """Refuses a value that cannot be; arguments as those of `rule_of`.

  Raises:
    ValueError: naming the key, its value, and what it may be.
  """
  key, rule = ".".join(path), rule_of(path, own)
  if rule is None:
    raise ValueError(f"config.{key}: no rule says what it may be")
  if not rule.allows(value):
    raise ValueError(f"config.{key} = {value!r} is not {rule.words}")


def leaves(
  config: Mapping[str, Any] | ConfigDict, above: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Any]]:
  """Names and value of every key that is no group of keys."""
  for name, value in config.items():
    path = (*above, str(name))
    if isinstance(value, (Mapping, ConfigDict)):
      yield from leaves(value, path)
    else:
      yield path, value


def rule_of(
  path: tuple[str, ...], own: Sequence[tuple[str, Rule]] = ()
) -> Rule | None:
  """The first rule whose key fits; None: there is none.

  Args:
    path: Names of the key.
    own: Rules of the method, which come before those of all.
  """
  for key, rule in (*own, *RULES):
    names = key.split(".")
    if len(names) == len(path) and all(
      name in ("*", part) for name, part in zip(names, path, strict=True)
    ):
      return rule
  return None
