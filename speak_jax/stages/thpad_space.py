"""TH-PAD's second stage: all that draws, and a space that keeps lips out.

The senses of the first learn on; what E_v sees beside lips gets a code of its
own, and from all codes frames are drawn. The losses are methods and can be
called alone.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from einops import rearrange, repeat
from jaxtyping import Array, Float, Int, PRNGKeyArray
from ml_collections import ConfigDict

from speak_jax.losses import adversarial, disentangle, perceptual
from speak_jax.models import thpad as nets
from speak_jax.models.discriminator import Discriminator
from speak_jax.models.generator import Drawing
from speak_jax.models.thpad import Senses, Space
from speak_jax.models.vgg import Vgg
from speak_jax.nn import lip_mel
from speak_jax.nn.pixels import as_bytes, as_frames
from speak_jax.stages import (
  base,
  batch_shapes,
  gan,
  init,
  optimizers,
  picture_terms,
)
from speak_jax.stages.base import (
  Group,
  Groups,
  LossOut,
  Phase,
  Sampler,
  Stage,
  Terms,
)
from speak_jax.stages.thpad_lip import (
  LIP,
  SENSES,
  Sensed,
  contrast_terms,
  encoder,
  flat,
  found,
  sense,
  senses,
  senses_group,
  shapes,
  span,
  stretches,
)

SPACE = "thpad_space"  # the stage
DRAWS = "thpad_draws"  # its group beside "thpad_senses": all else that draws


@dataclasses.dataclass(frozen=True, eq=False)
class SpaceLosses:
  """The losses of the second stage and what they need.

  Attributes:
    config: The run's.
    senses: E_v with MLP_cl, and E_a.
    space: All else that draws.
    vgg: What L_G compares by, where config.pretrained.vgg names its weights.
    discriminator: Is a frame real?
    weights: {term: weight} as used.
    notes: What is to be said of them, for the log.
  """

  config: ConfigDict
  senses: Senses
  space: Space
  vgg: Vgg
  discriminator: Discriminator
  weights: Mapping[str, float]
  notes: tuple[str, ...] = ()

  @classmethod
  def of(cls, config: ConfigDict) -> "SpaceLosses":
    """Builds it from a run's config.

    Raises:
      ValueError: feature matching without a discriminator.
    """
    settings, dtype = config[SPACE], base.dtype(config)
    asked = settings.weights.to_dict()
    if asked["features"] and not asked["gan"]:
      raise ValueError(f"config.{SPACE}.weights.features needs weights.gan > 0")
    on_encoder = asked.pop("perceptual_encoders")
    if not config.pretrained.vgg:
      asked["perceptual"] = on_encoder
    disabled = {}
    compared = settings.microbatch * settings.frames
    if compared < disentangle.ENOUGH:
      disabled["covariance"] = (
        f"{compared} frames are compared at once, fewer than"
        f" {disentangle.ENOUGH} give noise"
      )
    weights, notes = base.resolve_weights(asked, disabled)
    return cls(
      config,
      senses(config),
      space(config),
      Vgg(dtype),
      Discriminator(**config.model.discriminator, dtype=dtype),
      weights,
      notes,
    )

  @property
  def adversarial(self) -> bool:
    """Whether a discriminator learns to tell our frames from true ones."""
    return self.weights["gan"] > 0

  @property
  def compares_by_vgg(self) -> bool:
    """Whether L_G compares VGG's features; else those of our E_id."""
    return bool(self.config.pretrained.vgg)

  @property
  def adversary(self) -> gan.Adversary:
    """The discriminator; without parameters unless `adversarial`."""
    return gan.Adversary(self.discriminator, self.config[SPACE])

  def init(
    self, seed: int, earlier: Mapping[str, Group]
  ) -> tuple[Groups, Groups]:
    """Takes the senses, makes the rest; see `Stage.init`."""
    image = self.config.model.image
    groups = {
      SENSES: senses_group(self.config, self.senses, seed, earlier),
      DRAWS: draws_group(self.config, self.senses, self.space, seed, earlier),
    }
    if self.weights["perceptual"] and self.compares_by_vgg:
      groups["vgg"] = earlier.get("vgg") or init.initialise(
        self.vgg, seed, "vgg", batch_shapes.float32(2, image, image, 3)
      )
    if self.adversarial:
      groups[gan.GROUP] = self.adversary.initialise(seed, image)
    return init.split_kinds(groups)

  def generator_loss(
    self,
    params: Groups,
    collections: Groups,
    batch: batch_shapes.Stretch,
    step: Int[Array, ""],
    key: PRNGKeyArray,
  ) -> LossOut:
    """L_cl + L_ol + L_G, with our terms beside them."""
    del key
    settings = self.config[SPACE]
    made, changed = self.make(params, collections, batch, True)
    ramp = base.ramp(step, settings.gan_ramp)
    loss, means = base.weighted_sum(
      self._space_terms(made)
      | self._picture_terms(made)
      | self._network_terms(params, collections, made),
      self.weights,
      {"gan": ramp, "features": ramp},
    )
    means["found"] = found(made.sensed)
    means["l1"] = jnp.abs(made.drawing.frames - made.true).mean()
    means["l1_of_still"] = jnp.abs(made.identity - made.true).mean()
    means |= base.code_metrics({"motion": made.motion})
    return LossOut(loss, means, {SENSES: changed})

  def discriminator_loss(
    self,
    params: Groups,
    collections: Groups,
    batch: batch_shapes.Stretch,
    step: Int[Array, ""],
    key: PRNGKeyArray,
  ) -> LossOut:
    """Tells true frames from drawn ones, the identity picture beside them."""
    del step, key
    made, _ = self.make(params, collections, batch, True)
    return self.adversary.loss(
      params,
      collections,
      real=gan.Shown(made.true, made.identity),
      fake=gan.Shown(made.drawing.frames, made.identity),
    )

  def r1_loss(
    self,
    params: Groups,
    collections: Groups,
    batch: batch_shapes.Stretch,
    step: Int[Array, ""],
    key: PRNGKeyArray,
  ) -> LossOut:
    """R1 of the discriminator at true frames; see `gan.Adversary.r1_loss`."""
    del step
    true = as_frames(batch.frames[:, :: self.config[SPACE].every])
    real = gan.Shown(flat(true), _identity(batch, true.shape[1]))
    return self.adversary.r1_loss(params, collections, real, key)

  def make(
    self,
    params: Groups,
    collections: Groups,
    batch: batch_shapes.Stretch,
    train: bool,
  ) -> tuple["Made", Any]:
    """Draws some frames of each clip anew, of another frame of it.

    Returns:
      They, and the senses' collections as training has changed them.
    """
    settings = self.config[SPACE]
    sensed, changed = sense(
      self.config, self.senses, params, collections, batch, settings, train
    )

    def run(method: str, *inputs: Any) -> Any:
      return base.apply(
        self.space, DRAWS, params, collections, *inputs, method=method
      )

    other, motion = run("motion", sensed.seen)
    frames = settings.frames
    picture = as_frames(batch.others[:, 0])
    features = run("portrait", picture, batch.other_landmarks[:, 0])
    features = jax.tree.map(lambda x: jnp.repeat(x, frames, 0), features)
    drawing = run("draw", features, motion, run("speak", sensed.sound))
    truth = picture_terms.Truth(
      flat(as_frames(batch.frames[:, :: settings.every])),
      flat(batch.landmarks[:, :: settings.every]),
      repeat(batch.other_landmarks[:, 0], "b k d -> (b t) k d", t=frames),
    )
    identity = _identity(batch, frames)
    return Made(sensed, other, motion, drawing, truth, identity), changed

  def sample_grids(
    self, params: Groups, collections: Groups, batch: batch_shapes.Stretch
  ) -> dict[str, Array]:
    """Per clip: its true frames above ours; the identity picture in front."""
    made, _ = self.make(params, collections, batch, False)
    rows = [
      rearrange(x, "(b t) ... -> b t ...", t=self.config[SPACE].frames)
      for x in (made.true, made.drawing.frames, made.identity)
    ]
    both = [jnp.concatenate([rows[2][:, :1], x], 1) for x in rows[:2]]
    both = rearrange(jnp.stack(both, 1), "b r t ... -> (b r) t ...")
    return {"frames": as_bytes(both)}

  def _space_terms(self, made: "Made") -> Terms:
    """What keeps lips in one space, and out of the other."""
    sensed = made.sensed
    sound = jax.lax.stop_gradient(sensed.sound)
    return {
      **contrast_terms(sensed, self.config[SPACE]),
      "orthogonal": lambda: disentangle.squared_cosine(made.other, sound),
      "covariance": lambda: disentangle.cross_correlation(made.motion, sound),
      "variance": lambda: disentangle.variance_floor(made.motion),
    }

  def _picture_terms(self, made: "Made") -> Terms:
    """L_G on pixels and landmarks."""
    return picture_terms.of(
      made.drawing.frames,
      made.drawing.geometry,
      made.truth,
      self.config[SPACE].region,
    )

  def _network_terms(
    self, params: Groups, collections: Groups, made: "Made"
  ) -> Terms:
    """L_G by which networks judge."""
    fake: Any = None
    real: Any = None
    if self.adversarial:
      fake, real = (
        self.adversary.judge(
          params, collections, gan.Shown(frames, made.identity)
        )
        for frames in (made.drawing.frames, made.true)
      )
    return {
      "perceptual": lambda: self.perceptual_loss(
        params, collections, made.drawing.frames, made.true
      ),
      "gan": lambda: adversarial.generator(fake.logits),
      "features": lambda: adversarial.feature_matching(
        jax.tree.leaves(real.features), jax.tree.leaves(fake.features)
      ),
    }

  def perceptual_loss(
    self,
    params: Groups,
    collections: Groups,
    frames: Float[Array, "n h w 3"],
    true: Float[Array, "n h w 3"],
  ) -> Float[Array, "n"]:
    """Distance of VGG's five maps, or of E_id's, which learns nothing by it."""
    if self.compares_by_vgg:
      ours, theirs = (
        base.apply(self.vgg, "vgg", params, collections, x)
        for x in (frames, true)
      )
      return perceptual.feature_l1(ours, theirs)
    held = jax.lax.stop_gradient(params)
    ours, theirs = (
      base.apply(
        self.space,
        DRAWS,
        held,
        collections,
        x,
        method=lambda net, x: net.person_net(x)[0],
      )
      for x in (frames, true)
    )
    return perceptual.feature_l1(ours, theirs, [1 / len(ours)] * len(ours))


