"""EAMM's second and third stage: sound and pose to keypoints, and pictures.

A network learns to hear the keypoints that a frozen detector sees, and then
once more together with the generator, by the pictures that it makes of them.
Both also hold group "pose_scale", which nothing trains: mean and deviation of
how the people trained on hold their heads. The losses are methods and can be
called alone. Networks have pictures in [0, 1].
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from einops import rearrange, repeat
from jaxtyping import Array, Float, Int, PRNGKeyArray
from ml_collections import ConfigDict

from speak_jax.losses import pixel
from speak_jax.models import head_pose
from speak_jax.models.eamm import AudioToMotion, anchored
from speak_jax.models.fomm import Found, KeypointDetector, Keypoints
from speak_jax.models.head_pose import PoseScale
from speak_jax.nn import mfcc, precision
from speak_jax.nn.pixels import as_bytes
from speak_jax.stages import base, batch_shapes, fomm, init, optimizers
from speak_jax.stages.base import (
  Group,
  Groups,
  LossOut,
  Metrics,
  Phase,
  Sampler,
  Stage,
)
from speak_jax.stages.fomm import GENERATOR, KEYPOINTS, VGG, FommLosses

MOTION, FINETUNE = "eamm_motion", "eamm_finetune"  # the stages
# The groups; public weights of the first are called so too.
HEARING, SCALE = "eamm_hearing", "pose_scale"
HEARD = mfcc.ROWS, mfcc.COEFFICIENTS - 1  # of a frame: rows and columns


class Shown(NamedTuple):
  """A batch as the networks take it; frames of a clip in a row, n = b t."""

  picture: Float[Array, "b s s 3"]  # the person, in [0, 1]
  frames: Float[Array, "n s s 3"]
  sound: Float[Array, "b t 28 12"]
  pose: Float[Array, "b t 6"]


@dataclasses.dataclass(frozen=True, eq=False)
class MotionLosses:
  """What is heard against what is seen.

  Attributes:
    config: The run's.
    net: Hears keypoints.
    detector: Sees them; frozen.
    weights: {term: weight} as used.
    notes: What is to be said of them, for the log.
  """

  config: ConfigDict
  net: AudioToMotion
  detector: KeypointDetector
  weights: Mapping[str, float]
  notes: tuple[str, ...] = ()

  @classmethod
  def of(cls, config: ConfigDict) -> "MotionLosses":
    """Builds it from a run's config.

    Raises:
      ValueError: pictures of this size do not halve as often as asked for.
    """
    return cls(
      config,
      hearing_net(config),
      fomm.detector(config),
      *_weights(config, MOTION),
    )

  def init(
    self, seed: int, earlier: Mapping[str, Group]
  ) -> tuple[Groups, Groups]:
    """Makes "eamm_hearing"; the detector is `fomm`'s, the scale the data's."""
    model, shape = self.config.model, batch_shapes.float32
    picture = shape(2, model.image, model.image, 3)
    heard = picture, shape(2, model.frames, *HEARD), shape(2, model.frames, 6)
    groups = {
      HEARING: earlier.get(HEARING)
      or init.initialise(self.net, seed, HEARING, *heard),
      KEYPOINTS: earlier.get(KEYPOINTS)
      or init.initialise(self.detector, seed, KEYPOINTS, picture),
      SCALE: earlier.get(SCALE) or _no_scale(),
    }
    return init.split_kinds(groups)

  def scale(self, clips: Sequence[np.ndarray]) -> Group:
    """Makes group "pose_scale" of the landmarks of the people trained on."""
    return head_pose.fit(clips)._asdict(), {}

  def see(
    self, params: Groups, collections: Groups, pictures: Float[Array, "n s s 3"]
  ) -> Found:
    """The keypoints that are to be heard; nothing learns by them."""
    found = base.apply(self.detector, KEYPOINTS, params, collections, pictures)
    return jax.lax.stop_gradient(found)

  def hear(
    self,
    params: Groups,
    collections: Groups,
    shown: Shown,
    train: bool = False,
  ) -> tuple[Found, Groups]:
    """What is heard, and the collections that training has changed.

    Where `config.model.anchored` says so, what the network hears moves the
    picture's own keypoints.
    """
    heard, changed = base.apply(
      self.net,
      HEARING,
      params,
      collections,
      shown.picture,
      shown.sound,
      shown.pose,
      train=train,
      mutable=["batch_stats"] if train else (),
    )
    found = heard.found
    if self.config.model.anchored:
      still = self.see(params, collections, shown.picture).keypoints
      still = Keypoints(*(each(x, shown) for x in still))
      found = found._replace(keypoints=anchored(still, found.keypoints))
    return found, {HEARING: dict(changed)}

  def terms(self, heard: Found, seen: Found) -> base.Terms:
    """How far keypoints and their heat are from those that are seen."""
    ours, true = heard.keypoints, seen.keypoints
    return {
      "points": lambda: apart(ours.points, true.points),
      "jacobians": lambda: apart(ours.jacobians, true.jacobians),
      "heat": lambda: apart(heard.heat, seen.heat),
    }

  def of_still(
    self, params: Groups, collections: Groups, shown: Shown, seen: Found
  ) -> Metrics:
    """What the points of someone who never moves would be off by."""
    still = self.see(params, collections, shown.picture).keypoints
    points = each(still.points, shown)
    return {"points_of_still": apart(points, seen.keypoints.points).mean()}

  def fit(
    self,
    params: Groups,
    collections: Groups,
    batch: batch_shapes.Stretch,
    step: Int[Array, ""],
    key: PRNGKeyArray,
  ) -> LossOut:
    """Learns to hear what the detector sees."""
    del step, key
    shown = taken(self.config, params, batch)
    seen = self.see(params, collections, shown.frames)
    heard, changed = self.hear(params, collections, shown, True)
    loss, means = base.weighted_sum(self.terms(heard, seen), self.weights)
    means |= self.of_still(params, collections, shown, seen)
    return LossOut(loss, means, changed)

  def sample_grids(
    self, params: Groups, collections: Groups, batch: batch_shapes.Stretch
  ) -> dict[str, Array]:
    """A clip's frames with the points seen, above those with points heard."""
    shown = taken(self.config, params, batch)
    seen = self.see(params, collections, shown.frames).keypoints
    heard, _ = self.hear(params, collections, shown)
    marked = (
      fomm.marked(shown.frames, x.points) for x in (seen, heard.keypoints)
    )
    return {"keypoints": rows(shown, *marked)}


