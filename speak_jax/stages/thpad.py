"""TH-PAD's three stages: lips by contrast, the space of the rest, the prior.

All learn from stretches of a clip. The first brings frames and sounds into one
space, the second trains all that draws, the third what moves where there is no
frame to look at: it encodes its stretches as they come, by the frozen encoders
of the second, which costs less than a prior's update and keeps nothing on the
disk. The losses are methods and can be called alone.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from einops import rearrange, repeat
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray
from ml_collections import ConfigDict

from speak_jax.losses import (
  adversarial,
  disentangle,
  perceptual,
  prior,
  sync,
)
from speak_jax.models import thpad as nets
from speak_jax.models.discriminator import Discriminator
from speak_jax.models.generator import Drawing
from speak_jax.models.thpad import Prior, Senses, Space
from speak_jax.models.vgg import Vgg
from speak_jax.nn import diffusion, lip_mel, whitening
from speak_jax.nn.diffusion import Given
from speak_jax.nn.norm import unit
from speak_jax.nn.pixels import as_audio, as_bytes, as_frames
from speak_jax.stages import (
  base,
  batch_shapes,
  gan,
  init,
  optimizers,
  picture_terms,
  rules,
)
from speak_jax.stages.base import (
  Group,
  Groups,
  LossOut,
  Phase,
  Row,
  Sampler,
  Stage,
  Terms,
  Training,
)

LIP, SPACE, PRIOR = "thpad_lip", "thpad_space", "thpad_prior"  # the stages
# The groups: E_v with MLP_cl and E_a; all else that draws; P.
SENSES, DRAWS, MOVES = "thpad_senses", "thpad_draws", "thpad_moves"
SIDE = 64  # px of a sheet's picture of who is like whom
SAMPLES = 2  # of the prior, on a sheet


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
    return init.split_kinds({SENSES: _senses_group(self, seed, earlier)})

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
      _contrast_terms(sensed, settings), self.weights
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
      SENSES: _senses_group(self, seed, earlier),
      DRAWS: _draws_group(self, seed, earlier),
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
    true = as_frames(_every(batch.frames, self.config[SPACE].every))
    real = gan.Shown(_flat(true), _identity(batch, true.shape[1]))
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
      _flat(as_frames(_every(batch.frames, settings.every))),
      _flat(_every(batch.landmarks, settings.every)),
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
      **_contrast_terms(sensed, self.config[SPACE]),
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


@dataclasses.dataclass(frozen=True, eq=False)
class PriorLosses:
  """The loss of the third stage and what it needs.

  Attributes:
    config: The run's.
    senses: E_v with MLP_cl, and E_a; frozen.
    space: All else that draws; frozen.
    net: P.
    weights: {term: weight} as used.
    notes: What is to be said of them, for the log.
  """

  config: ConfigDict
  senses: Senses
  space: Space
  net: Prior
  weights: Mapping[str, float]
  notes: tuple[str, ...] = ()

  @classmethod
  def of(cls, config: ConfigDict) -> "PriorLosses":
    """Builds it from a run's config.

    Raises:
      ValueError: windows of which nothing is new, or whose new frames are no
        whole number of steps of the spectrum; too many predictions.
    """
    settings: Any = config[PRIOR]
    new = settings.frames - settings.given
    if new < 1 or new % 5:
      raise ValueError(
        f"config.{PRIOR}: {settings.frames} frames less {settings.given} given"
        " ones are no multiple of 5"
      )
    diffusion.sampler_steps(settings.noise_steps, settings.count)
    weights, notes = base.resolve_weights(settings.weights.to_dict(), {})
    return cls(
      config,
      senses(config),
      space(config),
      Prior(**config.model.prior, dtype=base.dtype(config)),
      weights,
      notes,
    )

  @property
  def settings(self) -> Any:
    """config.thpad_prior."""
    return self.config[PRIOR]

  @property
  def width(self) -> int:
    """Numbers of f_nl."""
    return self.space.head + self.space.face

  def init(
    self, seed: int, earlier: Mapping[str, Group]
  ) -> tuple[Groups, Groups]:
    """Takes the encoders, makes group "thpad_moves"; see `Stage.init`."""
    group = earlier.get(MOVES)
    if group is None:
      shape, frames = batch_shapes.float32, self.settings.frames
      params, collections = init.initialise(
        self.net,
        seed,
        MOVES,
        shape(2, frames, self.width),
        jax.ShapeDtypeStruct((2, frames), jnp.bool_),
        shape(2, frames, self.config.model.codes.contrast),
        jax.ShapeDtypeStruct((2,), jnp.bool_),
        jax.ShapeDtypeStruct((2,), jnp.int32),
      )
      group = params, {**collections, "white": whitening.fresh(self.width)}
    groups = {
      SENSES: _senses_group(self, seed, earlier),
      DRAWS: _draws_group(self, seed, earlier),
      MOVES: group,
    }
    return init.split_kinds(groups)

  def encode(
    self, params: Groups, collections: Groups, batch: batch_shapes.Stretch
  ) -> tuple[Float[Array, "b t m"], Float[Array, "b t d"]]:
    """f_nl and f_a of every frame, of which nothing is learned here."""
    params = jax.lax.stop_gradient(params)
    sensed, _ = sense(
      self.config, self.senses, params, collections, batch, None, False
    )
    _, motion = base.apply(
      self.space, DRAWS, params, collections, sensed.seen, method="motion"
    )
    frames = batch.frames.shape[1]
    motion, sound = (
      rearrange(x, "(b t) d -> b t d", t=frames) for x in (motion, sensed.sound)
    )
    return motion, sound

  def fit(
    self,
    params: Groups,
    collections: Groups,
    batch: batch_shapes.Stretch,
    step: Int[Array, ""],
    key: PRNGKeyArray,
  ) -> LossOut:
    """L_a2nl + L_vel of codes from which some noise is to be taken."""
    del step
    settings = self.settings
    motion, sound = self.encode(params, collections, batch)
    white = whitening.update(collections[MOVES]["white"], motion)
    clean = whitening.whiten(white, motion)
    at, noise, given, told = jax.random.split(key, 4)
    examples, frames = clean.shape[:2]
    steps = jax.random.randint(at, (examples,), 0, settings.noise_steps)
    share = jnp.asarray(self.schedule)[steps]
    starts = jax.random.bernoulli(given, settings.given_share, (examples, 1))
    known = starts & (jnp.arange(frames) < settings.given)
    noisy = diffusion.noised(
      clean, jax.random.normal(noise, clean.shape), share
    )
    pred = self.predict(
      params,
      collections,
      diffusion.put_back(noisy, Given(clean, known)),
      known,
      sound,
      jax.random.bernoulli(told, settings.told_share, (examples,)),
      steps,
    )
    loss, means = base.weighted_sum(
      {
        "clean": lambda: prior.clean_squared(pred, clean, known),
        "velocity": lambda: prior.velocity_squared(pred, clean, known),
      },
      self.weights,
    )
    means |= {"std/motion": base.code_std(motion)}
    return LossOut(loss, means, {MOVES: {"white": white}})

  @property
  def schedule(self) -> Any:
    """Share of the signal that is left after each step of noise."""
    return diffusion.cosine_schedule(self.settings.noise_steps)

  def predict(
    self,
    params: Groups,
    collections: Groups,
    noisy: Float[Array, "b t m"],
    known: Bool[Array, "b t"],
    sound: Float[Array, "b t d"],
    told: Bool[Array, "b"],
    steps: Int[Array, "b"],
  ) -> Float[Array, "b t m"]:
    """Whitened codes without their noise; arguments as `Prior`'s."""
    return base.apply(
      self.net, MOVES, params, collections, noisy, known, sound, told, steps
    )

  def draw(
    self,
    params: Groups,
    collections: Groups,
    sound: Float[Array, "b t d"],
    given: Given,
    noise: Float[Array, "b t m"],
  ) -> Float[Array, "b t m"]:
    """Draws f_nl of a window.

    Args:
      params: Group "thpad_moves".
      collections: Of the same group.
      sound: f_a of the window's frames.
      given: f_nl of those that are known.
      noise: What is random in it.
    """
    guidance = self.settings.guidance
    white = collections[MOVES]["white"]
    given = given._replace(frames=whitening.whiten(white, given.frames))
    told = jnp.arange(2) < 1
    told = jnp.repeat(told, len(sound))
    sounds, known = (jnp.concatenate([x, x]) for x in (sound, given.known))

    def predict(x: Array, step: Array) -> Array:
      steps = jnp.full(len(sounds), step)
      both = jnp.concatenate([x, x])
      pair = self.predict(params, collections, both, known, sounds, told, steps)
      return diffusion.guided(pair[: len(x)], pair[len(x) :], guidance)

    drawn = diffusion.ddim(
      predict, noise, given, self.schedule, self.settings.count
    )
    return whitening.unwhiten(white, drawn)

  def sample_grids(
    self, params: Groups, collections: Groups, batch: batch_shapes.Stretch
  ) -> dict[str, Array]:
    """Per clip: true frames, those of the true f_nl, and of two that are drawn.

    Every third frame of a window of which none is given.
    """
    motion, sound = self.encode(params, collections, batch)
    unknown = Given(jnp.zeros_like(motion), jnp.zeros(motion.shape[:2], bool))
    moved = [motion] + [
      self.draw(
        params,
        collections,
        sound,
        unknown,
        jax.random.normal(jax.random.key(i), motion.shape),
      )
      for i in range(SAMPLES)
    ]
    every = 3
    moved, sound = [x[:, ::every] for x in moved], sound[:, ::every]
    frames = sound.shape[1]
    features = self._run(
      "portrait",
      params,
      collections,
      as_frames(batch.others[:, 0]),
      batch.other_landmarks[:, 0],
    )
    features = jax.tree.map(lambda x: jnp.repeat(x, frames, 0), features)
    lips = self._run("speak", params, collections, _flat(sound))
    rows = [
      self._run("draw", params, collections, features, _flat(x), lips).frames
      for x in moved
    ]
    rows = [rearrange(x, "(b t) ... -> b t ...", t=frames) for x in rows]
    rows = [as_frames(batch.frames[:, ::every]), *rows]
    return {
      "frames": as_bytes(
        rearrange(jnp.stack(rows, 1), "b r t ... -> (b r) t ...")
      )
    }

  def _run(
    self, method: str, params: Groups, collections: Groups, *inputs: Any
  ) -> Any:
    return base.apply(
      self.space, DRAWS, params, collections, *inputs, method=method
    )


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
    _flat(as_frames(_every(batch.frames, every))),
    _flat(_every(spectra, every)),
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


