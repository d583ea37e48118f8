"""The discriminator's side of a stage: its phases and its optimizer."""

from typing import Any

from speak_jax.stages import base
from speak_jax.stages.base import LossFn, Optim, Phase


def phases(settings: Any, loss: LossFn, r1: LossFn) -> list[Phase]:
  """Its update of every step, and the lazy one of its penalty.

  It begins `gan_lead` steps before the generator hears it: one that has long
  been trained against a generator that does not answer is too sure of itself.

  Args:
    settings: config.irfd or config.speak.
    loss: Of real and generated frames.
    r1: The penalty, times its weight.
  """
  begin = _begin(settings)
  return [
    Phase("disc", "disc", loss, start=begin),
    Phase("disc_r1", "disc", r1, settings.r1_every, start=begin),
  ]


def optim(settings: Any) -> Optim:
  """Adam, whose schedule spans the updates of both phases.

  Args:
    settings: config.irfd or config.speak.
  """
  steps = max(settings.steps - _begin(settings), 1)
  updates = steps + -(-steps // settings.r1_every)
  return base.adam(("discriminator",), settings.discriminator, updates)


def lazy(settings: Any) -> float:
  """What R1's value is multiplied by in a phase of every `r1_every` steps.

  Source: StyleGAN2: gamma / 2, made up for the steps that are left out.
  """
  return settings.r1_every * settings.r1 / 2


def _begin(settings: Any) -> int:
  """Step of the first update."""
  return max(settings.gan_ramp[0] - settings.gan_lead, 0)
