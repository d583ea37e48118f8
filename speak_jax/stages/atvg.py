"""ATVG's two stages: sound to landmarks, and landmarks to video.

Both learn from stretches of a clip and one more frame of it, the identity
picture. The first one also makes the basis of landmarks, group "basis", which
nothing trains. The losses are methods and can be called alone.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from einops import rearrange
from jaxtyping import Array, Float, Int, PRNGKeyArray, UInt8
from ml_collections import ConfigDict

from speak_jax.losses import adversarial
from speak_jax.losses import landmarks as losses_of
from speak_jax.models import landmark_basis
from speak_jax.models.atvg import ATNet, Critic, Judged, Painted, VGNet
from speak_jax.models.landmark_basis import LandmarkBasis
from speak_jax.nn import mfcc, similarity
from speak_jax.nn.pixels import as_bytes, as_frames
from speak_jax.nn.warp import sample
from speak_jax.stages import base, batch_shapes, init, optimizers, rules
from speak_jax.stages.base import (
  Group,
  Groups,
  LossOut,
  Phase,
  Row,
  Sampler,
  Stage,
  Training,
)

LANDMARKS, VIDEO = "atvg_landmarks", "atvg_video"  # the stages
# The groups; public weights of the first three are called so too.
AT, VG, CRITIC, BASIS = "atvg_at", "atvg_vg", "atvg_critic", "basis"
HEARD = mfcc.ROWS, mfcc.COEFFICIENTS - 1  # of a frame: rows and columns
SIDE = 64  # px of a sheet's picture of landmarks


class Normal(NamedTuple):
  """A batch's landmarks without whose they are and where."""

  example: Float[Array, "b 68 2"]  # of the identity picture
  frames: Float[Array, "b t 68 2"]


@dataclasses.dataclass(frozen=True, eq=False)
class LandmarkLosses:
  """The loss of the first stage and what it needs.

  Attributes:
    config: The run's.
    net: AT-net.
    weights: {term: weight} as used.
    notes: What is to be said of them, for the log.
  """

  config: ConfigDict
  net: ATNet
  weights: Mapping[str, float]
  notes: tuple[str, ...] = ()

  @classmethod
  def of(cls, config: ConfigDict) -> "LandmarkLosses":
    """Builds it from a run's config."""
    asked = config[LANDMARKS].weights.to_dict()
    return cls(config, at_net(config), *base.resolve_weights(asked, {}))

  def init(
    self, seed: int, earlier: Mapping[str, Group]
  ) -> tuple[Groups, Groups]:
    """Makes group "atvg_at"; "basis" comes from the data. See `Stage.init`."""
    model = self.config.model
    group = earlier.get(AT) or init.initialise(
      self.net,
      seed,
      AT,
      batch_shapes.float32(2, model.directions),
      batch_shapes.float32(2, model.frames, *HEARD),
    )
    return init.split_kinds(
      {AT: group, BASIS: earlier.get(BASIS) or _no_basis(model.directions)}
    )

  def basis(self, clips: Sequence[np.ndarray]) -> Group:
    """Makes group "basis" of the landmarks of the people trained on."""
    model = self.config.model
    fitted = landmark_basis.fit(clips, model.directions, model.keep_shape)
    return fitted._asdict(), {}

  def predict(
    self,
    params: Groups,
    collections: Groups,
    batch: batch_shapes.Stretch,
    train: bool = False,
  ) -> tuple[Float[Array, "b t d"], Float[Array, "b t d"], Groups]:
    """Predicts a batch's coefficients.

    Returns:
      Those, the true ones, and the collections that training has changed.
    """
    model, basis = self.config.model, LandmarkBasis(**params[BASIS])
    normal = normalised(self.config, params[BASIS]["shape"], batch)
    example = landmark_basis.coefficients(normal.example, basis)
    ((found, _), changed) = base.apply(
      self.net,
      AT,
      params,
      collections,
      example,
      mfcc.windows(batch.audio, model.frames, model.context),
      train=train,
      mutable=["batch_stats"] if train else (),
    )
    true = landmark_basis.coefficients(normal.frames, basis)
    return found, true, {AT: dict(changed)}

  def fit(
    self,
    params: Groups,
    collections: Groups,
    batch: batch_shapes.Stretch,
    step: Int[Array, ""],
    key: PRNGKeyArray,
  ) -> LossOut:
    """Squares what coefficients are off; beside it, the mean shape's error."""
    del step, key
    found, true, changed = self.predict(params, collections, batch, True)
    loss, means = base.weighted_sum(
      {"coefficients": lambda: losses_of.coefficients_squared(found, true)},
      self.weights,
    )
    still = losses_of.coefficients_squared(jnp.zeros_like(true), true)
    return LossOut(
      loss, means | {"coefficients_of_mean": still.mean()}, changed
    )

  def sample_grids(
    self, params: Groups, collections: Groups, batch: batch_shapes.Stretch
  ) -> dict[str, Array]:
    """Draws landmarks, a clip's true ones above those that were heard."""
    basis = LandmarkBasis(**params[BASIS])
    found, true, _ = self.predict(params, collections, batch)
    rows = rearrange(jnp.stack([true, found], 1), "b r t d -> (b r) t d")
    return {"landmarks": drawn(landmark_basis.shapes(rows, basis))}


