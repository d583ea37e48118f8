"""A weight that changes for good once a metric has come down far enough.

Wav2Lip's sync loss counts from when the generator has learned to look like a
face, judged by that very loss. Its state is a collection of a group that no
optimizer trains, so that it is in every checkpoint, and a run that is resumed
or moved to other devices goes on with the gate as it was.

  group = gate.fresh()                                     # in `Stage.init`
  weight = gate.weight(collections["gate"], 0.0, 0.03)     # in the loss
  changed = {"gate": gate.update(collections["gate"], value, rule)}
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from speak_jax.stages.base import Group, Metrics


class Rule(NamedTuple):
  """When it opens."""

  threshold: float  # of the metric's running mean, below which it opens
  steps: int  # updates over which that mean is taken, and before it counts


def fresh() -> Group:
  """A gate that is closed: a group without parameters."""
  zero = jnp.zeros((), jnp.float32)
  return {}, {"gate": {"sum": zero, "count": zero, "open": zero}}


def weight(collections: Any, before: float, after: float) -> Float[Array, ""]:
  """The weight of before until the gate opens, then that of after.

  Args:
    collections: Of the gate's group.
    before: While it is closed.
    after: Once it is open.
  """
  is_open = collections["gate"]["open"] > 0.5
  return jnp.where(is_open, jnp.float32(after), jnp.float32(before))


def update(
  collections: Any, value: Float[Array, ""], rule: Rule
) -> dict[str, Any]:
  """The gate's collections after an update, for `LossOut.collections`.

  Whether it opens goes by the updates before this one: all microbatches of an
  update agree, and their mean is what each of them says.

  Args:
    collections: Of the gate's group.
    value: The metric on this microbatch.
    rule: When it opens.
  """
  state = collections["gate"]
  keep = 1 - 1 / rule.steps
  mean, due = _mean(state), state["count"] >= _enough(rule)
  opens = (due & (mean < rule.threshold)).astype(jnp.float32)
  return {
    "gate": {
      "sum": keep * state["sum"] + jax.lax.stop_gradient(value),
      "count": keep * state["count"] + 1,
      "open": jnp.maximum(state["open"], opens),
    }
  }


def metrics(collections: Any) -> Metrics:
  """What is worth a curve: whether it is open, and the mean that it goes by."""
  state = collections["gate"]
  return {"gate/open": state["open"], "gate/mean": _mean(state)}


def _mean(state: Any) -> Float[Array, ""]:
  return state["sum"] / jnp.maximum(state["count"], 1e-6)


def _enough(rule: Rule) -> float:
  """The count, which fades, after `rule.steps` updates."""
  keep = 1 - 1 / rule.steps
  return (1 - keep**rule.steps) * rule.steps - 1e-3