def _contrast_terms(sensed: Sensed, settings: Any) -> Terms:
  """L_cl, and the same within each clip.

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
    _encoder(config), model.codes.contrast, model.hears, base.dtype(config)
  )


def space(config: ConfigDict) -> Space:
  """Builds all else that draws; it holds no parameters."""
  model = config.model
  codes = model.codes
  return Space(
    image=model.image,
    encoder=_encoder(config),
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


def _encoder(config: ConfigDict) -> dict[str, Any]:
  encoder = config.model.encoder
  return {
    **encoder,
    "stages": tuple(encoder.stages),
    "remat": config.train.remat,
  }


def _senses_group(
  losses: LipLosses | SpaceLosses | PriorLosses,
  seed: int,
  earlier: Mapping[str, Group],
) -> Group:
  image, shape = losses.config.model.image, batch_shapes.float32
  return earlier.get(SENSES) or init.initialise(
    losses.senses,
    seed,
    SENSES,
    shape(2, image, image, 3),
    shape(2, lip_mel.BANDS, nets.STEPS),
  )


def _draws_group(
  losses: SpaceLosses | PriorLosses, seed: int, earlier: Mapping[str, Group]
) -> Group:
  if DRAWS in earlier:
    return earlier[DRAWS]
  image, shape = losses.config.model.image, batch_shapes.float32
  picture = shape(2, image, image, 3)
  sensed, _ = jax.eval_shape(
    losses.senses.init_with_output,
    jax.random.key(0),
    picture,
    shape(2, lip_mel.BANDS, nets.STEPS),
  )
  seen, _, sound = sensed
  return init.initialise(
    losses.space, seed, DRAWS, picture, shape(2, 68, 2), seen, sound
  )


def _every(x: Array, every: int) -> Array:
  """Frames that lie so many from each other."""
  return x[:, ::every]


def _flat(x: Array) -> Array:
  """Clips' frames as single ones."""
  return x.reshape(-1, *x.shape[2:])


