"""How fast each convolution trains: the forward pass and both gradients.

  python -m tests.benchmarks.layers [--preset base256]

For every distinct convolution of the identity encoder, the generator and the
discriminator prints GFLOP/s of the forward pass in one thread, and the rate of
each gradient as a share of it; for the discriminator also that of R1, the
weight gradient of the input gradient. Only the forward pass's products are
counted, two FLOP each, and for R1 twice, as it makes two passes.
"""

import argparse
import os
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from configs import speak as configs
from speak_jax.models.build import build
from speak_jax.models.discriminator import PatchConv
from speak_jax.models.irfd import Codes
from speak_jax.nn.conv import Conv
from speak_jax.nn.modulation import StyleConv
from speak_jax.supervision import flops

# Shares of the forward's rate: no weight gradient below the first, and none
# wished below the second.
FLOOR, WISH = 1 / 8, 1 / 3


class Layer(NamedTuple):
  """A convolution, and what it is called with."""

  name: str
  module: nn.Module
  args: tuple[Any, ...]  # arrays as jax.ShapeDtypeStructs


class Row(NamedTuple):
  """One line of the table."""

  name: str
  shape: str
  gflop: float
  rate: float  # of the forward pass, GFLOP/s
  to_input: float  # shares of that rate
  to_weights: float
  r1: float | None


def collect(model: ConfigDict, batch: int) -> list[Layer]:
  """Every distinct convolution of the three networks, in order."""
  networks = build(model)

  def shape(*sizes: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct((batch, *sizes), jnp.float32)

  picture = shape(model.image, model.image, 3)
  found: dict[Any, Layer] = {}

  def run(name: str, module: nn.Module, *args: Any, method: Any = None) -> Any:
    def intercept(call, args, kwargs, context):
      if isinstance(context.module, Conv | StyleConv | PatchConv):
        given = tuple(
          jax.ShapeDtypeStruct(x.shape, x.dtype) if hasattr(x, "shape") else x
          for x in args
        )
        layer = context.module.clone(parent=None, name=None)
        path = ".".join(context.module.path)
        found.setdefault((layer, given), Layer(f"{name} {path}", layer, given))
      return call(*args, **kwargs)

    def init(*args: Any) -> Any:
      with nn.intercept_methods(intercept):
        return module.init_with_output(jax.random.key(0), *args, method=method)

    return jax.eval_shape(init, *args)[0]

  encoders = networks.encoders
  portrait = run(
    "encoder", encoders, picture, shape(68, 2), method=encoders.portrait
  )
  codes = model.codes
  run(
    "generator",
    networks.decoder,
    portrait,
    Codes(shape(codes.pose), shape(codes.emotion), shape(codes.mouth)),
  )
  run("discriminator", networks.discriminator, picture, picture)
  return list(found.values())


def measure(layer: Layer, seconds: float) -> Row:
  """Times one layer; a fresh one, its arrays random."""
  rng = np.random.default_rng(0)
  arrays = [
    jnp.asarray(rng.normal(size=arg.shape), arg.dtype)
    for arg in layer.args
    if hasattr(arg, "shape")
  ]
  others = layer.args[len(arrays) :]
  x, *context = arrays
  variables = jax.jit(
    lambda *arrays: layer.module.init(jax.random.key(1), *arrays, *others)
  )(*arrays)
  weights = variables.pop("params")

  def forward(weights: Any, x: jax.Array) -> Any:
    return layer.module.apply(
      {"params": weights, **variables}, x, *context, *others
    )

  def penalty(weights: Any, x: jax.Array, slope: jax.Array) -> jax.Array:
    back = jax.vjp(lambda x: forward(weights, x), x)[1](slope)[0]
    return (back**2).sum()

  # Gradients are timed by themselves: what they need is there already.
  y, pull = jax.jit(lambda *args: jax.vjp(forward, *args))(weights, x)
  slope = jnp.asarray(rng.normal(size=y.shape), y.dtype)
  to_weights = jax.jit(lambda pull, slope: pull(slope)[0]["kernel"])
  to_input = jax.jit(lambda pull, slope: pull(slope)[1])
  gflop = 2 * flops.count(jax.make_jaxpr(forward)(weights, x).jaxpr) / 1e9
  rate = gflop / least(seconds, jax.jit(forward), weights, x)
  r1 = None
  if isinstance(layer.module, PatchConv):
    taken = least(seconds, jax.jit(jax.grad(penalty)), weights, x, slope)
    r1 = 2 * gflop / taken / rate
  size = weights["kernel"].shape
  return Row(
    name=layer.name,
    shape=f"{size[0]}x{size[1]} {size[2]}>{size[3]} @{x.shape[1]}",
    gflop=gflop,
    rate=rate,
    to_input=gflop / least(seconds, to_input, pull, slope) / rate,
    to_weights=gflop / least(seconds, to_weights, pull, slope) / rate,
    r1=r1,
  )


def least(seconds: float, work: Callable, *args: Any) -> float:
  """Seconds of the shortest of at least three calls after the first.

  On the CPU its own time counts, as other programs run on the same cores.
  """
  clock = time.perf_counter
  if jax.default_backend() == "cpu":
    clock = time.process_time
  jax.block_until_ready(work(*args))
  taken: list[float] = []
  while len(taken) < 3 or sum(taken) < seconds:
    begin = clock()
    jax.block_until_ready(work(*args))
    taken.append(clock() - begin)
  return max(min(taken), 1e-9)


def show(model: ConfigDict, batch: int, seconds: float) -> list[Row]:
  """Prints the table, row by row, and returns it."""
  if hasattr(os, "sched_setaffinity"):
    # As many threads as processors: JAX counts them when it starts.
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
  print(f"batch {batch}; gradients as shares of the forward pass's rate")
  head = f"{'layer':42}{'kernel':24}{'GFLOP':>7}{'GFLOP/s':>9}"
  print(head + f"{'input':>7}{'weights':>9}{'R1':>7}")
  rows = []
  for layer in collect(model, batch):
    row = measure(layer, seconds)
    rows.append(row)
    r1 = "" if row.r1 is None else f"{row.r1:.2f}"
    low = row.to_weights < WISH
    print(
      f"{row.name:42}{row.shape:24}{row.gflop:7.3f}{row.rate:9.1f}"
      f"{row.to_input:7.2f}{row.to_weights:9.2f}{r1:>7}"
      f"{'  below 1/8' if row.to_weights < FLOOR else '  low' if low else ''}",
      flush=True,
    )
  worst = min(rows, key=lambda row: row.to_weights)
  low = sum(row.to_weights < WISH for row in rows)
  print(f"slowest weight gradient: {worst.to_weights:.2f} ({worst.name})")
  print(f"{low} of {len(rows)} below 1/3, ", end="")
  print(f"{sum(row.to_weights < FLOOR for row in rows)} below 1/8")
  return rows


def main() -> None:
  """Reads the flag."""
  parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.layers")
  parser.add_argument("--preset", default="base256")
  model = configs.get_config(parser.parse_args().preset).model
  show(model, batch=1, seconds=0.05)


if __name__ == "__main__":
  main()
