"""What a phase logs and what its gradient depends on, traced and not run.

A trace takes a tenth of a compiled step. It shows which terms there are and
which gradients can be other than zero, but no values.
"""

from typing import Any, NamedTuple

import jax
from jax.interpreters import partial_eval

from speak_jax.stages.base import Stage
from speak_jax.supervision import flops
from speak_jax.training.state import abstract_state


class Trace(NamedTuple):
  """One phase of a stage, of which nothing was run."""

  jaxpr: Any  # of (state, batch, key) -> gradient, metrics, collections
  state: Any  # shapes
  inputs: tuple[str, ...]  # paths of the leaves, "0/params/sync/..."
  outputs: tuple[str, ...]  # paths of the gradient's leaves

  @property
  def logged(self) -> set[str]:
    """Names of the metrics, the loss among them."""
    prefix = "scalars/"
    return {x.removeprefix(prefix) for x in self.outputs if prefix in x}

  def needed(self, *outputs: str) -> tuple[set[str], list[str]]:
    """Inputs that outputs depend on, and the operations between them.

    Args:
      *outputs: Beginnings of their paths, "scalars/sync", "grads/speak".
    """
    asked = [x.startswith(outputs) for x in self.outputs]
    assert any(asked), (outputs, self.outputs)
    rest, used = partial_eval.dce_jaxpr(self.jaxpr, asked)
    names = {x for x, is_used in zip(self.inputs, used, strict=True) if is_used}
    return names, sorted(x.primitive.name for x in flops.equations(rest))

  def moved(self, group: str) -> set[str]:
    """Networks of a group whose gradients depend on the batch."""
    networks = {
      x.split("/")[2] for x in self.outputs if x.startswith(f"grads/{group}/")
    }
    return {
      network
      for network in networks
      if any(
        x.startswith("1/") for x in self.needed(f"grads/{group}/{network}/")[0]
      )
    }


def paths(tree: Any) -> tuple[str, ...]:
  """Of its leaves, keys with "/" between them."""
  return tuple(
    jax.tree_util.keystr(path, simple=True, separator="/")
    for path, _ in jax.tree_util.tree_leaves_with_path(tree)
  )


def logged(stage: Stage, index: int) -> set[str]:
  """Names of the metrics of one phase, the loss among them; no gradient."""
  state = abstract_state(stage)
  key = jax.eval_shape(lambda: jax.random.key(0))
  out = jax.eval_shape(
    stage.phases[index].loss,
    state.params,
    state.vars,
    stage.batch,
    state.step,
    key,
  )
  return {"loss", *out.metrics}


def trace(stage: Stage, index: int) -> Trace:
  """Traces the gradient of one phase, every metric by itself."""
  state = abstract_state(stage)
  key = jax.eval_shape(lambda: jax.random.key(0))
  phase = stage.phases[index]
  trains = stage.optims[phase.optim].trains

  def run(state: Any, batch: Any, key: Any) -> dict[str, Any]:
    def loss(trained: Any) -> Any:
      params = {**state.params, **trained}
      out = phase.loss(params, state.vars, batch, state.step, key)
      return out.loss, out

    trained = {group: state.params[group] for group in trains}
    grads, out = jax.grad(loss, has_aux=True)(trained)
    scalars = {"loss": out.loss, **out.metrics}
    return {"grads": grads, "scalars": scalars, "collections": out.collections}

  inputs = (state, stage.batch, key)
  closed, made = jax.make_jaxpr(run, return_shape=True)(*inputs)
  return Trace(closed.jaxpr, state, paths(inputs), paths(made))
