"""Runs functions and networks as one compiled program each, as stages do.

Called as they are, each of their operations on each shape is traced, compiled
and kept by itself: a network of 60 operations takes a second and a half before
it has done anything. Here arrays among the arguments are inputs of the
program and everything else is a constant of it. tests/compiles.py counts.
"""

import functools
import types
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import numpy as np
import pytest


def _is_array(x: Any) -> bool:
  """Whether it is an input of a program."""
  return isinstance(x, jax.Array) or (
    isinstance(x, np.ndarray) and x.dtype.kind in "biuf"
  )


@functools.lru_cache(maxsize=512)
def _program(function: Callable, tree: Any, constants: tuple) -> Callable:
  """Of a list of arrays, which fill the places of `constants` that are None."""

  def run(arrays: list[Any]) -> Any:
    left = iter(arrays)
    leaves = [next(left) if x is None else x[0] for x in constants]
    args, kwargs = jax.tree.unflatten(tree, leaves)
    return function(*args, **kwargs)

  return jax.jit(run)


def compiled(function: Callable) -> Callable:
  """The same function as one program; within a trace as it is."""

  @functools.wraps(function)
  def run(*args: Any, **kwargs: Any) -> Any:
    leaves, tree = jax.tree.flatten((args, kwargs))
    if any(isinstance(x, jax.core.Tracer) for x in leaves):
      return function(*args, **kwargs)
    arrays = [x for x in leaves if _is_array(x)]
    # The type as well: 1 == True, and both are the same key.
    constants = tuple(
      None if _is_array(x) else (x, type(x).__name__) for x in leaves
    )
    try:
      program = _program(function, tree, constants)
    except TypeError:  # something that has no hash
      program = _program.__wrapped__(function, tree, constants)
    return program(arrays)

  return run


def grad(function: Callable, argnums: int | tuple[int, ...] = 0) -> Callable:
  """`jax.grad`, compiled."""
  return compiled(jax.grad(function, argnums))


def functions(module: types.ModuleType) -> Any:
  """A module whose functions are compiled; all else is as it was."""
  found = dict(vars(module))
  for name, value in found.items():
    own = getattr(value, "__module__", "") == module.__name__
    if own and callable(value) and not isinstance(value, type):
      found[name] = compiled(value)
  return types.SimpleNamespace(**found)


def compile_networks(monkeypatch: pytest.MonkeyPatch) -> None:
  """Makes Flax's `init` and `apply` of every module one program each."""
  for name in ("init", "apply", "init_with_output"):
    monkeypatch.setattr(nn.Module, name, _method(getattr(nn.Module, name)))


def _method(method: Callable) -> Callable:
  """A method of modules, compiled; a module is a constant."""

  @functools.wraps(method)
  def run(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
    return compiled(_bound(method, self))(*args, **kwargs)

  return run


def _bound(method: Callable, module: nn.Module) -> Callable:
  """The same object for equal modules, so that its programs are found."""
  try:
    return _bound_once(method, module)
  except TypeError:  # a field has no hash
    return functools.partial(method, module)


@functools.lru_cache(maxsize=512)
def _bound_once(method: Callable, module: nn.Module) -> Callable:
  return functools.partial(method, module)
