"""The update that every stage and phase shares.

`compute_gradients` and `apply_gradients` are the mathematics, pure functions of
one microbatch and of one mean gradient. `Update` compiles them for a batch on
many devices: each device adds up the gradients of its microbatches by itself;
the sums are added over the devices once an update, where they are applied.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from jaxtyping import Array, Int, PRNGKeyArray

from speak_jax.stages.base import Groups, Metrics, Optim, Phase, Stage
from speak_jax.supervision import flops
from speak_jax.training import microbatches, scaling, sharding
from speak_jax.training.scalars import Scalars
from speak_jax.training.state import TrainState, trained_groups


class Gradient(NamedTuple):
  """What a phase's loss says of a microbatch, or a sum or mean of these."""

  grads: Groups  # of the groups that the phase's optimizer trains
  scalars: Scalars  # loss and metrics
  vars: Groups  # changed mutable collections


def compute_gradients(
  stage: Stage,
  phase: Phase,
  state: TrainState,
  microbatch: Any,
  key: PRNGKeyArray,
  number: Int[Array, ""],
) -> Gradient:
  """The gradient of a phase's loss on one microbatch: a pure function.

  Args:
    stage: Its optimizers say which groups the phase trains.
    phase: One of the stage's.
    state: Before the update.
    microbatch: What a device holds at once.
    key: Of the run; step, phase and microbatch are folded in.
    number: Of the microbatch in its batch.
  """
  index = [other.name for other in stage.phases].index(phase.name)
  for part in (state.step, index, number):
    key = jax.random.fold_in(key, part)
  scaled = stage.scaling is not None
  factor = state.scale[phase.optim].factor if scaled else 1.0

  def loss(trained):
    params = {**state.params, **trained}
    out = phase.loss(params, state.vars, microbatch, state.step, key)
    return out.loss * factor if scaled else out.loss, out

  trained = trained_groups(state.params, stage.optims[phase.optim])
  grads, out = jax.grad(loss, has_aux=True)(trained)
  if scaled:
    grads = jax.tree.map(lambda x: x / factor, grads)
  scalars = Scalars.of({"loss": out.loss, **out.metrics})
  return Gradient(grads, scalars, out.collections)


def apply_gradients(
  stage: Stage,
  phase: Phase,
  state: TrainState,
  gradient: Gradient,
  increment: Any,
) -> tuple[TrainState, Scalars]:
  """The update of one phase by the mean gradient of a batch: pure.

  A loss or gradient that is not finite changes nothing at all: parameters,
  optimizer, averages and mutable collections stay as they were, and the
  metric `bad` is 1. (optax.apply_if_finite guards the optimizer alone.) Where
  losses are scaled and the scale can still shrink, a gradient alone that is not
  finite is no bad step: it shrinks the scale, and `skipped` is 1.

  Args:
    stage: Whose phase.
    phase: Which one.
    state: Before the update.
    gradient: Mean over the batch's microbatches.
    increment: What to add to `step`: 1 in the last phase of a step, else 0.

  Returns:
    The new state, and what to log.
  """
  optim = stage.optims[phase.optim]
  trained = trained_groups(state.params, optim)
  norms = {g: optax.tree.norm(gradient.grads[g]) for g in optim.trains}
  norm = optax.tree.norm(list(norms.values()))
  sound = jnp.isfinite(gradient.scalars["loss"])
  sound &= jnp.isfinite(optax.tree.norm(jax.tree.leaves(gradient.vars)))
  ok = sound & jnp.isfinite(norm)
  keep = partial(jax.tree.map, partial(jnp.where, ok))

  opt_before = state.opt[phase.optim]
  changes, opt = optim.tx.update(gradient.grads, opt_before, trained)
  params: Any = optax.apply_updates(trained, changes)
  ema_before = {g: state.ema[g] for g in optim.trains if g in state.ema}
  ema = _averages(stage, state.step, ema_before, params)
  vars_before = {g: state.vars[g] for g in gradient.vars}
  new = state._replace(
    step=state.step + increment,
    params=state.params | keep(params, trained),
    vars=state.vars | keep(gradient.vars, vars_before),
    opt=state.opt | {phase.optim: keep(opt, opt_before)},
    ema=state.ema | keep(ema, ema_before),
  )
  metrics = {**gradient.scalars, "grad_norm": norm, **_rates(optim, opt_before)}
  if len(norms) > 1:
    metrics |= {f"grad_norm/{g}": n for g, n in norms.items()}
  bad = ~ok
  if stage.scaling:
    scale = state.scale[phase.optim]
    skipped = bad & sound & scaling.can_shrink(scale)
    bad &= ~skipped
    later = scaling.adjusted(scale, stage.scaling, skipped)
    # A bad step says nothing of the scale.
    later = jax.tree.map(partial(jnp.where, bad), scale, later)
    new = new._replace(scale={**state.scale, phase.optim: later})
    metrics |= {"skipped": skipped, "loss_scale": scale.factor}
  return new, Scalars.of({**metrics, "bad": bad})


