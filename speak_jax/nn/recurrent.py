"""Recurrences over time: LSTM, and a GRU whose products are convolutions.

What an input says of the gates is one product for all steps, before the loop
over time, which only has what the state says. Source: the equations of
PyTorch's `nn.LSTM` and of its GRU, whose gates stand in its order.
"""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from einops import rearrange
from jax import Array, lax
from jax.typing import DTypeLike
from jaxtyping import Float

from speak_jax.nn.conv import add_bias, conv


def within(bound: float) -> Callable:
  """An initialiser: evenly in [-bound, bound]."""
  return lambda key, shape, dtype=jnp.float32: jax.random.uniform(
    key, shape, dtype, -bound, bound
  )


class Lstm(nn.Module):
  """Layers of long short-term memory, one on top of the other.

  Attributes:
    width: Of every layer's state.
    layers: How many.
    dtype: Of the products; states are float32.
  """

  width: int
  layers: int
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(
    self,
    x: Float[Array, "b t c"],
    state: Float[Array, "l 2 b d"] | None = None,
  ) -> tuple[Float[Array, "b t d"], Float[Array, "l 2 b d"]]:
    """The last layer's outputs, float32, and all states after the last step.

    Parameters of layer i: `input{i}` (c, 4 d), `recurrent{i}` (d, 4 d) and
    `bias{i}` (4 d), gates in the order input, forget, cell, output.

    Args:
      x: Steps.
      state: Output and cell of each layer before the first step; None: zeros.
    """
    if state is None:
      state = jnp.zeros((self.layers, 2, len(x), self.width))
    init, gates = within(self.width**-0.5), 4 * self.width
    after = []
    for i in range(self.layers):
      inward = self.param(f"input{i}", init, (x.shape[-1], gates))
      back = self.param(f"recurrent{i}", init, (self.width, gates))
      bias = self.param(f"bias{i}", init, (gates,))
      heard = x.astype(self.dtype) @ inward.astype(self.dtype)
      x, last = _lstm(
        add_bias(heard.astype(jnp.float32), bias),
        back.astype(self.dtype),
        state[i],
      )
      after.append(last)
    return x, jnp.stack(after)


def _lstm(
  heard: Float[Array, "b t g"],
  back: Float[Array, "d g"],
  state: Float[Array, "2 b d"],
) -> tuple[Float[Array, "b t d"], Float[Array, "2 b d"]]:
  """One layer over time, given what its inputs say of the gates."""

  def step(state: Array, heard: Array) -> tuple[Array, Array]:
    output, cell = state
    recalled = (output.astype(back.dtype) @ back).astype(jnp.float32)
    take, keep, new, show = jnp.split(heard + recalled, 4, -1)
    cell = nn.sigmoid(keep) * cell + nn.sigmoid(take) * jnp.tanh(new)
    output = nn.sigmoid(show) * jnp.tanh(cell)
    return jnp.stack([output, cell]), output

  last, outputs = lax.scan(step, state, rearrange(heard, "b t g -> t b g"))
  return rearrange(outputs, "t b d -> b t d"), last


class ConvGru(nn.Module):
  """A gated recurrent unit of maps: 3x3 convolutions of dilation 2.

  Attributes:
    features: Channels of its state.
    recurrent: Whether a step sees the one before it; without, each is the
      first one.
    dtype: Of the convolutions; states are float32.
  """

  features: int
  recurrent: bool = True
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(
    self,
    x: Float[Array, "b t h w c"],
    state: Float[Array, "b h w d"] | None = None,
  ) -> tuple[Float[Array, "b t h w d"], Float[Array, "b h w d"]]:
    """Its states after each step, float32, and that after the last.

    Parameters, alike whether it is recurrent or not: `input` (3, 3, c, 3 d),
    `recurrent` (3, 3, d, 3 d) and a bias of each, `input_bias` and
    `recurrent_bias` (3 d); gates in the order reset, keep, new. The reset acts
    on what the convolution has made of the state and its bias.

    Args:
      x: Steps; h and w are even.
      state: Before the first step; None: zeros, which it always is where it is
        not recurrent.
    """
    steps, gates = x.shape[1], 3 * self.features
    init = within(self.features**-0.5)
    inward = self.param("input", init, (3, 3, x.shape[-1], gates))
    back = self.param("recurrent", init, (3, 3, self.features, gates))
    seen_bias = self.param("input_bias", init, (gates,))
    back_bias = self.param("recurrent_bias", init, (gates,))
    x = rearrange(x, "b t h w c -> (b t) h w c").astype(self.dtype)
    seen = dilated(x, inward.astype(self.dtype)).astype(jnp.float32)
    seen = rearrange(seen + seen_bias, "(b t) h w g -> b t h w g", t=steps)
    if not self.recurrent:
      states = _gated(seen, back_bias, jnp.zeros(()))
      return states, states[:, -1]
    if state is None:
      state = jnp.zeros((len(seen), *seen.shape[2:4], self.features))
    back = back.astype(self.dtype)

    def step(state: Array, seen: Array) -> tuple[Array, Array]:
      recalled = dilated(state.astype(self.dtype), back).astype(jnp.float32)
      state = _gated(seen, recalled + back_bias, state)
      return state, state

    state, states = lax.scan(
      step, state, rearrange(seen, "b t h w g -> t b h w g")
    )
    return rearrange(states, "t b h w d -> b t h w d"), state


def _gated(seen: Array, recalled: Array, state: Array) -> Array:
  """The next state of a GRU."""
  seen_reset, seen_keep, seen_new = jnp.split(seen, 3, -1)
  reset, keep, new = jnp.split(recalled, 3, -1)
  new = jnp.tanh(seen_new + nn.sigmoid(seen_reset + reset) * new)
  return new + nn.sigmoid(seen_keep + keep) * (state - new)


def dilated(
  x: Float[Array, "b h w c"], kernel: Float[Array, "3 3 c d"]
) -> Float[Array, "b h w d"]:
  """A 3x3 convolution of dilation 2, h and w even: of every second place.

  Plain convolutions of the four pictures that lie between each other: their
  weight gradients are as fast as any.
  """
  apart = rearrange(x, "b (h p) (w q) c -> (p q b) h w c", p=2, q=2)
  return rearrange(
    conv(apart, kernel), "(p q b) h w d -> b (h p) (w q) d", p=2, q=2
  )