def _identity(
  batch: batch_shapes.Stretch, frames: int
) -> Float[Array, "n h w 3"]:
  """A clip's identity picture for each of its frames."""
  return jnp.repeat(as_frames(batch.others[:, 0]), frames, 0)


def _span(settings: Any) -> int:
  """Frames from the first that counts to the last."""
  return (settings.frames - 1) * settings.every + 1


def make_lip(config: ConfigDict) -> Stage:
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
    batch=_batch(config, settings.batch, _span(settings)),
    microbatch=settings.microbatch,
    scaling=base.scaling(config),
    sample_grids=losses.sample_grids,
    weights=losses.weights,
    notes=losses.notes,
  )


def make_space(config: ConfigDict) -> Stage:
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
    batch=_batch(config, settings.batch, _span(settings)),
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


def make_prior(config: ConfigDict) -> Stage:
  """Makes the stage that trains group "thpad_moves".

  Raises:
    ValueError: see `PriorLosses.of`.
  """
  settings, losses = config[PRIOR], PriorLosses.of(config)
  return Stage(
    name=PRIOR,
    init=losses.init,
    pretrained_from={SENSES: SPACE, DRAWS: SPACE},
    optims={"fit": optimizers.adam((MOVES,), settings.optim, settings.steps)},
    phases=(Phase("fit", "fit", losses.fit),),
    ema_groups=(MOVES,),
    ema_decay=settings.optim.ema,
    batch=_batch(config, settings.batch, settings.frames),
    microbatch=settings.microbatch,
    scaling=base.scaling(config),
    sample_grids=losses.sample_grids,
    weights=losses.weights,
    notes=losses.notes,
  )


def _batch(config: ConfigDict, n: int, frames: int) -> batch_shapes.Stretch:
  """The shapes of n stretches of so many frames."""
  return batch_shapes.stretches_of(config, n, frames, config.model.context, 1)


def _sampler(config: ConfigDict, frames: int) -> Sampler:
  """Stretches of so many frames, and any other frame of the clip."""
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


TRAINING = Training(
  stages={
    LIP: Row(
      make_lip, (SENSES,), lambda config: _sampler(config, _span(config[LIP]))
    ),
    SPACE: Row(
      make_space,
      (SENSES, DRAWS),
      lambda config: _sampler(config, _span(config[SPACE])),
    ),
    PRIOR: Row(
      make_prior,
      (SENSES, DRAWS, MOVES),
      lambda config: _sampler(config, config[PRIOR].frames),
    ),
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