def _averages(
  stage: Stage, step: Int[Array, ""], before: Groups, params: Groups
) -> Groups:
  """The EMA of some groups after an update.

  Without a warm-up the average is still the initial noise for long.
  """
  t = step.astype(jnp.float32)
  decay = jnp.minimum(stage.ema_decay, (1 + t) / (10 + t))
  return jax.tree.map(
    lambda old, new: old + (1 - decay) * (new - old),
    before,
    {g: params[g] for g in before},
  )


def update(
  stage: Stage, index: int
) -> Callable[[TrainState, Any, PRNGKeyArray], tuple[TrainState, Scalars]]:
  """A whole update without devices, to try a stage by hand; `Update` trains.

  Args:
    stage: Whose phase.
    index: Which one of `stage.phases`.

  Returns:
    (state, batch, key of the run) -> (state, scalars), for a batch that is one
    microbatch, as the last phase of its step.
  """
  phase = stage.phases[index]

  def run(state: TrainState, batch: Any, key: PRNGKeyArray):
    gradient = compute_gradients(stage, phase, state, batch, key, jnp.int32(0))
    return apply_gradients(stage, phase, state, gradient, 1)

  return run


def _rates(optim: Optim, opt: Any) -> Metrics:
  """The learning rates of an optimizer's next update."""
  if not optim.rates:
    return {}
  (_, count), *_ = optax.tree_utils.tree_get_all_with_path(opt, "count")
  return {
    name: jnp.asarray(rate(count), jnp.float32)
    for name, rate in optim.rates.items()
  }


