"""The state of a stage and the one update that every phase shares.

Pure functions; `step.py` shares them out over devices.
"""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Int, PRNGKeyArray

from speak_jax.stages.base import Groups, Metrics, Optim, Stage
from speak_jax.training import distributed, scaling


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
    ema={g: jax.tree.map(jnp.array, params[g]) for g in stage.ema_groups},
    scale={name: scaling.initial(stage.scaling) for name in stage.optims}
    if stage.scaling
    else {},
  )


def init_state(
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


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class Scalars(Mapping[str, Any]):
  """Named figures in one vector, so that one copy brings them to the host."""

  vector: Any  # Float[Array, "... n"]
  names: tuple[str, ...] = dataclasses.field(metadata={"static": True})

  @classmethod
  def of(cls, figures: Metrics) -> "Scalars":
    """Of named scalars, in the order of their names."""
    names = tuple(sorted(figures))
    values = [jnp.asarray(figures[name], jnp.float32) for name in names]
    return cls(jnp.stack(values), names)

  def __getitem__(self, name: str) -> Any:
    """One figure."""
    try:
      return self.vector[..., self.names.index(name)]
    except ValueError:
      raise KeyError(name) from None

  def __iter__(self) -> Iterator[str]:
    """The names."""
    return iter(self.names)

  def __len__(self) -> int:
    """How many there are."""
    return len(self.names)


class Gradient(NamedTuple):
  """What a phase's loss says about a microbatch, or their sum or mean."""

  grads: Groups  # of the groups that the phase's optimizer trains
  scalars: Scalars  # loss and metrics
  vars: Groups  # changed mutable collections


def compute_gradients(stage: Stage, index: int) -> Callable[..., Gradient]:
  """The gradient of one phase, as a pure function.

  Args:
    stage: Whose phase.
    index: Which phase.

  Returns:
    (state, microbatch, key of the run, number of the microbatch in its batch)
    -> gradient.
  """
  phase = stage.phases[index]
  optim = stage.optims[phase.optim]

  def run(
    state: TrainState,
    microbatch: Any,
    key: PRNGKeyArray,
    number: Int[Array, ""],
  ) -> Gradient:
    for part in (state.step, index, number):
      key = jax.random.fold_in(key, part)

    def loss(trained):
      params = {**state.params, **trained}
      out = phase.loss(params, state.vars, microbatch, state.step, key)
      return out.loss * factor if scaled else out.loss, out

    scaled = stage.scaling is not None
    factor = state.scale[phase.optim].factor if scaled else 1.0
    trained = _pick(state.params, optim)
    grads, out = jax.grad(loss, has_aux=True)(trained)
    if scaled:
      grads = jax.tree.map(lambda x: x / factor, grads)
    return Gradient(
      grads, Scalars.of({"loss": out.loss, **out.metrics}), out.collections
    )

  return run


def apply_gradients(
  stage: Stage, index: int
) -> Callable[[TrainState, Gradient, Any], tuple[TrainState, Scalars]]:
  """The update of one phase, as a pure function.

  A loss or gradient that is not finite changes nothing at all: parameters,
  optimizer, averages and mutable collections stay as they were, and the
  metric `bad` is 1. (optax.apply_if_finite guards the optimizer alone.) Where
  losses are scaled and the scale can still shrink, a gradient alone that is not
  finite is no bad step: it shrinks the scale, and `skipped` is 1.

  Args:
    stage: Whose phase.
    index: Which phase.

  Returns:
    (state, mean gradient, what to add to `step`) -> (state, scalars). 1 is
    added by the last phase of a step, 0 by the others.
  """
  optim_name = stage.phases[index].optim
  optim = stage.optims[optim_name]

  def run(
    state: TrainState, found: Gradient, increment: Any
  ) -> tuple[TrainState, Scalars]:
    trained = _pick(state.params, optim)
    norms = {g: optax.tree.norm(found.grads[g]) for g in optim.trains}
    norm = optax.tree.norm(list(norms.values()))
    sound = jnp.isfinite(found.scalars["loss"])
    sound &= jnp.isfinite(optax.tree.norm(jax.tree.leaves(found.vars)))
    ok = sound & jnp.isfinite(norm)
    keep = partial(jax.tree.map, partial(jnp.where, ok))

    old = state.opt[optim_name]
    changes, opt = optim.tx.update(found.grads, old, trained)
    params: Any = optax.apply_updates(trained, changes)
    averaged = {g: params[g] for g in optim.trains if g in state.ema}
    # Without a warm-up the average is still the initial noise for long.
    t = state.step.astype(jnp.float32)
    decay = jnp.minimum(stage.ema_decay, (1 + t) / (10 + t))
    ema = jax.tree.map(
      lambda old, new: old + (1 - decay) * (new - old),
      {g: state.ema[g] for g in averaged},
      averaged,
    )
    before = {g: state.vars[g] for g in found.vars}
    new = TrainState(
      step=state.step + increment,
      params=state.params | keep(params, trained),
      vars=state.vars | keep(found.vars, before),
      opt=state.opt | {optim_name: keep(opt, old)},
      ema=state.ema | keep(ema, {g: state.ema[g] for g in ema}),
      scale=state.scale,
    )
    metrics = {**found.scalars, "grad_norm": norm, **_rates(optim, old)}
    if len(norms) > 1:
      metrics |= {f"grad_norm/{g}": n for g, n in norms.items()}
    bad = ~ok
    if stage.scaling:
      scale = state.scale[optim_name]
      skipped = bad & sound & scaling.can_shrink(scale)
      bad &= ~skipped
      later = scaling.adjusted(scale, stage.scaling, skipped)
      # A bad step says nothing of the scale.
      later = jax.tree.map(partial(jnp.where, bad), scale, later)
      new = new._replace(scale={**state.scale, optim_name: later})
      metrics |= {"skipped": skipped, "loss_scale": scale.factor}
    metrics["bad"] = bad
    return new, Scalars.of(metrics)

  return run


def update(
  stage: Stage, index: int
) -> Callable[[TrainState, Any, PRNGKeyArray], tuple[TrainState, Scalars]]:
  """Both for a batch that is one microbatch, the last phase of its step."""
  compute, apply = (
    compute_gradients(stage, index),
    apply_gradients(stage, index),
  )

  def run(state: TrainState, batch: Any, key: PRNGKeyArray):
    return apply(state, compute(state, batch, key, jnp.int32(0)), 1)

  return run


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
  found = hashlib.sha256(json.dumps(position, sort_keys=True).encode())
  for path, x in jax.tree_util.tree_leaves_with_path(state):
    host = np.ascontiguousarray(distributed.gather_to_host(x))
    name = jax.tree_util.keystr(path)
    found.update(f"{name} {host.dtype} {host.shape}\n".encode())
    found.update(host.tobytes())
  return found.hexdigest()


def _rates(optim: Optim, opt: Any) -> Metrics:
  """The learning rates of an optimizer's next update."""
  if not optim.rates:
    return {}
  (_, count), *_ = optax.tree_utils.tree_get_all_with_path(opt, "count")
  return {
    name: jnp.asarray(rate(count), jnp.float32)
    for name, rate in optim.rates.items()
  }


def _pick(params: Groups, optim: Optim) -> Groups:
  """The groups that an optimizer trains."""
  return {g: params[g] for g in optim.trains}
