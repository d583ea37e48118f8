"""TH-PAD's third stage: what moves where there is no frame to look at.

It encodes its stretches as they come, by the frozen encoders of the second,
which costs less than a prior's update and keeps nothing on the disk. The losses
are methods and can be called alone.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from einops import rearrange
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray
from ml_collections import ConfigDict

from speak_jax.losses import prior
from speak_jax.models.thpad import Prior, Senses, Space
from speak_jax.nn import diffusion, whitening
from speak_jax.nn.diffusion import Given
from speak_jax.nn.pixels import as_bytes, as_frames
from speak_jax.stages import base, batch_shapes, init, optimizers
from speak_jax.stages.base import (
  Group,
  Groups,
  LossOut,
  Phase,
  Sampler,
  Stage,
)
from speak_jax.stages.thpad_lip import (
  SENSES,
  flat,
  sense,
  senses,
  senses_group,
  shapes,
  stretches,
)
from speak_jax.stages.thpad_space import DRAWS, SPACE, draws_group, space

PRIOR = "thpad_prior"  # the stage
MOVES = "thpad_moves"  # its group: P
SAMPLES = 2  # of the prior, on a sheet


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
      SENSES: senses_group(self.config, self.senses, seed, earlier),
      DRAWS: draws_group(self.config, self.senses, self.space, seed, earlier),
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
    lips = self._run("speak", params, collections, flat(sound))
    rows = [
      self._run("draw", params, collections, features, flat(x), lips).frames
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


def make(config: ConfigDict) -> Stage:
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
    batch=shapes(config, settings.batch, settings.frames),
    microbatch=settings.microbatch,
    scaling=base.scaling(config),
    sample_grids=losses.sample_grids,
    weights=losses.weights,
    notes=losses.notes,
  )


def sampler(config: ConfigDict) -> Sampler:
  """Says how batches are made: every frame of a stretch counts."""
  return stretches(config, config[PRIOR].frames)
