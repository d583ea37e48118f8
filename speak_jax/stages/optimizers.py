"""Adam as all stages use it: warm-up, cosine decay, clipping, rates by path."""

from collections.abc import Iterable, Mapping
from typing import Any

import jax
import optax

from speak_jax.stages.base import Optim


def adam(
  trains: tuple[str, ...],
  settings: Any,
  steps: int,
  factors: Mapping[str, float] | None = None,
  momenta: Mapping[str, float] | None = None,
) -> Optim:
  """Makes Adam, clipped, with a learning rate that rises and falls.

  Args:
    trains: Groups to train.
    settings: See `learning_rate`, and b1, b2, clip (largest global norm of a
      gradient; 0 = off).
    steps: Updates until the learning rate has come down to its floor.
    factors: {path prefix: factor of the learning rate}, as in
      {"speak/audio": 0.05}: group, then modules. The longest prefix counts;
      what none fits learns at the full rate.
    momenta: {path prefix: b1 in place of settings.b1}.

  Raises:
    ValueError: a factor below 0.
  """
  factors = dict(factors or {})
  for prefix, factor in factors.items():
    if factor < 0:
      raise ValueError(f"learning rate of {prefix!r} times {factor} < 0")
  rate, clip = learning_rate(settings, steps), settings.clip
  tx = optax.chain(
    optax.clip_by_global_norm(clip) if clip else optax.identity(),
    # The state is that of optax.adam.
    optax.chain(
      _adam_by_path(settings, momenta or {}), optax.scale_by_learning_rate(rate)
    ),
  )
  rates = {"lr": rate} | {
    f"lr/{prefix}": lambda count, factor=factor: factor * rate(count)
    for prefix, factor in factors.items()
  }
  return Optim(trains, _scale_by_path(tx, factors), rates)


def learning_rate(settings: Any, steps: int) -> optax.Schedule:
  """Makes the schedule: a linear rise, then a cosine fall over `steps`.

  Args:
    settings: lr (the peak), warmup (steps; never more than a tenth of
      `steps`), floor (the last rate over the peak).
    steps: Updates until the floor is reached.

  Returns:
    Updates done so far -> learning rate. The first update has a rate already.
  """
  warmup = min(settings.warmup, steps // 10)
  return optax.warmup_cosine_decay_schedule(
    init_value=settings.lr / (warmup + 1),
    peak_value=settings.lr,
    warmup_steps=warmup,
    decay_steps=steps,
    end_value=settings.lr * settings.floor,
  )


def _adam_by_path(
  settings: Any, momenta: Mapping[str, float]
) -> optax.GradientTransformation:
  """Adam without its learning rate, with another b1 below some paths."""
  adams = {
    b1: optax.scale_by_adam(b1=b1, b2=settings.b2)
    for b1 in {settings.b1, *momenta.values()}
  }
  if len(adams) == 1:
    return adams[settings.b1]

  def b1_of_each(params):
    return jax.tree_util.tree_map_with_path(
      lambda path, _: _longest_match(path, momenta, settings.b1), params
    )

  return optax.partition(adams, b1_of_each)


def _matching(path: Any, prefixes: Iterable[str]) -> list[str]:
  """The prefixes that fit a path: group, then modules."""
  name = jax.tree_util.keystr(path, simple=True, separator="/")
  return [p for p in prefixes if f"{name}/".startswith(f"{p}/")]


def _longest_match(
  path: Any, values: Mapping[str, float], default: float
) -> float:
  """The value of the longest prefix that fits a path."""
  prefixes = _matching(path, values)
  return values[max(prefixes, key=len)] if prefixes else default


def _scale_by_path(
  tx: optax.GradientTransformation, factors: Mapping[str, float]
) -> optax.GradientTransformation:
  """An optimizer with the updates below some paths scaled; the same state.

  Raises:
    ValueError: in `init`, a path that no array of the parameters is below.
  """
  if not factors:
    return tx

  def init(params):
    paths = [path for path, _ in jax.tree_util.tree_leaves_with_path(params)]
    for prefix in factors:
      if not any(_matching(path, [prefix]) for path in paths):
        raise ValueError(f"learning rate of {prefix!r}: no such parameters")
    return tx.init(params)

  def update(updates, state, params=None):
    updates, state = tx.update(updates, state, params)
    scaled = jax.tree_util.tree_map_with_path(
      lambda path, x: x * _longest_match(path, factors, 1.0), updates
    )
    return scaled, state

  return optax.GradientTransformation(init, update)