@dataclasses.dataclass(frozen=True, eq=False)
class FinetuneLosses:
  """The same, and what pictures look like that are made of what is heard.

  Attributes:
    config: The run's.
    motion: Hears and sees; its weights are not used.
    video: Makes pictures; its weights are those of their terms.
    weights: {term: weight} as used.
    notes: What is to be said of them, for the log.
  """

  config: ConfigDict
  motion: MotionLosses
  video: FommLosses
  weights: Mapping[str, float]
  notes: tuple[str, ...] = ()

  @classmethod
  def of(cls, config: ConfigDict) -> "FinetuneLosses":
    """Builds it from a run's config.

    Raises:
      ValueError: pictures of this size do not halve as often as asked for.
    """
    weights, notes = _weights(config, FINETUNE)
    video = FommLosses.of(config)
    return cls(
      config, MotionLosses.of(config), video, weights, (*notes, *video.notes)
    )

  def init(
    self, seed: int, earlier: Mapping[str, Group]
  ) -> tuple[Groups, Groups]:
    """Takes or makes the groups of both."""
    kinds = [x.init(seed, earlier) for x in (self.motion, self.video)]
    params, collections = zip(*kinds, strict=True)
    return params[1] | params[0], collections[1] | collections[0]

  def paint(
    self,
    params: Groups,
    collections: Groups,
    shown: Shown,
    heard: Keypoints,
    train: bool = False,
  ) -> tuple[Float[Array, "m s s 3"], Groups]:
    """Makes frames of the person's picture.

    Args:
      params: Of all groups.
      collections: Of all groups.
      shown: The batch.
      heard: Keypoints of frames, as many of each clip.
      train: Takes the batch's statistics.

    Returns:
      They, and the collections that training has changed.
    """
    source = self.motion.see(params, collections, shown.picture).keypoints
    count = len(heard.points) // len(shown.picture)
    picture, points, jacobians = (
      repeat(x, "b ... -> (b t) ...", t=count) for x in (shown.picture, *source)
    )
    painted, changed = self.video.paint(
      params,
      collections,
      picture,
      Keypoints(points, jacobians),
      heard,
      train,
    )
    return painted.frames, changed

  def fit(
    self,
    params: Groups,
    collections: Groups,
    batch: batch_shapes.Stretch,
    step: Int[Array, ""],
    key: PRNGKeyArray,
  ) -> LossOut:
    """Hears what the detector sees, and what makes the true pictures."""
    del step, key
    motion = self.motion
    shown = taken(self.config, params, batch)
    seen = motion.see(params, collections, shown.frames)
    heard, changed = motion.hear(params, collections, shown, True)

    def some(x: Array) -> Array:
      """Of every so many frames."""
      x = rearrange(x, "(b t) ... -> b t ...", b=len(shown.picture))
      x = x[:, :: self.config[FINETUNE].every]
      return rearrange(x, "b t ... -> (b t) ...")

    chosen = Keypoints(*map(some, heard.keypoints))
    frames, made = self.paint(params, collections, shown, chosen, True)
    frames, true = 2 * frames - 1, 2 * some(shown.frames) - 1
    weight = pixel.region_weight(
      some(rearrange(batch.landmarks, "b t k c -> (b t) k c")),
      true.shape[1],
      **self.config.fomm.region,
    )
    looks = self.video.looks(params, collections, frames, true, weight)
    looked: Metrics = {}

    def pictures() -> Float[Array, ""]:
      asked = {term: self.video.weights[term] for term in looks}
      total, means = base.weighted_sum(looks, asked)
      looked.update(means)
      return total

    loss, means = base.weighted_sum(
      {**motion.terms(heard, seen), "pictures": pictures}, self.weights
    )
    means |= looked | motion.of_still(params, collections, shown, seen)
    means["l1"] = jnp.abs(frames - true).mean()
    return LossOut(loss, means, changed | made)

  def sample_grids(
    self, params: Groups, collections: Groups, batch: batch_shapes.Stretch
  ) -> dict[str, Array]:
    """A clip's frames, above those made of what is seen, and of the heard."""
    shown = taken(self.config, params, batch)
    seen = self.motion.see(params, collections, shown.frames)
    heard, _ = self.motion.hear(params, collections, shown)
    made = (
      self.paint(params, collections, shown, x.keypoints)[0]
      for x in (seen, heard)
    )
    return {"frames": rows(shown, shown.frames, *made)}


