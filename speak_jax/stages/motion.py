"""The motion stage: what speech, an emotion and lids do to a face's points.

Ours. It stands by itself, and moves photographs. The loss is a method and can
be called alone, as in a notebook:

  losses = motion.MotionLosses.of(config)
  params, collections = losses.init(0, {})
  out = losses.fit(params, collections, batch, step, jax.random.key(0))
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from einops import repeat
from jaxtyping import Array, Float, Int, PRNGKeyArray
from ml_collections import ConfigDict

from speak_jax import spec
from speak_jax.losses import motion as losses_of
from speak_jax.models.motion import MotionNet, spectra_of
from speak_jax.nn import hearing
from speak_jax.nn.pixels import as_audio, as_bytes
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

GROUP = "motion"
CURVE_PX = (48, 4)  # of the sheet: height of a curve, width of a frame
WIDE_OPEN = 0.35  # eye distances, at the top of the sheet's curves


@dataclasses.dataclass(frozen=True, eq=False)
class MotionLosses:
  """The loss of the motion stage and what it needs.

  Attributes:
    config: The run's.
    net: The network, group "motion".
    weights: {term: weight} as used.
    notes: What is to be said of them, for the log.
  """

  config: ConfigDict
  net: MotionNet
  weights: Mapping[str, float]
  notes: tuple[str, ...] = ()

  @classmethod
  def of(cls, config: ConfigDict) -> "MotionLosses":
    """Builds it from a run's config."""
    weights, notes = base.resolve_weights(config.motion.weights.to_dict(), {})
    return cls(config, network(config), weights, notes)

  def init(
    self, seed: int, earlier: Mapping[str, Group]
  ) -> tuple[Groups, Groups]:
    """Makes group "motion", unless it was trained before; see `Stage.init`."""
    frames = self.config.motion.frames
    sound = batch_shapes.float32(2, batch_shapes.motion_samples(self.config))
    group = earlier.get(GROUP) or init.initialise(
      self.net,
      seed,
      GROUP,
      jax.eval_shape(spectra_of, sound),
      batch_shapes.float32(2, frames),
      batch_shapes.float32(2, len(spec.EMOTIONS)),
    )
    return init.split_kinds({GROUP: group})

  def predict(
    self,
    params: Groups,
    collections: Groups,
    batch: batch_shapes.Motion,
    key: PRNGKeyArray | None = None,
  ) -> Float[Array, "b t 468 3"]:
    """Predicts a batch's offsets.

    Args:
      params: Group "motion".
      collections: Of the same group.
      batch: Of clips.
      key: Draws how the sound is changed; None: it is heard as it is.
    """
    spectra = spectra_of(as_audio(batch.audio))
    if key is not None:
      changes = hearing.Changes(**self.config.motion.augment)
      spectra = hearing.change(spectra, key, changes)
    return base.apply(
      self.net,
      GROUP,
      params,
      collections,
      spectra,
      batch.lids,
      batch.emotion,
    )

  def fit(
    self,
    params: Groups,
    collections: Groups,
    batch: batch_shapes.Motion,
    step: Int[Array, ""],
    key: PRNGKeyArray,
  ) -> LossOut:
    """Weighs distances of points, lips above all, and of their speeds."""
    del step
    points = self.predict(params, collections, batch, key)
    loss, means = base.weighted_sum(
      self._terms(points, batch.expression), self.weights
    )
    gaps = losses_of.gap(points), losses_of.gap(batch.expression)
    means["gap_r"] = losses_of.correlation(*gaps).mean()
    return LossOut(loss, means, {})

  def _terms(
    self,
    points: Float[Array, "b t 468 3"],
    true: Float[Array, "b t 468 3"],
  ) -> Terms:
    """Names the terms: {name: function of nothing}."""
    lips = jnp.array(spec.MESH_LIPS)
    return {
      "points": lambda: losses_of.points_l1(points, true),
      "lips": lambda: losses_of.points_l1(points[:, :, lips], true[:, :, lips]),
      "speed": lambda: losses_of.speed_l1(points[:, :, lips], true[:, :, lips]),
      "gap": lambda: jnp.abs(losses_of.gap(points) - losses_of.gap(true)).mean(
        1
      ),
    }

  def sample_grids(
    self, params: Groups, collections: Groups, batch: batch_shapes.Motion
  ) -> dict[str, Array]:
    """Draws the gap between the lips over time: true above ours, per clip."""
    points = self.predict(params, collections, batch)
    gaps = jnp.stack([losses_of.gap(batch.expression), losses_of.gap(points)])
    high, wide = CURVE_PX
    level = jnp.linspace(WIDE_OPEN, 0, high)[:, None]
    curves = 2.0 * (gaps[:, :, None] > level) - 1
    return {
      "gaps": as_bytes(repeat(curves, "r b h t -> r b h (t w) 3", w=wide))
    }


def network(config: ConfigDict) -> MotionNet:
  """Builds the network of a run's config; it holds no parameters."""
  settings = config.motion
  return MotionNet(
    settings.width,
    settings.layers,
    float(config.data.fps),
    base.dtype(config),
  )


def make(config: ConfigDict) -> Stage:
  """Makes the stage that trains group "motion"."""
  settings, losses = config.motion, MotionLosses.of(config)
  return Stage(
    name="motion",
    init=losses.init,
    pretrained_from={},
    optims={"fit": optimizers.adam((GROUP,), settings.optim, settings.steps)},
    phases=(Phase("fit", "fit", losses.fit),),
    ema_groups=(GROUP,),
    ema_decay=settings.optim.ema,
    batch=batch_shapes.motion(config, settings.batch),
    microbatch=settings.microbatch,
    scaling=base.scaling(config),
    sample_grids=losses.sample_grids,
    weights=losses.weights,
    notes=losses.notes,
  )


def sampler(config: ConfigDict) -> Sampler:
  """Says how its batches are made: stretches of clips that have meshes."""
  settings: Any = config.motion
  return Sampler(
    "motion",
    {
      "frames": settings.frames,
      "context": settings.context,
      "label_strength": settings.label_strength.to_dict(),
    },
  )