class Made(NamedTuple):
  """n frames taken apart and drawn anew."""

  sensed: Sensed
  other: Float[Array, "n o"]  # f_ol
  motion: Float[Array, "n m"]  # f_nl
  drawing: Drawing
  truth: picture_terms.Truth
  identity: Float[Array, "n h w 3"]  # identity pictures, in [-1, 1]

  @property
  def true(self) -> Float[Array, "n h w 3"]:
    """The frames as they are, in [-1, 1]."""
    return self.truth.frames


def space(config: ConfigDict) -> Space:
  """Builds all else that draws; it holds no parameters."""
  model = config.model
  codes = model.codes
  return Space(
    image=model.image,
    encoder=encoder(config),
    identity=codes.identity,
    # As wide as f_a, with which it is compared.
    other=codes.contrast,
    head=codes.head,
    face=codes.face,
    lips=codes.lips,
    maps=tuple(model.maps),
    channels=tuple(sorted((int(k), v) for k, v in model.channels.items())),
    latent=model.latent,
    up=model.up,
    dtype=base.dtype(config),
    remat=config.train.remat,
  )


def draws_group(
  config: ConfigDict,
  senses_net: Senses,
  space_net: Space,
  seed: int,
  earlier: Mapping[str, Group],
) -> Group:
  """Takes or makes group "thpad_draws", which the third stage holds as well."""
  if DRAWS in earlier:
    return earlier[DRAWS]
  image, shape = config.model.image, batch_shapes.float32
  picture = shape(2, image, image, 3)
  sensed, _ = jax.eval_shape(
    senses_net.init_with_output,
    jax.random.key(0),
    picture,
    shape(2, lip_mel.BANDS, nets.STEPS),
  )
  seen, _, sound = sensed
  return init.initialise(
    space_net, seed, DRAWS, picture, shape(2, 68, 2), seen, sound
  )


