"""The First Order Motion Model: keypoints and a generator, from two frames.

A frame of a clip is made of another one, the source, by what their keypoints
say; nothing is labelled. EAMM's first stage. The losses are methods and can be
called alone. Networks have pictures in [0, 1], losses in [-1, 1].
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray
from ml_collections import ConfigDict

from speak_jax.losses import keypoints as losses_of
from speak_jax.losses import perceptual, pixel
from speak_jax.models import fomm
from speak_jax.models.fomm import (
  Generator,
  KeypointDetector,
  Keypoints,
  Painted,
)
from speak_jax.models.vgg import Vgg
from speak_jax.nn import resize, thin_plate
from speak_jax.nn.pixels import as_bytes
from speak_jax.nn.warp import pixel_centers
from speak_jax.stages import base, batch_shapes, init, optimizers
from speak_jax.stages.base import (
  Group,
  Groups,
  LossOut,
  Phase,
  Sampler,
  Stage,
)

NAME = "fomm"  # the stage
# The groups; public weights are called so too.
KEYPOINTS, GENERATOR, VGG = "fomm_keypoints", "fomm_generator", "vgg"
SCALES = 1, 2, 4, 8  # VGG sees pictures of these parts of their sides
LEAST = 16  # px that VGG must have
LEVELS = 4  # of the pyramid of pixels
DOT = 0.05  # of a point on a sheet, where a picture is 2 wide


@dataclasses.dataclass(frozen=True, eq=False)
class FommLosses:
  """The losses and what they need.

  Attributes:
    config: The run's.
    detector: Finds keypoints.
    generator: Moves pictures.
    weights: {term: weight} as used.
    notes: What is to be said of them, for the log.
  """

  config: ConfigDict
  detector: KeypointDetector
  generator: Generator
  weights: Mapping[str, float]
  notes: tuple[str, ...] = ()

  @classmethod
  def of(cls, config: ConfigDict) -> "FommLosses":
    """Builds it from a run's config.

    Raises:
      ValueError: pictures of this size do not halve as often as asked for.
    """
    disabled = {}
    if not config.pretrained.vgg:
      disabled["perceptual"] = "there is no VGG-19 (config.pretrained.vgg)"
    weights, notes = base.resolve_weights(
      config.fomm.weights.to_dict(), disabled
    )
    return cls(config, detector(config), generator(config), weights, notes)

  @property
  def vgg(self) -> Vgg:
    """What the perceptual loss sees with."""
    return Vgg(base.dtype(self.config))

  def init(
    self, seed: int, earlier: Mapping[str, Group]
  ) -> tuple[Groups, Groups]:
    """Makes "fomm_keypoints", "fomm_generator", and "vgg" where it is used."""
    shape, side = batch_shapes.float32, self.config.model.image
    picture, count = shape(2, side, side, 3), self.config.model.keypoints
    points = Keypoints(shape(2, count, 2), shape(2, count, 2, 2))
    nets: dict[str, tuple[Any, ...]] = {
      KEYPOINTS: (self.detector, picture),
      GENERATOR: (self.generator, picture, points, points),
    }
    if self.weights["perceptual"]:
      nets[VGG] = (self.vgg, picture)
    return init.split_kinds(
      {
        name: earlier.get(name) or init.initialise(net, seed, name, *inputs)
        for name, (net, *inputs) in nets.items()
      }
    )

  def find(
    self,
    params: Groups,
    collections: Groups,
    *pictures: Float[Array, "b s s 3"],
    train: bool = False,
  ) -> tuple[list[Keypoints], Groups]:
    """Finds keypoints in pictures of several kinds at once.

    Returns:
      They, of each kind, and the collections that training has changed.
    """
    found, changed = base.apply(
      self.detector,
      KEYPOINTS,
      params,
      collections,
      jnp.concatenate(pictures),
      train=train,
      mutable=["batch_stats"] if train else (),
    )
    kinds = [
      jax.tree.map(lambda x, i=i: jnp.split(x, len(pictures))[i], found)
      for i in range(len(pictures))
    ]
    return [x.keypoints for x in kinds], {KEYPOINTS: dict(changed)}

  def paint(
    self,
    params: Groups,
    collections: Groups,
    picture: Float[Array, "b s s 3"],
    source: Keypoints,
    driving: Keypoints,
    train: bool = False,
  ) -> tuple[Painted, Groups]:
    """Makes a frame of each picture.

    Returns:
      They, and the collections that training has changed.
    """
    painted, changed = base.apply(
      self.generator,
      GENERATOR,
      params,
      collections,
      picture,
      source,
      driving,
      train=train,
      mutable=["batch_stats"] if train else (),
    )
    return painted, {GENERATOR: dict(changed)}

  def fit(
    self,
    params: Groups,
    collections: Groups,
    batch: batch_shapes.Stretch,
    step: Int[Array, ""],
    key: PRNGKeyArray,
  ) -> LossOut:
    """Makes frames like the true ones, by keypoints that stick."""
    del step
    settings = self.config.fomm
    picture, true = pictures(batch)
    warp = thin_plate.draw(key, len(true), **settings.warp)
    warped = thin_plate.warped(warp, true)
    (source, driving, there), found = self.find(
      params, collections, picture, true, warped, train=True
    )
    painted, made = self.paint(
      params, collections, picture, source, driving, train=True
    )
    frames, wanted = 2 * painted.frames - 1, 2 * true - 1
    weight = pixel.region_weight(
      batch.landmarks[:, 0], true.shape[1], **settings.region
    )
    loss, means = base.weighted_sum(
      {
        **self.looks(params, collections, frames, wanted, weight),
        "points": lambda: losses_of.points_astray(
          driving.points, there.points, warp
        ),
        "jacobians": lambda: losses_of.jacobians_astray(
          driving.jacobians, there.jacobians, there.points, warp
        ),
      },
      self.weights,
    )
    means["l1"] = jnp.abs(frames - wanted).mean()
    means["l1_of_still"] = jnp.abs(2 * (picture - true)).mean()
    means["occlusion"] = painted.motion.occlusion.mean()
    return LossOut(loss, means, found | made)

  def looks(
    self,
    params: Groups,
    collections: Groups,
    frames: Float[Array, "b s s 3"],
    true: Float[Array, "b s s 3"],
    weight: Float[Array, "b s s 1"],
  ) -> base.Terms:
    """Terms of what frames look like, with that which each place weighs."""
    return {
      "perceptual": lambda: self.perceptual(params, collections, frames, true),
      "pixel": lambda: pixel.pyramid_l1(frames, true, weight, LEVELS),
      "gradient": lambda: pixel.gradient_l1(frames, true, weight),
      "structure": lambda: pixel.ssim_loss(frames, true),
    }

  def perceptual(
    self,
    params: Groups,
    collections: Groups,
    frames: Float[Array, "b s s 3"],
    true: Float[Array, "b s s 3"],
  ) -> Float[Array, "b"]:
    """Five maps of VGG alike, of pictures at each scale that it can see."""
    total = jnp.zeros(len(frames), jnp.float32)
    for scale in SCALES:
      if frames.shape[1] // scale < LEAST:
        break
      ours, theirs = (
        base.apply(
          self.vgg, VGG, params, collections, resize.gaussian(x, scale)
        )
        for x in (frames, true)
      )
      total += perceptual.feature_l1(ours, theirs, [1.0] * len(ours))
    return total

  def sample_grids(
    self, params: Groups, collections: Groups, batch: batch_shapes.Stretch
  ) -> dict[str, Array]:
    """Each source, the true frame, ours; how the source moves, and where."""
    picture, true = pictures(batch)
    (source, driving), _ = self.find(params, collections, picture, true)
    painted, _ = self.paint(params, collections, picture, source, driving)
    motion, side = painted.motion, true.shape[1]
    shown = resize.linear(motion.occlusion, side, side)
    columns = [
      marked(picture, source.points),
      marked(true, driving.points),
      painted.frames,
      fomm.moved(picture, motion.flow, self.config.model.aligned),
      jnp.broadcast_to(shown, true.shape),
    ]
    return {"frames": as_bytes(2 * jnp.stack(columns, 1) - 1)}


def pictures(
  batch: batch_shapes.Stretch,
) -> tuple[Float[Array, "b s s 3"], Float[Array, "b s s 3"]]:
  """A batch's sources and the frames to be made of them, in [0, 1]."""
  source, frames = (
    x[:, 0].astype(jnp.float32) / 255 for x in (batch.others, batch.frames)
  )
  return source, frames


