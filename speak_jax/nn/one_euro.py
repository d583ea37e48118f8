"""The One-Euro filter: smooth where a signal rests, prompt where it moves.

A low-pass of first order whose cut-off rises with the signal's own speed
(Casiez, Roussel and Vogel 2012). Over a clip it is a scan, whose state goes
from chunk to chunk.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

SPEED_CUTOFF_HZ = 1.0  # of the low-pass that the speed goes through


class OneEuro(NamedTuple):
  """How much is smoothed."""

  cutoff_hz: float  # at rest
  beta: float  # what a unit of speed adds to the cut-off
  scale: float = 1.0  # what the signal is multiplied by meanwhile
  rate_hz: float = 25.0  # of the signal


class State(NamedTuple):
  """What the filter knows of the frames before; scaled."""

  begun: Bool[Array, ""]
  last: Float[Array, "*n"]  # as it came in
  value: Float[Array, "*n"]  # as it went out
  speed: Float[Array, "*n"]  # a second, smoothed


def start(shape: tuple[int, ...]) -> State:
  """Before the first frame."""
  zeros = jnp.zeros(shape, jnp.float32)
  return State(jnp.zeros((), bool), zeros, zeros, zeros)


def smooth(
  signal: Float[Array, "t *n"], how: OneEuro, state: State
) -> tuple[Float[Array, "t *n"], State]:
  """Smooths frames that follow those of a state; the first of all stays.

  Args:
    signal: Any numbers, each filtered by itself.
    how: Settings.
    state: From `start`, or what came out for the frames before.

  Returns:
    The smoothed signal, float32, and the state after it.
  """

  def step(state: State, x: Array) -> tuple[State, Array]:
    speed = jnp.where(state.begun, (x - state.last) * how.rate_hz, 0.0)
    share = _share(SPEED_CUTOFF_HZ, how.rate_hz)
    speed = share * speed + (1 - share) * state.speed  # at first 0
    share = _share(how.cutoff_hz + how.beta * jnp.abs(speed), how.rate_hz)
    value = jnp.where(state.begun, share * x + (1 - share) * state.value, x)
    return State(jnp.ones((), bool), x, value, speed), value

  scaled = signal.astype(jnp.float32) * how.scale
  state, values = jax.lax.scan(step, state, scaled)
  return values / how.scale, state


def _share(cutoff_hz, rate_hz: float):
  """How much of a new value passes a low-pass of first order."""
  return 1 / (1 + rate_hz / (2 * jnp.pi * cutoff_hz))
