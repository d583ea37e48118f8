"""Both sides as functions without arguments: a forward pass, a training step.

A training step is the forward pass in training, the mean square of what the
outputs are away from targets, its gradient, and Adam. Nothing is copied between
the two: each has its arrays where and as it likes them best.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch
from torch.nn import functional as F

from tests.benchmarks.peers.layers import load
from tests.benchmarks.peers.networks import Peer

RATE = 1e-4
# How PyTorch keeps pictures: channel after channel, or pixel after pixel.
LAYOUTS = {
  "contiguous": torch.contiguous_format,
  "channels_last": torch.channels_last,
}
Work = Callable[[], Any]


def applied(
  peer: Peer, params: Any, others: Any, inputs: Any, key: Any
) -> tuple[tuple[Any, ...], Any]:
  """Our outputs in training, and the statistics after it."""
  return peer.net.apply(
    {"params": params, **others},
    *inputs,
    train=True,
    method=peer.call,
    mutable=["batch_stats"],
    rngs={"dropout": key},
  )


def ours_loss(
  peer: Peer, params: Any, others: Any, inputs: Any, targets: Any, key: Any
) -> tuple[jax.Array, Any]:
  """The loss, and the statistics after it."""
  outputs, after = applied(peer, params, others, inputs, key)
  pairs = zip(outputs, targets, strict=True)
  return sum((jnp.mean((x - y) ** 2) for x, y in pairs), start=0.0), after


def theirs_loss(outputs: Any, targets: Any) -> torch.Tensor:
  """The same of the twin's outputs."""
  pairs = zip(outputs, targets, strict=True)
  return torch.stack([F.mse_loss(x, y) for x, y in pairs]).sum()


def tensors(
  peer: Peer, inputs: tuple[np.ndarray, ...], layout: str = "contiguous"
) -> list[torch.Tensor]:
  """Inputs as the twin takes them."""
  found = []
  for one, array in zip(peer.inputs, inputs, strict=True):
    x = torch.from_numpy(array)
    if one.picture:
      x = x.movedim(-1, 1).contiguous(memory_format=LAYOUTS[layout])
    found.append(x)
  return found


def ours_forward(
  peer: Peer, variables: Any, inputs: tuple[np.ndarray, ...]
) -> Work:
  """Our forward pass, compiled."""
  run = jax.jit(
    lambda variables, inputs: peer.net.apply(
      variables, *inputs, train=False, method=peer.call
    )
  )
  held = jax.device_put((variables, inputs))
  return lambda: jax.block_until_ready(run(*held))


def ours_step(
  peer: Peer,
  variables: Any,
  inputs: tuple[np.ndarray, ...],
  targets: tuple[np.ndarray, ...],
) -> Work:
  """Our training step, compiled; its state is given away and comes back."""
  adam = optax.adam(RATE)
  params, others = variables["params"], dict(variables)
  others.pop("params")

  @functools.partial(jax.jit, donate_argnums=0)
  def run(state: Any, inputs: Any, targets: Any) -> Any:
    params, others, moments, key = state
    now, key = jax.random.split(key)
    slope, after = jax.grad(
      lambda params: ours_loss(peer, params, others, inputs, targets, now),
      has_aux=True,
    )(params)
    change, moments = adam.update(slope, moments, params)
    return (
      optax.apply_updates(params, change),
      {**others, **after},
      moments,
      key,
    )

  state = jax.jit(
    lambda params, others, key: (params, others, adam.init(params), key)
  )(params, others, jax.random.key(0))
  held = jax.device_put((inputs, targets))

  def work() -> None:
    nonlocal state
    state = jax.block_until_ready(run(state, *held))

  return work


def twin_of(peer: Peer, variables: Any, layout: str) -> torch.nn.Module:
  """The twin with our weights."""
  twin = peer.twin()
  load(twin, variables)
  return twin.to(memory_format=LAYOUTS[layout])


def theirs_forward(
  peer: Peer, variables: Any, inputs: tuple[np.ndarray, ...], layout: str
) -> Work:
  """The twin's forward pass."""
  twin = twin_of(peer, variables, layout).eval()
  held = tensors(peer, inputs, layout)

  def work() -> Any:
    with torch.inference_mode():
      return twin(*held)

  return work


def theirs_step(
  peer: Peer,
  variables: Any,
  inputs: tuple[np.ndarray, ...],
  targets: tuple[np.ndarray, ...],
  layout: str,
) -> Work:
  """The twin's training step, by PyTorch's fused Adam."""
  twin = twin_of(peer, variables, layout).train()
  adam = torch.optim.Adam(twin.parameters(), RATE, fused=True)
  held = tensors(peer, inputs, layout)
  with torch.no_grad():  # as its outputs lie
    likes = [torch.empty_like(x) for x in twin(*held)]
  goals = [
    like.copy_(torch.from_numpy(y))
    for like, y in zip(likes, targets, strict=True)
  ]

  def work() -> None:
    adam.zero_grad()
    theirs_loss(twin(*held), goals).backward()
    adam.step()

  return work
