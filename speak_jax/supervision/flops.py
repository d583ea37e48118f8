"""Counts the products of a function without running it, and what they use.

XLA's own count leaves out the taps of a convolution that meet its padding, so
it depends on who pads; this one does not.
"""

import math
import resource
from collections.abc import Iterator
from typing import Any

import jax
from jax.extend import core

# Dense bfloat16 FLOP/s of a device, from the makers' data sheets; the first
# that a device's name begins with counts.
PEAK = {
  "NVIDIA H100 PCIe": 756e12,
  "NVIDIA H100": 989e12,
  "NVIDIA H200": 989e12,
  "NVIDIA B200": 2250e12,
  "NVIDIA A100": 312e12,
  "NVIDIA L40S": 362e12,
  "NVIDIA L4": 121e12,
  "TPU v6 lite": 918e12,
  "TPU v5 lite": 197e12,
  "TPU v5": 459e12,
  "TPU v4": 275e12,
}


def equations(jaxpr: core.Jaxpr) -> Iterator[Any]:
  """Every equation, also those inside calls, loops and branches."""
  for eqn in jaxpr.eqns:
    yield eqn
    for inner in inside(eqn):
      yield from equations(inner)


def inside(eqn: Any) -> list[core.Jaxpr]:
  """The programs that an equation calls."""
  programs = []
  for value in eqn.params.values():
    for item in value if isinstance(value, tuple | list) else (value,):
      program = getattr(item, "jaxpr", item)  # without its constants
      if isinstance(program, core.Jaxpr):
        programs.append(program)
  return programs


def count(jaxpr: core.Jaxpr) -> int:
  """Multiply-accumulates of convolutions and matrix products.

  Args:
    jaxpr: A traced function; inside a shard_map, that of one device.

  Raises:
    ValueError: a loop or a branch, whose length or choice is not known.
  """
  products = 0
  for eqn in jaxpr.eqns:
    name = eqn.primitive.name
    if name == "conv_general_dilated":
      products += _conv(eqn)
    elif name == "dot_general":
      ((contracted, _), _) = eqn.params["dimension_numbers"]
      left: Any = eqn.invars[0].aval
      output: Any = eqn.outvars[0].aval
      products += output.size * math.prod(left.shape[i] for i in contracted)
    else:
      within = sum(map(count, inside(eqn)))
      if name == "scan":
        within *= eqn.params["length"]
      elif within and name in ("while", "cond"):
        raise ValueError(f"products inside {name} cannot be counted")
      products += within
  return products


def _conv(eqn: Any) -> int:
  """Products of a convolution; places that dilation fills are none."""
  kernel: Any = eqn.invars[1].aval
  outputs = kernel.shape[eqn.params["dimension_numbers"].rhs_spec[0]]
  taps = kernel.size // outputs  # of one output channel, groups included
  spread = math.prod(eqn.params["lhs_dilation"])
  return eqn.outvars[0].aval.size * taps // spread


def peak() -> float | None:
  """FLOP/s that all devices together promise; None: not in the table."""
  kind = jax.devices()[0].device_kind
  rates = [rate for name, rate in PEAK.items() if kind.startswith(name)]
  return rates[0] * jax.device_count() if rates else None


def memory() -> dict[str, float]:
  """Most memory used so far, by this process and its fullest device, in GB."""
  figures = {
    # Linux counts in KiB.
    "host_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
  }
  stats = [device.memory_stats() for device in jax.local_devices()]
  name = "peak_bytes_in_use"
  used = [x[name] for x in stats if x and name in x]
  return figures | ({"device_gb": max(used) / 1e9} if used else {})