@dataclasses.dataclass(frozen=True, eq=False)
class VideoLosses:
  """The losses of the second stage and what they need.

  Attributes:
    config: The run's.
    net: VG-net.
    critic: Is a clip real, and where are its landmarks?
    weights: {term: weight} of VG-net as used.
    notes: What is to be said of them, for the log.
  """

  config: ConfigDict
  net: VGNet
  critic: Critic
  weights: Mapping[str, float]
  notes: tuple[str, ...] = ()

  @classmethod
  def of(cls, config: ConfigDict) -> "VideoLosses":
    """Builds it from a run's config."""
    asked = config[VIDEO].weights.to_dict()
    weights, notes = base.resolve_weights(asked, {})
    return cls(config, vg_net(config), critic(config), weights, notes)

  def init(
    self, seed: int, earlier: Mapping[str, Group]
  ) -> tuple[Groups, Groups]:
    """Makes "atvg_vg" and "atvg_critic"; "basis" is the first stage's."""
    model, shape = self.config.model, batch_shapes.float32
    side, t = model.image, model.frames
    example = shape(2, 68, 2)
    groups = {
      VG: earlier.get(VG)
      or init.initialise(
        self.net, seed, VG, shape(2, side, side, 3), example, shape(2, t, 68, 2)
      ),
      CRITIC: earlier.get(CRITIC)
      or init.initialise(
        self.critic, seed, CRITIC, shape(2, t, side, side, 3), example
      ),
      BASIS: earlier.get(BASIS) or _no_basis(model.directions),
    }
    return init.split_kinds(groups)

  def pictures(
    self, params: Groups, batch: batch_shapes.Stretch
  ) -> tuple[Float[Array, "b s s 3"], Float[Array, "b t s s 3"], Normal]:
    """The identity picture and the frames, aligned, and their landmarks."""
    shape = params[BASIS]["shape"]
    normal = normalised(self.config, shape, batch)
    picture = aligned(
      as_frames(batch.others[:, 0]), batch.other_landmarks[:, 0], shape
    )
    frames = aligned(
      rearrange(as_frames(batch.frames), "b t h w c -> (b t) h w c"),
      rearrange(batch.landmarks, "b t k c -> (b t) k c"),
      shape,
    )
    t = self.config.model.frames
    frames = rearrange(frames, "(b t) h w c -> b t h w c", t=t)
    return picture, frames, normal

  def paint(
    self,
    params: Groups,
    collections: Groups,
    picture: Float[Array, "b s s 3"],
    normal: Normal,
    key: PRNGKeyArray | None = None,
  ) -> tuple[Painted, Groups]:
    """Paints a batch's frames.

    Args:
      params: Group "atvg_vg".
      collections: Of the same group.
      picture: Of the person, aligned.
      normal: Landmarks.
      key: Of what is dropped in training; None: not in training.

    Returns:
      They, and the collections that training has changed.
    """
    train = key is not None
    painted, changed = base.apply(
      self.net,
      VG,
      params,
      collections,
      picture,
      normal.example,
      normal.frames,
      train=train,
      mutable=["batch_stats"] if train else (),
      rngs={"dropout": key} if train else {},
    )
    return painted, {VG: dict(changed)}

  def judge(
    self,
    params: Groups,
    collections: Groups,
    frames: Float[Array, "b t s s 3"],
    normal: Normal,
  ) -> tuple[Judged, Groups]:
    """Judges clips by their own statistics, which change the running ones."""
    judged, changed = base.apply(
      self.critic,
      CRITIC,
      params,
      collections,
      frames,
      normal.example,
      train=True,
      mutable=["batch_stats"],
    )
    return judged, dict(changed)

  def disc(
    self,
    params: Groups,
    collections: Groups,
    batch: batch_shapes.Stretch,
    step: Int[Array, ""],
    key: PRNGKeyArray,
  ) -> LossOut:
    """The critic's: real or not, and the true landmarks of either."""
    del step
    picture, frames, normal = self.pictures(params, batch)
    painted, _ = self.paint(params, collections, picture, normal, key)
    real, first = self.judge(params, collections, frames, normal)
    fake, second = self.judge(
      params,
      {**collections, CRITIC: first},
      jax.lax.stop_gradient(painted.frames),
      normal,
    )
    told = adversarial.discriminator([real.logits], [fake.logits]).mean()
    places = sum(
      losses_of.landmarks_squared(x.landmarks, normal.frames).mean()
      for x in (real, fake)
    )
    means = {"gan": told, "landmarks": jnp.asarray(places)}
    return LossOut(told + places, means, {CRITIC: second})

  def gen(
    self,
    params: Groups,
    collections: Groups,
    batch: batch_shapes.Stretch,
    step: Int[Array, ""],
    key: PRNGKeyArray,
  ) -> LossOut:
    """VG-net's: pixels by attention, and what the critic says of them."""
    del step
    picture, frames, normal = self.pictures(params, batch)
    painted, changed = self.paint(params, collections, picture, normal, key)
    # Once, and not at all where nothing asks for it.
    judged: list[Judged] = []

    def said() -> Judged:
      if not judged:
        found, _ = self.judge(params, collections, painted.frames, normal)
        judged.append(found)
      return judged[0]

    loss, means = base.weighted_sum(
      {
        "pixel": lambda: losses_of.attended_l1(
          painted.frames, frames, painted.attention
        ),
        "gan": lambda: adversarial.generator([said().logits]),
        "landmarks": lambda: losses_of.landmarks_squared(
          said().landmarks, normal.frames
        ),
      },
      self.weights,
    )
    means["attention"] = painted.attention.mean()
    means["l1"] = jnp.abs(painted.frames - frames).mean()
    means["l1_of_still"] = jnp.abs(picture[:, None] - frames).mean()
    return LossOut(loss, means, changed)

  def sample_grids(
    self, params: Groups, collections: Groups, batch: batch_shapes.Stretch
  ) -> dict[str, Array]:
    """A clip's true frames above the painted ones, and where they are so."""
    picture, frames, normal = self.pictures(params, batch)
    painted, _ = self.paint(params, collections, picture, normal)
    where = jnp.broadcast_to(2 * painted.attention - 1, frames.shape)
    rows = jnp.stack([frames, painted.frames, where], 1)
    return {"frames": as_bytes(rearrange(rows, "b r t h w c -> (b r) t h w c"))}