def _identity(
  batch: batch_shapes.Stretch, frames: int
) -> Float[Array, "n h w 3"]:
  """A clip's identity picture for each of its frames."""
  return jnp.repeat(as_frames(batch.others[:, 0]), frames, 0)


def make(config: ConfigDict) -> Stage:
  """Makes the stage that trains all but the prior, and a discriminator.

  Public weights of VGG-19, where config.pretrained names them, are given as
  group "vgg".

  Raises:
    ValueError: see `SpaceLosses.of`.
  """
  settings, losses = config[SPACE], SpaceLosses.of(config)
  trains = (SENSES, DRAWS)
  stage = Stage(
    name=SPACE,
    init=losses.init,
    pretrained_from={SENSES: LIP},
    optims={"gen": optimizers.adam(trains, settings.optim, settings.steps)},
    phases=(Phase("gen", "gen", losses.generator_loss),),
    ema_groups=trains,
    ema_decay=settings.optim.ema,
    batch=shapes(config, settings.batch, span(settings)),
    microbatch=settings.microbatch,
    public=("vgg",) if settings.weights.perceptual else (),
    scaling=base.scaling(config),
    sample_grids=losses.sample_grids,
    weights=losses.weights,
    notes=losses.notes,
  )
  if not losses.adversarial:
    return stage
  return losses.adversary.join(stage, losses.discriminator_loss, losses.r1_loss)


def sampler(config: ConfigDict) -> Sampler:
  """Says how batches are made: one frame in `every` of a stretch counts."""
  return stretches(config, span(config[SPACE]))
