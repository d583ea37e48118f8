"""The compiled programs of a step: a batch on many devices, piece by piece.

Each device adds up the gradients of its microbatches by itself; the sums are
added over the devices once an update, where they are applied.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import PRNGKeyArray

from speak_jax.stages.base import Phase, Stage
from speak_jax.supervision import flops
from speak_jax.training import microbatches, sharding
from speak_jax.training.state import (
  Gradient,
  Scalars,
  TrainState,
  apply_gradients,
  compute_gradients,
)


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
    index: int,
    state_sharding: TrainState,
    mesh: jax.sharding.Mesh,
  ):
    """Compiles nothing yet.

    Args:
      stage: Whose phase.
      index: Which phase.
      state_sharding: From `sharding.state_sharding`.
      mesh: Its devices.
    """
    self._stage, self._mesh = stage, mesh
    self._devices = mesh.shape["data"]
    self._state_sharding = state_sharding
    whole: Any = sharding.replicated(mesh)
    split: Any = sharding.batch_sharding(mesh)
    self._compute = compute_gradients(stage, index)
    self._apply = apply_gradients(stage, index)
    self._numbers = [
      sharding.shard(np.int32(n), whole)
      for n in range(max(self._steps(stage.batch), 2))
    ]
    # Traced once, for the shapes of its sums and inside what adds to them.
    self._local = jax.jit(self._each_device)
    self._sums: dict[int, Any] = {}  # shapes by number of microbatches
    self._single = jax.jit(
      self._at_once,
      in_shardings=(state_sharding, split, whole, whole),
      out_shardings=(state_sharding, whole),
      donate_argnums=0,
    )
    trained = stage.optims[stage.phases[index].optim].trains
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
      self._finished,
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
    increment = self._numbers[int(last)]
    if steps == 1:
      return self._single(state, batch, key, increment)
    sums = self._zero(self._like(state, batch, key))
    for turn in self._numbers[:steps]:
      sums = self._accumulate(sums, state, batch, key, turn)
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
    steps, number = self._steps(batch), self._numbers[0]
    if steps == 1:
      return {"single": self._single.trace(state, batch, key, number)}
    sums = jax.eval_shape(lambda: self._zero(self._like(state, batch, key)))
    return {
      "accumulate": self._accumulate.trace(sums, state, batch, key, number),
      "finish": self._finish.trace(state, sums, number, steps),
    }

  def flop(self, state: Any, batch: Any, key: Any) -> float:
    """Floating-point operations of an update, on all devices together.

    Raises:
      ValueError: a loop whose length is not known.
    """
    main = next(iter(self.traced(state, batch, key).values()))
    # All products are inside the shard_map, a device's share of them.
    products = flops.count(main.jaxpr.jaxpr)
    return 2.0 * self._steps(batch) * self._devices * products

  def _steps(self, batch: Any) -> int:
    size = jax.tree.leaves(batch)[0].shape[0]
    return microbatches.accumulation_steps(self._stage, size, self._devices)

  def _per_device(self, shardings: Any) -> Any:
    """Of arrays with an axis of devices before those of `shardings`."""
    return jax.tree.map(
      lambda x: NamedSharding(self._mesh, PartitionSpec("data", *x.spec)),
      shardings,
    )

  def _each_device(
    self, state: TrainState, batch: Any, key: PRNGKeyArray, turn: Any
  ) -> Gradient:
    """Each device's gradient of its `turn`-th microbatch, side by side."""
    size = self._stage.microbatch
    steps = self._steps(batch)

    def run(state, batch, key, numbers, turn):
      if steps > 1:
        batch = jax.tree.map(
          lambda x: jax.lax.dynamic_slice_in_dim(x, turn * size, size), batch
        )
      found = self._compute(state, batch, key, numbers[turn])
      return jax.tree.map(lambda x: x[None], found)

    # `model` stays with the compiler; nothing is summed over `data` in here,
    # neither by us nor, without check_vma, by differentiation.
    split, whole = PartitionSpec("data"), PartitionSpec()
    return jax.shard_map(
      run,
      mesh=self._mesh,
      in_specs=(whole, split, whole, split, whole),
      out_specs=split,
      axis_names={"data"},
      check_vma=False,
    )(
      state._replace(opt={}, ema={}),
      batch,
      key,
      jnp.arange(steps * self._devices),
      turn,
    )

  def _at_once(self, state, batch, key, increment):
    sums = self._local(state, batch, key, jnp.int32(0))
    return self._finished(state, sums, increment, 1)

  def _like(self, state: Any, batch: Any, key: Any) -> Any:
    """Shapes of the sums, hashable: leaves and structure. Found out once."""
    steps = self._steps(batch)
    if steps not in self._sums:
      like = jax.eval_shape(self._local, state, batch, key, self._numbers[0])
      leaves, structure = jax.tree.flatten(like)
      shapes = tuple((x.shape, x.dtype) for x in leaves)
      self._sums[steps] = shapes, structure
    return self._sums[steps]

  def _zero_gradients(self, like: Any) -> Gradient:
    shapes, structure = like
    return structure.unflatten([jnp.zeros(*one) for one in shapes])

  def _add(self, sums, state, batch, key, turn) -> Gradient:
    found = self._local(state, batch, key, turn)
    return jax.tree.map(jnp.add, sums, found)

  def _finished(self, state, sums, increment, steps):
    """Adds up what the devices have, the only exchange, and applies it."""
    count = steps * self._devices
    mean = jax.tree.map(lambda x: (x.sum(0) / count).astype(x.dtype), sums)
    return self._apply(state, mean, increment)


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
    (phase, Update(stage, index, state_sharding, mesh))
    for index, phase in enumerate(stage.phases)
  ]


def train_step(
  phases: list[tuple[Phase, Update]],
  state: TrainState,
  batch: Any,
  key: PRNGKeyArray,
  step: int,
  begin: Callable[[str], None] = lambda name: None,
) -> tuple[TrainState, dict[str, Scalars]]:
  """One step: all phases that are due, in their order.

  Args:
    phases: From `jit_phases`.
    state: On the devices; of no use afterwards.
    batch: On the devices.
    key: Of the run.
    step: state.step, on the host.
    begin: Told the name of each phase before it runs.

  Returns:
    The state after it, and {phase: scalars}.
  """
  due = [(phase.name, run) for phase, run in phases if phase.due(step)]
  scalars = {}
  for name, run in due:
    begin(name)
    state, scalars[name] = run(state, batch, key, last=name == due[-1][0])
  return state, scalars
