"""The state of a stage and the one update that every phase shares."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from einops import rearrange
from jaxtyping import Array, Int, PRNGKeyArray

from speak_jax.stages.base import Groups, LossOut, Metrics, Optim, Stage


class TrainState(NamedTuple):
  """All that a step changes; what a checkpoint holds."""

  step: Int[Array, ""]  # updates done, one for all phases of a step
  params: Groups  # {group: tree}, float32
  vars: Groups  # {group: {collection: tree}}, batch statistics and the like
  opt: dict[str, Any]  # {optimizer: state}
  ema: Groups  # {averaged group: tree}


def initial(
  stage: Stage, seed: int, given: Mapping[str, tuple[Any, Any]]
) -> TrainState:
  """A stage's state at step 0, as a pure function.

  Args:
    stage: What to create.
    seed: Of the run.
    given: {group: (params, vars)} that earlier stages trained.
  """
  params, collections = stage.init(seed, given)
  return TrainState(
    step=jnp.zeros((), jnp.int32),
    params=params,
    vars=collections,
    opt={
      name: optim.tx.init(_pick(params, optim))
      for name, optim in stage.optims.items()
    },
    # Copies: the update gives the old buffers back to the device.
    ema={g: jax.tree.map(jnp.array, params[g]) for g in stage.averaged},
  )


def create(
  stage: Stage, seed: int, given: Mapping[str, tuple[Any, Any]]
) -> TrainState:
  """`initial`, run on the host's CPU; arguments as there.

  Compiled as one and without optimisation: hundreds of small random draws
  take XLA ten times longer to optimise than to run, and one by one longer
  still.
  """
  try:
    cpu = jax.local_devices(backend="cpu")[0]
  except RuntimeError:  # JAX_PLATFORMS leaves the CPU out
    return jax.jit(lambda given: initial(stage, seed, given))(dict(given))
  with jax.default_device(cpu):
    lowered = jax.jit(lambda given: initial(stage, seed, given)).lower(
      dict(given)
    )
    made = lowered.compile({"xla_backend_optimization_level": "0"})
    return made(dict(given))


def update(
  stage: Stage, index: int
) -> Callable[[TrainState, Any, PRNGKeyArray], tuple[TrainState, Metrics]]:
  """The pure update of one phase, to be jitted.

  A loss or gradient that is not finite changes nothing at all: parameters,
  optimizer, averages and mutable collections stay as they were, and the
  metric `bad` is 1.

  Args:
    stage: Whose phase.
    index: Which phase.

  Returns:
    (state, batch, key of the run) -> (state, metrics). `step` is left to the
    loop, because several phases make a step.
  """
  phase = stage.phases[index]
  optim = stage.optims[phase.optim]

  def run(state: TrainState, batch: Any, key: PRNGKeyArray):
    key = jax.random.fold_in(jax.random.fold_in(key, state.step), index)
    trained = _pick(state.params, optim)

    def loss(trained, vars, part, key):
      params = {**state.params, **trained}
      out = phase.loss(params, vars, part, state.step, key)
      return out.loss, out

    grad = jax.value_and_grad(loss, has_aux=True)
    if stage.parts == 1:
      (value, out), grads = grad(trained, state.vars, batch, key)
    else:
      (value, out), grads = _accumulate(
        grad, stage.parts, trained, state.vars, batch, key
      )
    norms = {g: optax.tree.norm(grads[g]) for g in optim.trains}
    norm = optax.tree.norm(list(norms.values()))
    ok = jnp.isfinite(value) & jnp.isfinite(norm)
    ok &= jnp.isfinite(optax.tree.norm(jax.tree.leaves(out.vars)))
    keep = partial(jax.tree.map, partial(jnp.where, ok))

    changes, opt = optim.tx.update(grads, state.opt[phase.optim], trained)
    params: Any = optax.apply_updates(trained, changes)
    averaged = {g: params[g] for g in optim.trains if g in state.ema}
    # Without a warm-up the average is still the initial noise for long.
    t = state.step.astype(jnp.float32)
    decay = jnp.minimum(stage.decay, (1 + t) / (10 + t))
    ema = jax.tree.map(
      lambda old, new: old + (1 - decay) * (new - old),
      {g: state.ema[g] for g in averaged},
      averaged,
    )
    new = state._replace(
      params=state.params | keep(params, trained),
      vars=state.vars | keep(out.vars, {g: state.vars[g] for g in out.vars}),
      opt=state.opt | {phase.optim: keep(opt, state.opt[phase.optim])},
      ema=state.ema | keep(ema, {g: state.ema[g] for g in ema}),
    )
    metrics = {"loss": value, **out.metrics, "grad_norm": norm}
    if len(norms) > 1:
      metrics |= {f"grad_norm/{g}": n for g, n in norms.items()}
    return new, metrics | {"bad": 1.0 - ok.astype(jnp.float32)}

  return run


def averaged(state: TrainState) -> Groups:
  """Parameters with every averaged group replaced by its EMA."""
  return {**state.params, **state.ema}


def _pick(params: Groups, optim: Optim) -> Groups:
  """The groups that an optimizer trains."""
  return {g: params[g] for g in optim.trains}


def _accumulate(
  grad: Callable,
  parts: int,
  trained: Groups,
  vars: Groups,
  batch: Any,
  key: Any,
) -> tuple[tuple[Any, LossOut], Groups]:
  """What `grad` gives for the batch, as the mean over `parts` of it in turn.

  Only one part's activations are in memory at a time. Statistics over a
  batch (swap partners, covariances, norms) are over a part.
  """
  # Neighbours go to different parts: every device has its share of each.
  cut = jax.tree.map(
    lambda x: rearrange(x, "(b p) ... -> p b ...", p=parts), batch
  )
  keys = jax.random.split(key, parts)

  def one(carry, part):
    vars, total = carry
    (value, out), grads = grad(trained, vars, *part)
    total = jax.tree.map(jnp.add, total, grads)
    return (vars | out.vars, total), (value, out.metrics)

  zeros = jax.tree.map(jnp.zeros_like, trained)
  (after, total), told = jax.lax.scan(one, (vars, zeros), (cut, keys))
  value, metrics = jax.tree.map(lambda x: x.mean(0), told)
  grads = jax.tree.map(lambda x: x / parts, total)
  return (value, LossOut(value, metrics, after)), grads