def marked(
  picture: Float[Array, "b s s 3"], points: Float[Array, "b k 2"]
) -> Float[Array, "b s s 3"]:
  """Pictures with a dot on each point, each of a colour of its own."""
  line, count = pixel_centers(picture.shape[1]), points.shape[1]
  x, y = points[..., 0, None, None], points[..., 1, None, None]
  near = ((line - x) ** 2 + (line[:, None] - y) ** 2) < DOT**2  # b k s s
  turn = jnp.arange(count)[:, None] / count + jnp.arange(3) / 3
  colours = 0.5 + 0.5 * jnp.cos(2 * jnp.pi * turn)
  for k in range(count):
    picture = jnp.where(near[:, k, ..., None], colours[k], picture)
  return picture


def detector(config: ConfigDict) -> KeypointDetector:
  """Builds the keypoint detector; it holds no parameters.

  Raises:
    ValueError: pictures of this size do not halve as often as asked for.
  """
  model = config.model
  _check_halvings(config, "detector")
  return KeypointDetector(
    model.keypoints,
    shrink=model.shrink,
    dtype=base.dtype(config),
    **model.detector,
  )


def generator(config: ConfigDict) -> Generator:
  """Builds the generator and its dense motion; it holds no parameters.

  Raises:
    ValueError: pictures of this size do not halve as often as asked for.
  """
  model = config.model
  _check_halvings(config, "motion")
  return Generator(
    **model.generator,
    motion_width=model.motion.width,
    widest=model.motion.widest,
    blocks=model.motion.blocks,
    shrink=model.shrink,
    aligned=model.aligned,
    dtype=base.dtype(config),
  )


