"""EAMM's fourth stage: what an emotion adds to keypoints that are heard.

A network sees frames without their mouths, moved about, and learns what is
left between the keypoints that are heard of a person's picture and those that
are seen. All other groups are frozen. The losses are methods and can be called
alone.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from einops import rearrange
from jaxtyping import Array, Float, Int, PRNGKeyArray
from ml_collections import ConfigDict

from speak_jax import spec
from speak_jax.models import eamm
from speak_jax.models.eamm import EmotionNet, Felt
from speak_jax.models.fomm import Keypoints
from speak_jax.nn import emotion_view, precision
from speak_jax.stages import (
  base,
  batch_shapes,
  eamm_motion,
  fomm,
  init,
  optimizers,
)
from speak_jax.stages.base import (
  Group,
  Groups,
  LossOut,
  Phase,
  Sampler,
  Stage,
)
from speak_jax.stages.eamm_motion import (
  FINETUNE,
  HEARING,
  SCALE,
  FinetuneLosses,
  apart,
  rows,
  taken,
)
from speak_jax.stages.fomm import GENERATOR, KEYPOINTS

EMOTION = "eamm_emotion"  # the stage
FEELING = "eamm_feeling"  # its group; public weights are called so too


@dataclasses.dataclass(frozen=True, eq=False)
class EmotionLosses:
  """What is left between heard and seen, and which emotion it is.

  Attributes:
    config: The run's.
    net: Feels it.
    finetuned: Hears, sees and paints; frozen.
    weights: {term: weight} as used.
    notes: What is to be said of them, for the log.
  """

  config: ConfigDict
  net: EmotionNet
  finetuned: FinetuneLosses
  weights: Mapping[str, float]
  notes: tuple[str, ...] = ()

  @classmethod
  def of(cls, config: ConfigDict) -> "EmotionLosses":
    """Builds it from a run's config.

    Raises:
      ValueError: a keypoint is to be moved that there is not.
    """
    asked = config[EMOTION].weights.to_dict()
    weights, notes = base.resolve_weights(asked, {})
    finetuned = FinetuneLosses.of(config)
    return cls(config, feeling_net(config), finetuned, weights, notes)

  def init(
    self, seed: int, earlier: Mapping[str, Group]
  ) -> tuple[Groups, Groups]:
    """Makes "eamm_feeling"; all else is of the stages before."""
    params, collections = self.finetuned.init(seed, earlier)
    side, count = self.config.model.image, self.config.model.keypoints
    shape = batch_shapes.float32
    points = Keypoints(shape(2, count, 2), shape(2, count, 2, 2))
    own = earlier.get(FEELING) or init.initialise(
      self.net, seed, FEELING, shape(2, side, side, 3), points
    )
    own_params, own_collections = init.split_kinds({FEELING: own})
    kept = KEYPOINTS, GENERATOR, HEARING, SCALE
    return (
      {g: params[g] for g in kept} | own_params,
      {g: collections[g] for g in kept} | own_collections,
    )

  def feel(
    self,
    params: Groups,
    collections: Groups,
    views: Float[Array, "n s s 3"],
    neutral: Keypoints,
    train: bool = False,
  ) -> tuple[Felt, Groups]:
    """What is felt, and the collections that training has changed.

    Args:
      params: Of all groups.
      collections: Of all groups.
      views: From `emotion_view`.
      neutral: Keypoints of the same frames without it.
      train: Takes the batch's statistics.
    """
    felt, changed = base.apply(
      self.net,
      FEELING,
      params,
      collections,
      views,
      neutral,
      train=train,
      mutable=["batch_stats"] if train else (),
    )
    return felt, {FEELING: dict(changed)}

  def fit(
    self,
    params: Groups,
    collections: Groups,
    batch: batch_shapes.Stretch,
    step: Int[Array, ""],
    key: PRNGKeyArray,
  ) -> LossOut:
    """Learns what is left; beside it, how much that is."""
    del step
    shown = taken(self.config, params, batch)
    motion, moved = self.finetuned.motion, jnp.array(moved_by(self.config))
    heard, _ = motion.hear(params, collections, shown)
    heard = jax.lax.stop_gradient(heard.keypoints)
    seen = motion.see(params, collections, shown.frames).keypoints
    left = Keypoints(
      *((s - h)[:, moved] for s, h in zip(seen, heard, strict=True))
    )
    frames = rearrange(
      shown.frames, "(b t) h w c -> b t h w c", b=len(shown.picture)
    )
    views = emotion_view.shaken(frames, batch.landmarks, key)
    views = rearrange(views, "b t h w c -> (b t) h w c")
    felt, changed = self.feel(params, collections, views, heard, True)
    added = felt.displacement
    labels = eamm_motion.each(batch.emotion_label, shown)
    known = labels != spec.UNKNOWN
    loss, means = base.weighted_sum(
      {
        "points": lambda: apart(added.points, left.points),
        "jacobians": lambda: apart(added.jacobians, left.jacobians),
        "classes": lambda: (
          known
          * optax.softmax_cross_entropy_with_integer_labels(
            felt.logits, labels.clip(0)
          )
        ),
      },
      self.weights,
    )
    means["points_of_neutral"] = jnp.abs(left.points).mean()
    right = known & (felt.logits.argmax(-1) == labels)
    means["accuracy"] = right.sum() / known.sum().clip(1)
    return LossOut(loss, means, changed)

  def sample_grids(
    self, params: Groups, collections: Groups, batch: batch_shapes.Stretch
  ) -> dict[str, Array]:
    """A clip's frames and what is seen of them, without and with emotion."""
    shown = taken(self.config, params, batch)
    heard, _ = self.finetuned.motion.hear(params, collections, shown)
    landmarks = rearrange(batch.landmarks, "b t k c -> (b t) k c")
    views = emotion_view.still(shown.frames, landmarks)
    felt, _ = self.feel(params, collections, views, heard.keypoints)
    moved = moved_by(self.config)
    emotional = eamm.displaced(
      heard.keypoints, felt.displacement, moved, (1.0,) * len(moved)
    )
    made = (
      self.finetuned.paint(params, collections, shown, x)[0]
      for x in (heard.keypoints, emotional)
    )
    return {"frames": rows(shown, shown.frames, views, *made)}