def taken(
  config: ConfigDict, params: Groups, batch: batch_shapes.Stretch
) -> Shown:
  """A batch as the networks take it."""
  model = config.model
  frames = rearrange(batch.frames, "b t h w c -> (b t) h w c")
  return Shown(
    picture=batch.others[:, 0].astype(jnp.float32) / 255,
    frames=frames.astype(jnp.float32) / 255,
    sound=mfcc.windows(batch.audio, model.frames, model.context),
    pose=held(
      config,
      PoseScale(**params[SCALE]),
      batch.landmarks,
      batch.other_landmarks[:, 0],
      model.image,
    ),
  )


def held(
  config: ConfigDict,
  scale: PoseScale,
  landmarks: Float[Any, "*b t 68 2"],
  picture: Float[Any, "*b 68 2"],
  size: int,
) -> Float[Any, "*b t 6"]:
  """How heads are held, in deviations of the people trained on.

  Where `config.model.anchored` says so, against how the picture's is: what
  moves a picture's own keypoints need not find out where it looks.

  Args:
    config: The run's.
    scale: Mean and deviation of those people.
    landmarks: Of the frames, in pixels.
    picture: Of the person's picture, likewise.
    size: Side of both, px.
  """

  def numbers(points: Any) -> Any:
    return head_pose.standardised(head_pose.head_pose(points, size), scale)

  own = numbers(landmarks)
  return own - numbers(picture)[..., None, :] if config.model.anchored else own


def apart(ours: Array, true: Array) -> Float[Array, "n"]:
  """Mean absolute difference of each frame."""
  return jnp.abs(ours - true).mean(range(1, ours.ndim))