def _check_halvings(config: ConfigDict, part: str) -> None:
  """Refuses pictures that an hourglass cannot halve.

  Raises:
    ValueError: naming the keys.
  """
  model = config.model
  parts = model.shrink * 2 ** model[part].blocks
  if model.image % parts:
    raise ValueError(
      f"config.model.image {model.image} is not a multiple of {parts}:"
      f" model.shrink, halved model.{part}.blocks times"
    )


def make(config: ConfigDict) -> Stage:
  """Makes the stage that trains "fomm_keypoints" and "fomm_generator".

  Raises:
    ValueError: see `FommLosses.of`.
  """
  settings, losses = config.fomm, FommLosses.of(config)
  trains = KEYPOINTS, GENERATOR
  seen = (VGG,) if losses.weights["perceptual"] else ()
  return Stage(
    name=NAME,
    init=losses.init,
    pretrained_from={},
    public=(*trains, *seen),
    optims={"fit": optimizers.adam(trains, settings.optim, settings.steps)},
    phases=(Phase("fit", "fit", losses.fit),),
    ema_groups=trains,
    ema_decay=settings.optim.ema,
    batch=batch_shapes.stretches_of(config, settings.batch, 1, 0, 1),
    microbatch=settings.microbatch,
    scaling=base.scaling(config),
    sample_grids=losses.sample_grids,
    weights=losses.weights,
    notes=losses.notes,
  )


def sampler(config: ConfigDict) -> Sampler:
  """Says how batches are made: two frames of a clip, whichever."""
  return Sampler(
    "stretches",
    {
      "size": config.model.image,
      "frames": 1,
      "context": 0,
      "others": 1,
      "apart": 0,
    },
  )