def normalised(
  config: ConfigDict,
  shape: Float[Array, "68 2"],
  batch: batch_shapes.Stretch,
) -> Normal:
  """A batch's landmarks as the networks take them."""
  identity, keep = batch.other_landmarks[:, 0], config.model.keep_shape
  all_of_them = jnp.concatenate([batch.other_landmarks, batch.landmarks], 1)
  normal = landmark_basis.normalise(all_of_them, identity, shape, keep)
  return Normal(normal[:, 0], normal[:, 1:])


def aligned(
  frames: Float[Array, "b s s 3"],
  landmarks: Float[Array, "b 68 2"],
  shape: Float[Array, "68 2"],
) -> Float[Array, "b s s 3"]:
  """Pictures of the same size whose noses and eyes are where `crop` says."""
  size = frames.shape[1]
  to_cut = similarity.fit(
    landmarks[:, landmark_basis.ANCHORS], landmark_basis.crop(shape, size)
  )
  side = jnp.arange(size, dtype=jnp.float32)
  return sample(frames, *similarity.read_at(to_cut, side, side[:, None]))


def drawn(
  normal: Float[Array, "r t 68 2"],
) -> UInt8[Array, "r t h w 3"]:
  """White points on black, for the sheet."""
  places = 0.42 * SIDE * normal + SIDE / 2
  away = jnp.arange(SIDE) - places[..., None]  # r t k xy cells
  light = jnp.exp(-(away**2))
  x, y = light[..., 0, :], light[..., 1, :]
  picture = jnp.einsum("rtkh,rtkw->rthw", y, x).clip(0, 1)
  return as_bytes(jnp.repeat(picture[..., None], 3, -1) * 2 - 1)