def each(x: Array, shown: Shown) -> Array:
  """What belongs to a clip, for each of its frames."""
  return repeat(x, "b ... -> (b t) ...", t=shown.sound.shape[1])


def rows(shown: Shown, *pictures: Float[Array, "n s s 3"]) -> Array:
  """Bytes for a sheet: a clip's kinds of pictures below each other."""
  stacked = rearrange(
    jnp.stack(pictures),
    "r (b t) h w c -> (b r) t h w c",
    b=len(shown.picture),
  )
  return as_bytes(2 * stacked - 1)


def hearing_net(config: ConfigDict) -> AudioToMotion:
  """Builds the network that hears keypoints; it holds no parameters."""
  model = config.model
  return AudioToMotion(
    model.keypoints,
    model.detector.width + 3,
    model.image // model.shrink,
    model.ears,
    model.layers,
    jnp.dtype(precision.resolve(model.dtype)),
  )


def _weights(
  config: ConfigDict, stage: str
) -> tuple[Mapping[str, float], tuple[str, ...]]:
  """A stage's weights as used, and what is to be said of them."""
  disabled = {}
  if config.model.anchored:
    disabled["heat"] = (
      "what is heard moves keypoints, it is not where they lie"
      " (config.model.anchored)"
    )
  return base.resolve_weights(config[stage].weights.to_dict(), disabled)


def _no_scale() -> Group:
  """The shapes of group "pose_scale", before there are data."""
  scale = PoseScale(
    np.zeros(head_pose.NUMBERS, np.float32),
    np.ones(head_pose.NUMBERS, np.float32),
  )
  return jax.tree.map(jnp.asarray, scale._asdict()), {}


def make_motion(config: ConfigDict) -> Stage:
  """Makes the stage that trains group "eamm_hearing" and finds the scale."""
  settings, losses = config[MOTION], MotionLosses.of(config)
  return Stage(
    name=MOTION,
    init=losses.init,
    pretrained_from={KEYPOINTS: fomm.NAME},
    public=(HEARING,),
    optims={"fit": optimizers.adam((HEARING,), settings.optim, settings.steps)},
    phases=(Phase("fit", "fit", losses.fit),),
    ema_groups=(HEARING,),
    ema_decay=settings.optim.ema,
    batch=batch_shapes.stretches(config, settings.batch, 1),
    microbatch=settings.microbatch,
    from_landmarks={SCALE: losses.scale},
    scaling=base.scaling(config),
    sample_grids=losses.sample_grids,
    weights=losses.weights,
    notes=losses.notes,
  )


def make_finetune(config: ConfigDict) -> Stage:
  """Makes the stage that trains "eamm_hearing" and "fomm_generator" on."""
  settings, losses = config[FINETUNE], FinetuneLosses.of(config)
  trains = HEARING, GENERATOR
  seen = (VGG,) if losses.video.weights["perceptual"] else ()
  return Stage(
    name=FINETUNE,
    init=losses.init,
    pretrained_from={
      KEYPOINTS: fomm.NAME,
      GENERATOR: fomm.NAME,
      HEARING: MOTION,
      SCALE: MOTION,
    },
    public=seen,
    optims={"fit": optimizers.adam(trains, settings.optim, settings.steps)},
    phases=(Phase("fit", "fit", losses.fit),),
    ema_groups=trains,
    ema_decay=settings.optim.ema,
    batch=batch_shapes.stretches(config, settings.batch, 1),
    microbatch=settings.microbatch,
    scaling=base.scaling(config),
    sample_grids=losses.sample_grids,
    weights=losses.weights,
    notes=losses.notes,
  )


def motion_sampler(config: ConfigDict) -> Sampler:
  """Says how batches of the first stage are made."""
  return stretches(config, MOTION)


def finetune_sampler(config: ConfigDict) -> Sampler:
  """Says how batches of the second stage are made."""
  return stretches(config, FINETUNE)


def stretches(config: ConfigDict, stage: str) -> Sampler:
  """Stretches, and the person's picture from where the stage asks for it."""
  model = config.model
  return Sampler(
    "stretches",
    {
      "size": model.image,
      "frames": model.frames,
      "context": model.context,
      "others": 1,
      "apart": 0,
      "others_from": config[stage].picture_from,
    },
  )
