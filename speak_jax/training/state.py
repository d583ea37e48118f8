"""The state of a stage: what a step changes and a checkpoint holds."""

import functools
import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from speak_jax.stages.base import Groups, Optim, Stage
from speak_jax.training import distributed, scaling

# {group: (parameters, other collections)} that a stage starts with because
# they were trained before it.
Weights = Mapping[str, tuple[Any, Any]]


class TrainState(NamedTuple):
  """All that a step changes; what a checkpoint holds."""

  step: Int[Array, ""]  # updates done, one for all phases of a step
  params: Groups  # {group: tree}, float32
  vars: Groups  # {group: {collection: tree}}, batch statistics and the like
  opt: dict[str, Any]  # {optimizer: state}
  ema: Groups  # {averaged group: tree}
  # {optimizer: LossScale} of a stage that scales its losses, else empty: other
  # checkpoints hold no such thing.
  scale: Mapping[str, scaling.LossScale] = {}


def init_state(stage: Stage, seed: int, weights: Weights) -> TrainState:
  """Makes a stage's state at step 0, on the host's CPU.

  Compiled as one and without optimisation: hundreds of small random draws
  take XLA ten times longer to optimise than to run, and one by one longer
  still.

  Args:
    stage: What to create.
    seed: Of all random draws of the run.
    weights: Groups that do not begin at random.
  """

  def init(weights):
    return _with_optimizers(stage, *stage.init(seed, weights))

  try:
    cpu = jax.local_devices(backend="cpu")[0]
  except RuntimeError:  # JAX_PLATFORMS leaves the CPU out
    return jax.jit(init)(dict(weights))
  with jax.default_device(cpu):
    program = (
      jax.jit(init)
      .lower(dict(weights))
      .compile({"xla_backend_optimization_level": "0"})
    )
    return program(dict(weights))


def abstract_groups(stage: Stage) -> tuple[Groups, Groups]:
  """Shapes of a stage's parameters and collections; traced once a stage."""
  return _abstract_groups(stage.init)


def abstract_state(stage: Stage) -> TrainState:
  """Shapes of a stage's state, for what is sharded, traced or restored."""
  return jax.eval_shape(
    functools.partial(_with_optimizers, stage), *abstract_groups(stage)
  )


@functools.lru_cache(maxsize=8)
def _abstract_groups(init: Callable) -> tuple[Groups, Groups]:
  return jax.eval_shape(lambda: init(0, {}))


def _with_optimizers(
  stage: Stage, params: Groups, collections: Groups
) -> TrainState:
  """The state at step 0 around a stage's groups, as a pure function."""
  return TrainState(
    step=jnp.zeros((), jnp.int32),
    params=params,
    vars=collections,
    opt={
      name: optim.tx.init(trained_groups(params, optim))
      for name, optim in stage.optims.items()
    },
    # Copies: the update gives the old buffers back to the device.
    ema={g: jax.tree.map(jnp.array, params[g]) for g in stage.ema_groups},
    scale={name: scaling.initial(stage.scaling) for name in stage.optims}
    if stage.scaling
    else {},
  )


def trained_groups(params: Groups, optim: Optim) -> Groups:
  """The groups that an optimizer trains."""
  return {g: params[g] for g in optim.trains}


def ema_params(state: TrainState) -> Groups:
  """Parameters with every averaged group replaced by its EMA."""
  return {**state.params, **state.ema}


def digest(state: TrainState, position: Any = None) -> str:
  """SHA-256 of everything that training goes on from, in hexadecimal.

  Parameters, averages, optimizers, collections and the step, leaf by leaf
  with name, type and shape; and the position in the data. It does not depend
  on how arrays are spread over devices. Keys for random numbers derive from
  the seed and the step, so there is no other state.

  Args:
    state: On any devices; with several processes, all must call.
    position: Of the data, plain data for JSON.
  """
  sha256 = hashlib.sha256(json.dumps(position, sort_keys=True).encode())
  for path, x in jax.tree_util.tree_leaves_with_path(state):
    host = np.ascontiguousarray(distributed.gather_to_host(x))
    name = jax.tree_util.keystr(path)
    sha256.update(f"{name} {host.dtype} {host.shape}\n".encode())
    sha256.update(host.tobytes())
  return sha256.hexdigest()
