"""The only training loop: it serves every stage alike."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from speak_jax.progress import Progress, clock
from speak_jax.stages.base import Metrics, Phase, Stage
from speak_jax.training import sharding
from speak_jax.training.checkpoints import Checkpoints
from speak_jax.training.log import Log
from speak_jax.training.state import (
  Gradient,
  TrainState,
  add_part,
  apply,
  averaged,
  create,
  initial,
  no_gradient,
  update,
)


class TrainingError(RuntimeError):
  """Training cannot go on: numbers that are not finite, a dead code."""


class Schedule(NamedTuple):
  """When the loop does what; config.train, see configs/speak.py."""

  log_every: int
  save_every: int
  first_save: int
  keep: int
  sheet_every: int
  bad_steps: int
  collapse: float
  collapse_after: int


class Run(NamedTuple):
  """One stage of one run."""

  stage: Stage
  steps: int
  seed: int
  folder: Path  # RUN/<stage>
  mesh: jax.sharding.Mesh
  large: int  # elements from which an array is split over `model`
  schedule: Schedule
  meta: dict  # goes into every checkpoint


def nothing(step: int, state: TrainState) -> None:
  """What a loop without further wishes does after a step."""


def fit(
  run: Run,
  batches: Any,
  given: dict[str, tuple[Any, Any]],
  *,
  held_out: Any = None,
  stopping: Callable[[], bool] = lambda: False,
  on_step: Callable[[int, TrainState], None] = nothing,
) -> tuple[TrainState, bool]:
  """Trains a stage from where it stands to its last step.

  Args:
    run: What to train, for how long, where.
    batches: Endless iterator of uint8 batches with get_state and set_state.
    given: {group: (params, vars)} of earlier stages; of no use once there is
      a checkpoint.
    held_out: A batch for the sample sheets; None: no sheets.
    stopping: Asked after every step; True saves and ends.
    on_step: Called after every step with the state, which it must not keep.

  Returns:
    The state, and whether the stage is complete.

  Raises:
    TrainingError: several non-finite steps in a row, or a collapsed code.
  """
  stage, schedule = run.stage, run.schedule
  first = jax.process_index() == 0
  saved = Checkpoints(run.folder / "checkpoints", schedule.keep)
  state, placing = _start(run, saved, batches, given)
  start = int(state.step)
  log = Log(run.folder, start, first)
  progress = Progress(stage.name, "step", run.steps, start, shown=first)
  step_phases = compiled(stage, placing, run.mesh)
  show = jax.jit(stage.inspect)
  watch = _Watch(stage.name, schedule)
  key = sharding.place(
    jax.random.key_data(jax.random.key(run.seed)),
    sharding.replicated(run.mesh),
  )
  key = jax.random.wrap_key_data(key)

  def sheets(step: int, state: TrainState) -> None:
    if held_out is not None:
      batch = sharding.place_batch(held_out, run.mesh)
      cells = show(averaged(state), state.vars, batch)
      for name, picture in cells.items():
        log.sheet(step, name, np.asarray(picture))

  def save(state: TrainState) -> None:
    saved.save(state, batches.get_state(), run.meta)

  pending: tuple[int, Metrics] | None = None
  begin = since = time.monotonic()
  waited = 0.0
  done = start >= run.steps
  try:
    for step in range(start, run.steps):
      asked = time.monotonic()
      host = next(batches)
      waited += time.monotonic() - asked
      batch = sharding.place_batch(host, run.mesh)
      metrics: Metrics = {}
      for phase, advance in step_phases:
        if step % phase.every == 0:
          state, values = advance(state, batch, key)
          metrics |= {f"{phase.name}/{k}": v for k, v in values.items()}
      state = state._replace(step=state.step + 1)
      # The figures of the step before are read while this one is running.
      if pending is not None:
        watch.add(*pending)
      pending = (step + 1, metrics)

      now, last = step + 1, step + 1 == run.steps
      if step == start:
        jax.block_until_ready(state.step)
        watch.add(*pending)
        pending = None
        progress.say(
          f"{stage.name}: first step after"
          f" {clock(time.monotonic() - begin)} (compilation)"
        )
        since, waited = time.monotonic(), 0.0
      ending = stopping()
      if now % schedule.log_every == 0 or last:
        if pending is not None:
          watch.add(*pending)
          pending = None
        span = max(time.monotonic() - since, 1e-9)
        log.scalars(now, watch.means() | {"data_wait": waited / span})
        since, waited = time.monotonic(), 0.0
      progress.update(now, watch.note)
      on_step(now, state)
      if last or (schedule.sheet_every and now % schedule.sheet_every == 0):
        sheets(now, state)
      due = now % schedule.save_every == 0 or now == schedule.first_save
      if due or last or ending:
        save(state)
      done = last
      if ending:
        break
  finally:
    progress.close()
    log.close()
    saved.close()
  return state, done


def compiled(
  stage: Stage, placing: TrainState, mesh: jax.sharding.Mesh
) -> list[tuple[Phase, Callable]]:
  """Each phase with its update, compiled; the state is donated to it."""
  whole = sharding.replicated(mesh)
  batch = sharding.by_batch(mesh)
  make = _in_parts if stage.parts > 1 else _at_once
  return [
    (phase, make(stage, index, placing, batch, whole))
    for index, phase in enumerate(stage.phases)
  ]


def _at_once(stage, index, placing, batch, whole) -> Callable:
  return jax.jit(
    update(stage, index),
    in_shardings=(placing, batch, whole),
    out_shardings=(placing, whole),
    donate_argnums=0,
  )


def _in_parts(stage, index, placing, batch, whole) -> Callable:
  """One program adds up the gradient part by part, another applies it."""
  trained = stage.optims[stage.phases[index].optim].trains
  found = Gradient(
    grads={group: placing.params[group] for group in trained},
    loss=whole,
    metrics=whole,
    vars=whole,
  )
  begin = jax.jit(
    no_gradient(stage, index),
    in_shardings=(placing, batch, whole),
    out_shardings=found,
  )
  add = jax.jit(
    add_part(stage, index),
    in_shardings=(placing, found, batch, whole, whole),
    out_shardings=found,
    donate_argnums=1,
  )
  finish = jax.jit(
    apply(stage, index),
    in_shardings=(placing, found),
    out_shardings=(placing, whole),
    donate_argnums=0,
  )
  numbers = np.arange(stage.parts, dtype=np.int32)

  def advance(state, examples, key):
    so_far = begin(state, examples, key)
    for number in numbers:
      so_far = add(state, so_far, examples, number, key)
    return finish(state, so_far)

  return advance


def _start(
  run: Run,
  saved: Checkpoints,
  batches: Any,
  given: dict[str, tuple[Any, Any]],
) -> tuple[TrainState, TrainState]:
  """The state to go on from, and its shardings."""
  if saved.latest is None:
    fresh = create(run.stage, run.seed, given)
    placing = sharding.rules(fresh, run.mesh, run.large)
    return sharding.place(fresh, placing), placing
  like = jax.eval_shape(lambda: initial(run.stage, run.seed, {}))
  placing = sharding.rules(like, run.mesh, run.large)
  state, position = saved.restore(like, placing)
  batches.set_state(position)
  return state, placing


class _Watch:
  """Collects figures, and stops a run that has gone wrong."""

  def __init__(self, name: str, schedule: Schedule):
    self._name, self._schedule = name, schedule
    self._sums: dict[str, float] = {}
    self._counts: dict[str, int] = {}
    self._bad = 0
    self._dead: dict[str, int] = {}
    self.note = ""

  def add(self, step: int, metrics: Metrics) -> None:
    """Takes one step's figures from the device."""
    values = {k: float(v) for k, v in jax.device_get(metrics).items()}
    bad = [k for k, v in values.items() if k.endswith("/bad") and v]
    self._bad = self._bad + 1 if bad else 0
    if self._bad >= self._schedule.bad_steps:
      guilty = [
        k for k, v in values.items() if "grad_norm/" in k and not np.isfinite(v)
      ]
      raise TrainingError(
        f"{self._name}: not finite for {self._bad} steps in a row, at step"
        f" {step} in {bad[0].removesuffix('/bad')}"
        + (f", first in {guilty[0]}" if guilty else "")
      )
    for name, value in values.items():
      if np.isfinite(value):
        self._sums[name] = self._sums.get(name, 0.0) + value
        self._counts[name] = self._counts.get(name, 0) + 1
    self._collapse(step, values)
    losses = [f"{k} {v:.4g}" for k, v in values.items() if k.endswith("/loss")]
    self.note = "  ".join(losses[:2])

  def means(self) -> dict[str, float]:
    """Means since the last call."""
    means = {k: v / self._counts[k] for k, v in self._sums.items()}
    self._sums, self._counts = {}, {}
    return means

  def _collapse(self, step: int, values: dict[str, float]) -> None:
    """A code that is the same for everybody carries nothing."""
    if step < self._schedule.collapse_after:
      return
    for name, value in values.items():
      if "/std/" not in name:
        continue
      low = value < self._schedule.collapse
      self._dead[name] = self._dead.get(name, 0) + 1 if low else 0
      if self._dead[name] >= 10:
        code = name.split("/std/")[1]
        raise TrainingError(
          f"{self._name}: the {code} code has collapsed (std {value:.4f} <"
          f" {self._schedule.collapse} for 10 steps, at step {step})"
        )


def parameters(stage: Stage) -> Iterator[tuple[str, int, bool]]:
  """(group, number of parameters, whether it is trained), without arrays."""
  params, _ = jax.eval_shape(lambda: stage.init(0, {}))
  trained = {g for optim in stage.optims.values() for g in optim.trains}
  for group, tree in params.items():
    size = sum(int(np.prod(x.shape)) for x in jax.tree.leaves(tree))
    yield group, size, group in trained