class Update:
  """The update of one phase; the state is donated to it.

  One program where each device has one microbatch; else one that adds a
  microbatch to each device's sums, and one that applies them. A program a
  microbatch and no loop on the device: XLA runs convolutions inside a loop 20
  times slower on the CPU, and a launch costs nothing beside a microbatch.
  """

  def __init__(
    self,
    stage: Stage,
    phase: Phase,
    state_sharding: TrainState,
    mesh: jax.sharding.Mesh,
  ):
    """Compiles nothing yet.

    Args:
      stage: Whose phase.
      phase: Which one.
      state_sharding: From `sharding.state_sharding`.
      mesh: Its devices.
    """
    self._stage, self._phase, self._mesh = stage, phase, mesh
    self._devices = mesh.shape["data"]
    self._state_sharding = state_sharding
    whole: Any = sharding.replicated(mesh)
    split: Any = sharding.batch_sharding(mesh)
    # Traced once, for the shapes of its sums and inside what adds to them.
    self._gradients = jax.jit(self._each_device)
    self._shapes: dict[int, Any] = {}  # shapes by number of microbatches
    self._numbers: dict[int, jax.Array] = {}
    self._single = jax.jit(
      self._single_update,
      in_shardings=(state_sharding, split, whole, whole),
      out_shardings=(state_sharding, whole),
      donate_argnums=0,
    )
    trained = stage.optims[phase.optim].trains
    sums = Gradient(
      grads={g: self._per_device(state_sharding.params[g]) for g in trained},
      scalars=split,
      vars=split,
    )
    self._zero = jax.jit(
      self._zero_gradients, static_argnums=0, out_shardings=sums
    )
    self._accumulate = jax.jit(
      self._add,
      in_shardings=(sums, state_sharding, split, whole, whole),
      out_shardings=sums,
      donate_argnums=0,
    )
    # Donating the sums would spare nothing: what comes out is the state, for
    # which its own memory is used.
    self._finish = jax.jit(
      self._apply,
      in_shardings=(state_sharding, sums, whole),
      out_shardings=(state_sharding, whole),
      static_argnums=3,
      donate_argnums=0,
    )

  def __call__(
    self, state: TrainState, batch: Any, key: PRNGKeyArray, last: bool = True
  ) -> tuple[TrainState, Scalars]:
    """Makes the update.

    Args:
      state: On the devices; of no use afterwards.
      batch: On the devices, from `sharding.shard_batch`.
      key: Of the run; step, phase and microbatch are folded in.
      last: Whether it is the last phase of a step, which counts the step.
    """
    steps = self._steps(batch)
    increment = self._number(int(last))
    if steps == 1:
      return self._single(state, batch, key, increment)
    sums = self._zero(self._sum_shapes(state, batch, key))
    for i in range(steps):
      sums = self._accumulate(sums, state, batch, key, self._number(i))
    return self._finish(state, sums, increment, steps)

  def traced(
    self, state: Any, batch: Any, key: Any
  ) -> dict[str, jax.stages.Traced]:
    """Its programs by name, traced: "single", or "accumulate" and "finish".

    Args:
      state: Arrays or their shapes, and so are the others.
      batch: A batch.
      key: Of the run.
    """
    main = self._main(state, batch, key)
    if (steps := self._steps(batch)) == 1:
      return {"single": main}
    sums = self._traced_sums(state, batch, key)
    number = self._traced_number()
    return {
      "accumulate": main,
      "finish": self._finish.trace(state, sums, number, steps),
    }

  def flop(self, state: Any, batch: Any, key: Any) -> float:
    """Floating-point operations of an update, on all devices together.

    After an update it is the update's own trace that is looked through.

    Raises:
      ValueError: a loop whose length is not known.
    """
    # All products are inside the shard_map, a device's share of them.
    products = flops.count(self._main(state, batch, key).jaxpr.jaxpr)
    return 2.0 * self._steps(batch) * self._devices * products

  def _main(self, state: Any, batch: Any, key: Any) -> jax.stages.Traced:
    """The program that computes a gradient: "single" or "accumulate"."""
    number = self._traced_number()
    if self._steps(batch) == 1:
      return self._single.trace(state, batch, key, number)
    sums = self._traced_sums(state, batch, key)
    return self._accumulate.trace(sums, state, batch, key, number)

  def _traced_number(self) -> Any:
    """A number that lies where `_number` puts it: else all is traced anew."""
    whole = sharding.replicated(self._mesh)
    return jax.ShapeDtypeStruct((), np.int32, sharding=whole)

  def _traced_sums(self, state: Any, batch: Any, key: Any) -> Any:
    """Shapes of the sums, in their places."""
    shapes = self._sum_shapes(state, batch, key)
    return jax.eval_shape(lambda: self._zero(shapes))

  def _steps(self, batch: Any) -> int:
    size = jax.tree.leaves(batch)[0].shape[0]
    return microbatches.accumulation_steps(self._stage, size, self._devices)

  def _number(self, n: int) -> jax.Array:
    """A whole number on the devices, put there once."""
    if n not in self._numbers:
      whole = sharding.replicated(self._mesh)
      # The loop forbids what moves unasked, and this is asked for.
      with jax.transfer_guard_host_to_device("allow"):
        self._numbers[n] = sharding.shard(np.int32(n), whole)
    return self._numbers[n]

  def _per_device(self, shardings: Any) -> Any:
    """Of arrays with an axis of devices before those of `shardings`."""
    return jax.tree.map(
      lambda x: NamedSharding(self._mesh, PartitionSpec("data", *x.spec)),
      shardings,
    )

  def _each_device(
    self, state: TrainState, batch: Any, key: PRNGKeyArray, i: Any
  ) -> Gradient:
    """Each device's gradient of its `i`-th microbatch, side by side."""
    size = self._stage.microbatch
    steps = self._steps(batch)

    def gradient_of(state, batch, key, numbers, i):
      if steps > 1:
        batch = jax.tree.map(
          lambda x: jax.lax.dynamic_slice_in_dim(x, i * size, size), batch
        )
      gradient = compute_gradients(
        self._stage, self._phase, state, batch, key, numbers[i]
      )
      return jax.tree.map(lambda x: x[None], gradient)

    # `model` stays with the compiler; nothing is summed over `data` in here,
    # neither by us nor, without check_vma, by differentiation.
    split, whole = PartitionSpec("data"), PartitionSpec()
    numbers = jnp.arange(steps * self._devices)
    if AxisType.Explicit in self._mesh.axis_types:
      # Nobody moves an array there but who says so.
      numbers = jax.sharding.reshard(numbers, NamedSharding(self._mesh, split))
    return jax.shard_map(
      gradient_of,
      mesh=self._mesh,
      in_specs=(whole, split, whole, split, whole),
      out_specs=split,
      axis_names={"data"},
      check_vma=False,
    )(
      state._replace(opt={}, ema={}),
      batch,
      key,
      numbers,
      i,
    )

  def _single_update(self, state, batch, key, increment):
    sums = self._gradients(state, batch, key, jnp.int32(0))
    return self._apply(state, sums, increment, 1)

  def _sum_shapes(self, state: Any, batch: Any, key: Any) -> Any:
    """Shapes of the sums, hashable: leaves and structure. Traced once."""
    steps = self._steps(batch)
    if steps not in self._shapes:
      number = self._traced_number()
      like = jax.eval_shape(self._gradients, state, batch, key, number)
      leaves, structure = jax.tree.flatten(like)
      shapes = tuple((x.shape, x.dtype) for x in leaves)
      self._shapes[steps] = shapes, structure
    return self._shapes[steps]

  def _zero_gradients(self, like: Any) -> Gradient:
    shapes, structure = like
    return structure.unflatten([jnp.zeros(*one) for one in shapes])

  def _add(self, sums, state, batch, key, i) -> Gradient:
    gradients = self._gradients(state, batch, key, i)
    return jax.tree.map(jnp.add, sums, gradients)

  def _apply(self, state, sums, increment, steps):
    """Adds up what the devices have, the only exchange, and applies it."""
    count = steps * self._devices
    mean = jax.tree.map(lambda x: (x.sum(0) / count).astype(x.dtype), sums)
    return apply_gradients(self._stage, self._phase, state, mean, increment)


