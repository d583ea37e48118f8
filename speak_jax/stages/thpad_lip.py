"""TH-PAD's first stage: frames and their sound in one space, by contrast.

What the other two begin with is here as well: how frames are looked at and
their sound is heard, and which stretches of a clip all three learn from. The
losses are methods and can be called alone.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from einops import rearrange, repeat
from jaxtyping import Array, Float, Int, PRNGKeyArray
from ml_collections import ConfigDict

from speak_jax.losses import sync
from speak_jax.models import thpad as nets
from speak_jax.models.thpad import Senses
from speak_jax.nn import lip_mel
from speak_jax.nn.norm import unit
from speak_jax.nn.pixels import as_audio, as_bytes, as_frames
from speak_jax.stages import base, batch_shapes, init, optimizers
from speak_jax.stages.base import (
  Group,
  Groups,
  LossOut,
  Phase,
  Sampler,
  Stage,
  Terms,
)

LIP = "thpad_lip"  # the stage
SENSES = "thpad_senses"  # its group: E_v with MLP_cl, and E_a
SIDE = 64  # px of a sheet's picture of who is like whom


class Sensed(NamedTuple):
  """What the senses make of n frames with their sound."""

  seen: Float[Array, "n v"]  # by E_v
  lips: Float[Array, "n d"]  # f_cl
  sound: Float[Array, "n d"]  # f_a


@dataclasses.dataclass(frozen=True, eq=False)
class LipLosses:
  """The loss of the first stage and what it needs.

  Attributes:
    config: The run's.
    senses: E_v with MLP_cl, and E_a.
    weights: {term: weight} as used.
    notes: What is to be said of them, for the log.
  """

  config: ConfigDict
  senses: Senses
  weights: Mapping[str, float]
  notes: tuple[str, ...] = ()

  @classmethod
  def of(cls, config: ConfigDict) -> "LipLosses":
    """Builds it from a run's config."""
    asked = config[LIP].weights.to_dict()
    return cls(config, senses(config), *base.resolve_weights(asked, {}))

  def init(
    self, seed: int, earlier: Mapping[str, Group]
  ) -> tuple[Groups, Groups]:
    """Makes group "thpad_senses"; see `Stage.init`."""
    return init.split_kinds(
      {SENSES: senses_group(self.config, self.senses, seed, earlier)}
    )

  def contrast(
    self,
    params: Groups,
    collections: Groups,
    batch: batch_shapes.Stretch,
    step: Int[Array, ""],
    key: PRNGKeyArray,
  ) -> LossOut:
    """L_cl: which sound belongs to which frame, among all of the batch."""
    del step, key
    settings = self.config[LIP]
    sensed, changed = sense(
      self.config, self.senses, params, collections, batch, settings, True
    )
    loss, means = base.weighted_sum(
      contrast_terms(sensed, settings), self.weights
    )
    means["found"] = found(sensed)
    means |= base.code_metrics({"sound": sensed.sound, "lips": sensed.lips})
    return LossOut(loss, means, {SENSES: changed})

  def sample_grids(
    self, params: Groups, collections: Groups, batch: batch_shapes.Stretch
  ) -> dict[str, Array]:
    """How like each frame of a clip is to each sound of it: white is alike."""
    settings = self.config[LIP]
    sensed, _ = sense(
      self.config, self.senses, params, collections, batch, settings, False
    )
    lips, sound = (
      rearrange(unit(x), "(b t) d -> b t d", t=settings.frames)
      for x in (sensed.lips, sensed.sound)
    )
    alike = jnp.einsum("bid,bjd->bij", lips, sound)
    shape = len(alike), SIDE, SIDE
    picture = jax.image.resize(alike, shape, "nearest")
    return {"alike": as_bytes(repeat(picture, "b h w -> b 1 h w 3"))}


def sense(
  config: ConfigDict,
  net: Senses,
  params: Groups,
  collections: Groups,
  batch: batch_shapes.Stretch,
  settings: Any,
  train: bool,
) -> tuple[Sensed, Any]:
  """Looks at frames of a batch, and hears their sound.

  Args:
    config: The run's.
    net: The senses.
    params: Group "thpad_senses".
    collections: Of the same group.
    batch: Of stretches.
    settings: `every` is how many frames lie from one that counts to the next;
      None: all count.
    train: Takes the batch's statistics.

  Returns:
    What they make of it, and the collections as training has changed them.
  """
  every = settings.every if settings else 1
  spectra = hear(config, batch.audio, batch.frames.shape[1])
  (seen, lips, sound), changed = base.apply(
    net,
    SENSES,
    params,
    collections,
    flat(as_frames(batch.frames[:, ::every])),
    flat(spectra[:, ::every]),
    train=train,
    mutable=["batch_stats"] if train else (),
  )
  return Sensed(seen, lips, sound), dict(changed)