def moved_by(config: ConfigDict) -> tuple[int, ...]:
  """The keypoints that an emotion moves.

  Raises:
    ValueError: one of them is not there.
  """
  model = config.model
  moved = tuple(model.moved) or tuple(range(model.keypoints))
  if max(moved) >= model.keypoints or len(set(moved)) < len(moved):
    raise ValueError(
      f"config.model.moved {moved} are not among {model.keypoints} keypoints"
    )
  return moved


def feeling_net(config: ConfigDict) -> EmotionNet:
  """Builds the network that feels emotions; it holds no parameters.

  Raises:
    ValueError: a keypoint is to be moved that there is not.
  """
  model = config.model
  dtype: Any = jnp.dtype(precision.resolve(model.dtype))
  return EmotionNet(
    model.keypoints,
    len(moved_by(config)),
    shrink=model.shrink,
    dtype=dtype,
    **model.detector,
    **model.feeling,
  )


def make(config: ConfigDict) -> Stage:
  """Makes the stage that trains group "eamm_feeling".

  Raises:
    ValueError: a keypoint is to be moved that there is not.
  """
  settings, losses = config[EMOTION], EmotionLosses.of(config)
  return Stage(
    name=EMOTION,
    init=losses.init,
    pretrained_from={
      KEYPOINTS: fomm.NAME,
      GENERATOR: FINETUNE,
      HEARING: FINETUNE,
      SCALE: FINETUNE,
    },
    public=(FEELING,),
    optims={"fit": optimizers.adam((FEELING,), settings.optim, settings.steps)},
    phases=(Phase("fit", "fit", losses.fit),),
    ema_groups=(FEELING,),
    ema_decay=settings.optim.ema,
    batch=batch_shapes.stretches(config, settings.batch, 1),
    microbatch=settings.microbatch,
    scaling=base.scaling(config),
    sample_grids=losses.sample_grids,
    weights=losses.weights,
    notes=losses.notes,
  )


def sampler(config: ConfigDict) -> Sampler:
  """Says how batches are made: the picture is of any clip of the person."""
  return eamm_motion.stretches(config, EMOTION)
