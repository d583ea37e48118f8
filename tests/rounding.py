"""What an accelerator makes of a function, and what its program is made of."""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend import core
from jax.interpreters import partial_eval

HIGHEST = jax.lax.Precision.HIGHEST
PRODUCTS = ("dot_general", "conv_general_dilated")


def rounded(function: Callable) -> Callable:
  """The function as a TPU runs it: products of bfloat16 factors.

  Those of precision HIGHEST are exact. For forward passes.
  """

  def run(*args: Any) -> Any:
    closed, out = jax.make_jaxpr(function, return_shape=True)(*args)
    flat = _run(closed, jax.tree.leaves(args))
    return jax.tree.unflatten(jax.tree.structure(out), flat)

  return run


def steps(function: Callable, *args: Any) -> Iterator[core.JaxprEqn]:
  """Every step that the results of a function need, innermost included."""
  jaxpr = jax.make_jaxpr(function)(*args).jaxpr
  jaxpr, _ = partial_eval.dce_jaxpr(jaxpr, [True] * len(jaxpr.outvars))
  return _steps(jaxpr)


def is_exact(step: core.JaxprEqn) -> bool:
  """Whether no factor of a product is rounded on any platform."""
  if step.primitive.name not in PRODUCTS:
    return True
  return step.params["precision"] == (HIGHEST, HIGHEST)


def _steps(jaxpr: Any) -> Iterator[core.JaxprEqn]:
  for step in jaxpr.eqns:
    yield step
    inner = _inner(step)
    if inner is not None:
      yield from _steps(getattr(inner, "jaxpr", inner))


def _inner(step: core.JaxprEqn) -> Any:
  """The program that a step calls, if it calls one."""
  for name in ("jaxpr", "call_jaxpr"):
    if name in step.params:
      return step.params[name]
  return None


def _run(closed: Any, args: list) -> list:
  values: dict[Any, Any] = {}

  def read(x):
    return x.val if isinstance(x, core.Literal) else values[x]

  jaxpr = closed.jaxpr
  values.update(zip(jaxpr.constvars, closed.consts, strict=True))
  values.update(zip(jaxpr.invars, args, strict=True))
  for step in jaxpr.eqns:
    given = [read(x) for x in step.invars]
    inner = _inner(step)
    if inner is not None:
      if not hasattr(inner, "consts"):
        inner = core.ClosedJaxpr(inner, [])
      found = _run(inner, given)
    else:
      if not is_exact(step):
        given = [
          x.astype(jnp.bfloat16).astype(x.dtype)
          for x in map(jnp.asarray, given)
        ]
      found = step.primitive.bind(*given, **step.params)
      if not step.primitive.multiple_results:
        found = [found]
    values.update(zip(step.outvars, found, strict=True))
  return [read(x) for x in jaxpr.outvars]