def jit_phases(
  stage: Stage, state_sharding: TrainState, mesh: jax.sharding.Mesh
) -> list[tuple[Phase, Update]]:
  """Each phase with its update.

  Raises:
    ValueError: the stage's batch does not divide, or there may be steps
      without a phase.
  """
  if not any(phase.every == 1 and not phase.start for phase in stage.phases):
    raise ValueError(f"{stage.name}: no phase is due at every step")
  return [
    (phase, Update(stage, phase, state_sharding, mesh))
    for phase in stage.phases
  ]


def train_step(
  updates: list[tuple[Phase, Update]],
  state: TrainState,
  batch: Any,
  key: PRNGKeyArray,
  step: int,
  begin: Callable[[Phase], None] = lambda phase: None,
) -> tuple[TrainState, dict[str, Scalars]]:
  """One step: every phase that is due, in order.

  Args:
    updates: From `jit_phases`.
    state: On the devices; of no use afterwards.
    batch: On the devices.
    key: Of the run.
    step: state.step, on the host.
    begin: Told each phase before it runs.

  Returns:
    The state after it, and {phase: scalars}.
  """
  due = [(phase, update) for phase, update in updates if phase.due(step)]
  scalars = {}
  for i, (phase, update) in enumerate(due, 1):
    begin(phase)
    state, scalars[phase.name] = update(state, batch, key, i == len(due))
  return state, scalars
