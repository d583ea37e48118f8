"""The discriminator's side of a stage, which IRFD and SPEAK share (Eq. 10)."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from speak_jax.losses import adversarial
from speak_jax.models.discriminator import Discriminator, Judgement
from speak_jax.stages import base, batch_shapes, init, optimizers
from speak_jax.stages.base import Group, Groups, LossFn, LossOut, Phase, Stage

GROUP = "discriminator"


class Shown(NamedTuple):
  """Frames that the discriminator sees, each beside an identity picture."""

  frames: Float[Array, "n h w 3"]
  identity: Float[Array, "n h w 3"]


@dataclasses.dataclass(frozen=True, eq=False)
class Adversary:
  """A discriminator, its losses and its optimizer.

  Attributes:
    net: The network.
    settings: config.irfd or config.speak: steps, r1, r1_every, gan_ramp,
      gan_lead, and `discriminator`, its optimizer's.
  """

  net: Discriminator
  settings: Any

  def initialise(self, seed: int, side: int) -> Group:
    """Makes its fresh group, for frames of a side in pixels."""
    frame = batch_shapes.float32(2, side, side, 3)
    return init.initialise(self.net, seed, GROUP, frame, frame)

  def judge(
    self, params: Groups, collections: Groups, shown: Shown
  ) -> Judgement:
    """Judges frames in [-1, 1]."""
    return base.apply(self.net, GROUP, params, collections, *shown)

  def loss(
    self, params: Groups, collections: Groups, real: Shown, fake: Shown
  ) -> LossOut:
    """Eq. 10's max over D; no gradient reaches the fake frames."""
    fake = fake._replace(frames=jax.lax.stop_gradient(fake.frames))
    loss = adversarial.discriminator(
      self.judge(params, collections, real).logits,
      self.judge(params, collections, fake).logits,
    ).mean()
    return LossOut(loss, {}, {})

  def r1_loss(
    self, params: Groups, collections: Groups, real: Shown, key: PRNGKeyArray
  ) -> LossOut:
    """R1 of real frames, in float32, weighed for a lazy phase.

    Source: StyleGAN2: gamma / 2, made up for the steps that are left out.
    """
    wide = dataclasses.replace(self, net=self.net.clone(dtype=jnp.float32))
    penalty = adversarial.r1(
      lambda frames: (
        wide.judge(params, collections, real._replace(frames=frames)).logits
      ),
      real.frames,
      key,
    ).mean()
    weight = self.settings.r1_every * self.settings.r1 / 2
    return LossOut(weight * penalty, {"r1": penalty}, {})

  def join(self, stage: Stage, loss: LossFn, r1_loss: LossFn) -> Stage:
    """Adds its optimizer and its phases, before the others, to a stage.

    It begins `gan_lead` steps before the generator hears it: one that has long
    been trained against a generator that does not answer is too sure of
    itself. Its schedule spans the updates of both phases.

    Args:
      stage: Without a discriminator.
      loss: Of real and generated frames, at every step.
      r1_loss: The penalty, times its weight, at every `r1_every`-th step.
    """
    settings = self.settings
    start = max(settings.gan_ramp[0] - settings.gan_lead, 0)
    steps = max(settings.steps - start, 1)
    updates = steps + -(-steps // settings.r1_every)
    optim = optimizers.adam((GROUP,), settings.discriminator, updates)
    phases = (
      Phase("disc", "disc", loss, start=start),
      Phase("disc_r1", "disc", r1_loss, settings.r1_every, start=start),
    )
    return stage._replace(
      optims={**stage.optims, "disc": optim}, phases=(*phases, *stage.phases)
    )