def at_net(config: ConfigDict) -> ATNet:
  """Builds AT-net; it holds no parameters."""
  return ATNet(config.model.width, config.model.layers, base.dtype(config))


def vg_net(config: ConfigDict) -> VGNet:
  """Builds VG-net; it holds no parameters."""
  model = config.model
  return VGNet(
    model.image, model.width, model.blocks, model.recurrent, base.dtype(config)
  )


def critic(config: ConfigDict) -> Critic:
  """Builds the critic; it holds no parameters."""
  model = config.model
  return Critic(model.image, model.width, model.layers, base.dtype(config))


def _no_basis(directions: int) -> Group:
  """The shapes of group "basis", before there are data."""
  arrays = LandmarkBasis(
    np.zeros((68, 2), np.float32),
    np.zeros(136, np.float32),
    np.zeros((136, directions), np.float32),
  )
  return jax.tree.map(jnp.asarray, arrays._asdict()), {}


def make_landmarks(config: ConfigDict) -> Stage:
  """Makes the stage that trains group "atvg_at" and finds "basis"."""
  settings, losses = config[LANDMARKS], LandmarkLosses.of(config)
  return Stage(
    name=LANDMARKS,
    init=losses.init,
    pretrained_from={},
    optims={"fit": optimizers.adam((AT,), settings.optim, settings.steps)},
    phases=(Phase("fit", "fit", losses.fit),),
    ema_groups=(AT,),
    ema_decay=settings.optim.ema,
    batch=batch_shapes.stretches(config, settings.batch, 1),
    microbatch=settings.microbatch,
    from_landmarks={BASIS: losses.basis},
    public=(AT,),
    scaling=base.scaling(config),
    sample_grids=losses.sample_grids,
    weights=losses.weights,
    notes=losses.notes,
  )


def make_video(config: ConfigDict) -> Stage:
  """Makes the stage that trains groups "atvg_vg" and "atvg_critic"."""
  settings, losses = config[VIDEO], VideoLosses.of(config)
  return Stage(
    name=VIDEO,
    init=losses.init,
    pretrained_from={BASIS: LANDMARKS},
    public=(VG, CRITIC),
    optims={
      "disc": optimizers.adam((CRITIC,), settings.critic, settings.steps),
      "gen": optimizers.adam((VG,), settings.optim, settings.steps),
    },
    phases=(
      Phase("disc", "disc", losses.disc),
      Phase("gen", "gen", losses.gen),
    ),
    ema_groups=(VG,),
    ema_decay=settings.optim.ema,
    batch=batch_shapes.stretches(config, settings.batch, 1),
    microbatch=settings.microbatch,
    scaling=base.scaling(config),
    sample_grids=losses.sample_grids,
    weights=losses.weights,
    notes=losses.notes,
  )


def sampler(config: ConfigDict) -> Sampler:
  """Says how batches are made: stretches, and any other frame of the clip."""
  model = config.model
  return Sampler(
    "stretches",
    {
      "size": model.image,
      "frames": model.frames,
      "context": model.context,
      "others": 1,
      "apart": 0,
    },
  )


TRAINING = Training(
  stages={
    LANDMARKS: Row(make_landmarks, (AT, BASIS), sampler),
    VIDEO: Row(make_video, (VG, BASIS), sampler),
  },
  rules=(
    ("data.fps", rules.AT_25),
    (
      "model.image",
      rules.Rule(
        "a multiple of 32 from 32 on",
        lambda x: isinstance(x, int) and x >= 32 and x % 32 == 0,
      ),
    ),
    (
      "model.width",
      rules.Rule(
        "an even number from 2 on",
        lambda x: isinstance(x, int) and x >= 2 and x % 2 == 0,
      ),
    ),
    ("pretrained.required", rules.each(rules.one_of(AT, VG, CRITIC))),
    ("model.context", rules.whole(mfcc.BEFORE + 1)),
    ("model.layers", rules.SOME),
    ("model.blocks", rules.SOME),
    ("model.directions", rules.whole(1, 136)),
    ("model.keep_shape", rules.SWITCH),
    ("model.recurrent", rules.SWITCH),
    ("model.exaggerate", rules.each(rules.FROM_0)),
  ),
  model_of={"blocks": VIDEO, "recurrent": VIDEO},
)
