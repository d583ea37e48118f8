"""Counts the products of a function without running it.

XLA's own count leaves out the taps of a convolution that meet its padding, so
it depends on who pads; this one does not.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

import jax
from jax.extend import core


def equations(jaxpr: core.Jaxpr) -> Iterator[Any]:
  """Every equation, also those inside calls, loops and branches."""
  for eqn in jaxpr.eqns:
    yield eqn
    for inner in inside(eqn):
      yield from equations(inner)


def inside(eqn: Any) -> list[core.Jaxpr]:
  """The programs that an equation calls."""
  found = []
  for value in eqn.params.values():
    for item in value if isinstance(value, tuple | list) else (value,):
      if isinstance(item, core.ClosedJaxpr):
        found.append(item.jaxpr)
      elif isinstance(item, core.Jaxpr):
        found.append(item)
  return found


def macs(function: Callable, *args: Any) -> int:
  """Multiply-accumulates of convolutions and matrix products.

  Args:
    function: Of arrays.
    *args: Arrays or their shapes.

  Raises:
    ValueError: a loop or a branch, whose length or choice is not known.
  """
  return count(jax.make_jaxpr(function)(*args).jaxpr)


def count(jaxpr: core.Jaxpr) -> int:
  """The same of a traced function."""
  products = 0
  for eqn in jaxpr.eqns:
    name = eqn.primitive.name
    if name == "conv_general_dilated":
      products += _conv(eqn)
    elif name == "dot_general":
      ((contracted, _), _) = eqn.params["dimension_numbers"]
      depth = math.prod(eqn.invars[0].aval.shape[i] for i in contracted)
      products += eqn.outvars[0].aval.size * depth
    else:
      within = sum(map(count, inside(eqn)))
      if within and name in ("while", "scan", "cond"):
        raise ValueError(f"products inside {name} cannot be counted")
      products += within
  return products


def _conv(eqn: Any) -> int:
  """Products of a convolution; places that dilation fills are none."""
  kernel = eqn.invars[1].aval
  outputs = kernel.shape[eqn.params["dimension_numbers"].rhs_spec[0]]
  taps = kernel.size // outputs  # of one output channel, groups included
  spread = math.prod(eqn.params["lhs_dilation"])
  return eqn.outvars[0].aval.size * taps // spread