def hear(
  config: ConfigDict, audio: Array, frames: int
) -> Float[Array, "b t 80 16"]:
  """What each frame hears of 16-bit sound with `model.context` around it."""
  rest = -audio.shape[1] % lip_mel.HOP
  spectra = lip_mel.lip_mel(as_audio(jnp.pad(audio, ((0, 0), (0, rest)))))
  return nets.heard(spectra, frames, config.model.context)


def contrast_terms(sensed: Sensed, settings: Any) -> Terms:
  """L_cl, and the same within each clip, of the first two stages.

  Among all frames of a batch voices and moods tell clips apart, and lips are
  long in being looked at. Ours: within a clip nothing but the moment does. And
  codes are compared less the mean of those that they are compared with: what
  all have in common, most of a fresh code, leaves no angle for the rest.
  """

  def contrast(axes: str) -> Float[Array, "b"]:
    speech, mouth = (
      rearrange(x, f"(b t) d -> {axes}", t=settings.frames)
      for x in (sensed.sound, sensed.lips)
    )
    speech, mouth = (
      unit(x - x.mean(1, keepdims=True)) for x in (speech, mouth)
    )
    return sync.info_nce(speech, mouth, settings.temperature)

  return {
    "lip": lambda: contrast("1 (b t) d"),
    "moment": lambda: contrast("b t d"),
  }


def found(sensed: Sensed) -> Float[Array, ""]:
  """Share of the frames whose own sound is the most like them of all."""
  alike = unit(sensed.lips) @ unit(sensed.sound).T
  return (alike.argmax(-1) == jnp.arange(len(alike))).mean()


def senses(config: ConfigDict) -> Senses:
  """Builds E_v with MLP_cl, and E_a; it holds no parameters."""
  model = config.model
  return Senses(
    encoder(config), model.codes.contrast, model.hears, base.dtype(config)
  )


def encoder(config: ConfigDict) -> dict[str, Any]:
  """The fields of an `Encoder`: E_v's, and E_id's in the space."""
  model = config.model
  return {
    **model.encoder,
    "stages": tuple(model.encoder.stages),
    "remat": config.train.remat,
  }


def senses_group(
  config: ConfigDict, net: Senses, seed: int, earlier: Mapping[str, Group]
) -> Group:
  """Takes or makes group "thpad_senses", which all three stages hold."""
  image, shape = config.model.image, batch_shapes.float32
  return earlier.get(SENSES) or init.initialise(
    net,
    seed,
    SENSES,
    shape(2, image, image, 3),
    shape(2, lip_mel.BANDS, nets.STEPS),
  )


def flat(x: Array) -> Array:
  """Clips' frames as single ones, which networks take."""
  return x.reshape(-1, *x.shape[2:])


def span(settings: Any) -> int:
  """Frames that a stage loads: from the first that counts to the last."""
  return (settings.frames - 1) * settings.every + 1


def make(config: ConfigDict) -> Stage:
  """Makes the stage that trains group "thpad_senses" by contrast."""
  settings, losses = config[LIP], LipLosses.of(config)
  return Stage(
    name=LIP,
    init=losses.init,
    pretrained_from={},
    optims={"fit": optimizers.adam((SENSES,), settings.optim, settings.steps)},
    phases=(Phase("fit", "fit", losses.contrast),),
    ema_groups=(SENSES,),
    ema_decay=settings.optim.ema,
    batch=shapes(config, settings.batch, span(settings)),
    microbatch=settings.microbatch,
    scaling=base.scaling(config),
    sample_grids=losses.sample_grids,
    weights=losses.weights,
    notes=losses.notes,
  )


def sampler(config: ConfigDict) -> Sampler:
  """Says how batches are made: one frame in `every` of a stretch counts."""
  return stretches(config, span(config[LIP]))


def shapes(config: ConfigDict, n: int, frames: int) -> batch_shapes.Stretch:
  """The shapes of n stretches of so many frames, as all three stages have."""
  return batch_shapes.stretches_of(config, n, frames, config.model.context, 1)


def stretches(config: ConfigDict, frames: int) -> Sampler:
  """Says how all three stages' batches are made.

  Stretches of so many frames, and any other frame of the clip.
  """
  return Sampler(
    "stretches",
    {
      "size": config.model.image,
      "frames": frames,
      "context": config.model.context,
      "others": 1,
      "apart": 0,
    },
  )
