"""The only training loop: it serves every stage alike."""

import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from speak_jax.supervision.activity import Activity
from speak_jax.supervision.profile import StepProfiler
from speak_jax.supervision.watchdog import Limits, Watchdog
from speak_jax.training import distributed, sharding
from speak_jax.training.checkpoint_manager import CheckpointManager
from speak_jax.training.health import NotFiniteError, TrainingError
from speak_jax.training.stage_run import StageRun
from speak_jax.training.state import (
  TrainState,
  Weights,
  abstract_state,
  digest,
  ema_params,
  init_state,
)
from speak_jax.training.step import jit_phases, train_step
from speak_jax.training.step_metrics import StepMetrics
from speak_jax.training.stream import BatchStream

ROLLBACK_WINDOW = 1_000  # steps in which so many roll-backs are too many
GRID_EXAMPLES = 16  # of the held-out batch


def no_callback(step: int, state: TrainState) -> None:
  """Does nothing after a step."""


def fit(
  run: StageRun,
  batches: Any,
  weights: Weights,
  *,
  held_out: Any = None,
  should_stop: Callable[[int], bool] = lambda step: False,
  on_step: Callable[[int, TrainState], None] = no_callback,
  activity: Activity | None = None,
) -> tuple[TrainState, bool]:
  """Trains a stage from where it stands to its last step.

  Args:
    run: What to train, for how long, where.
    batches: Endless iterator of uint8 batches with get_state and set_state.
    weights: What it starts with; of no use once there is a checkpoint.
    held_out: A batch for the sample grids; None: no grids.
    should_stop: Asked after every step: to save and end? All processes agree.
    on_step: Called after every step with the state, which it must not keep.
    activity: The process's, if it has done something before.

  Returns:
    The state, and whether the stage is complete.

  Raises:
    TrainingError: non-finite steps again and again, or a collapsed code.
    SaveError, NoCheckpointError: of checkpoints, see there.
    ReplicaMismatchError: devices do not hold the same parameters.
    ValueError: the checkpoint is of another config or other data.
  """
  activity, stream = activity or Activity(), BatchStream(batches)
  shardings = run.state_sharding()
  updates = jit_phases(run.stage, shardings, run.mesh)
  manager = CheckpointManager(run.folder / "checkpoints", run.settings.keep)
  draw_grids = SampleGrids(run, held_out)
  check_replicas = distributed.ReplicaCheck(run.mesh)
  key, before = run.key(), None
  with _watchdog(run, activity) as watchdog, manager:
    while True:
      state = restore_or_init(run, shardings, manager, stream, weights, before)
      saver = CheckpointSaver(run, manager, stream, activity)
      try:
        with (
          StepMetrics(run, int(state.step), stream, activity) as metrics,
          StepProfiler(run.stage.name, run.folder, run.profile) as profiler,
          activity.during("step"),
        ):
          step, ends = int(state.step), False
          watchdog.begin(step)
          while step < run.steps and not ends:
            with activity.during("data"):
              host_batch = next(stream)
            # Whatever moves between host and devices in here is meant to.
            with profiler.step(step + 1), jax.transfer_guard("disallow"):
              batch = sharding.shard_batch(host_batch, run.mesh)
              state, scalars = train_step(
                updates, state, batch, key, step, metrics.begin
              )
            step += 1
            metrics.add(step, stream.number, scalars)
            metrics.count_flop(updates, state, batch, key)
            profiler.after(step, scalars)
            ends = should_stop(step) or step == run.steps
            activity.switch("device")
            metrics.flush(keep=0 if saver.due(step, ends) else 1)
            activity.switch("evaluation")
            on_step(step, state)
            metrics.write_grids(step, draw_grids(step, state))
            activity.switch("step")
            saver.save_if_due(state)
            check_replicas(step, state.params)
            watchdog.step_done(step)
          if step == run.steps:
            metrics.say(_digest_line(step, state, stream))
      except NotFiniteError as error:
        before = roll_back(run, stream, error)
      else:
        with activity.during("save"):
          manager.finish()
        return state, step == run.steps


def _digest_line(step: int, state: TrainState, stream: BatchStream) -> str:
  """The line that tells whether two trainings have ended alike."""
  return f"step {step}, sha256 {digest(state, stream.get_state())}"


def restore_or_init(
  run: StageRun,
  shardings: TrainState,
  manager: CheckpointManager,
  stream: BatchStream,
  weights: Weights,
  before: int | None,
) -> TrainState:
  """The state to go on from: that of the newest good checkpoint, or a new one.

  Args:
    run: What is trained.
    shardings: Of its state.
    manager: Of its checkpoints.
    stream: Is set to where the state stands in the data.
    weights: What a new state starts with.
    before: Checkpoints of later steps are removed; None: none is too late.

  Raises:
    NoCheckpointError: there are checkpoints, and none is good.
    ValueError: the checkpoint is of another config or other data.
  """
  skipped, rolled = stream.skipped, stream.rolled
  # After a roll-back hours may have passed since the start.
  step = manager.recover(before, run.verified if before is None else None)
  if step is None:
    stream.rewind()
    state = sharding.shard(init_state(run.stage, run.seed, weights), shardings)
  else:
    like = abstract_state(run.stage)
    state, position, origin = manager.restore(like, shardings)
    changed = run.report_changes(f"{manager.folder}/{step}", origin)
    stream.set_state(position, step)
    if changed:
      stream.forget()
  stream.skip(skipped)
  stream.rolled = max(stream.rolled, rolled, key=len)
  return state


def roll_back(run: StageRun, stream: BatchStream, error: NotFiniteError) -> int:
  """Leaves out the bad batches from now on.

  Returns:
    The step before them, from which training can go on.

  Raises:
    TrainingError: it has come to this too often.
  """
  bad = ", ".join(map(str, stream.bad))
  recent = [s for s in stream.rolled if s > error.step - ROLLBACK_WINDOW]
  if len(recent) >= run.settings.rollbacks:
    left_out = ", ".join(map(str, sorted(stream.skipped)))
    raise TrainingError(
      f"{error}, batches {bad}; rolled back {len(recent)} times within"
      f" {ROLLBACK_WINDOW} steps, without batches {left_out}"
    )
  before = error.step - len(stream.bad)
  stream.skip(stream.bad)
  stream.rolled.append(error.step)
  distributed.say_once(f"{error}; going back, and on without batches {bad}")
  return before


class CheckpointSaver:
  """Saves a checkpoint when one is due: by steps, by time, and at the end.

  The first one of a start comes early: a fault that ends every start would
  else go round for ever.
  """

  def __init__(
    self,
    run: StageRun,
    manager: CheckpointManager,
    stream: BatchStream,
    activity: Activity,
  ):
    """Its clock starts with the first step's end, after compilation."""
    self._run, self._settings = run, run.settings
    self._manager, self._stream = manager, stream
    self._activity = activity
    self._any_process = sharding.AnyProcess(run.mesh)
    self._limit = self._settings.first_seconds
    self._since: float | None = None
    self._due = self._ends = False

  def due(self, step: int, ends: bool) -> bool:
    """Whether a checkpoint is due; all processes agree.

    Args:
      step: Steps done; asked once after each.
      ends: Whether training ends with this step: that is always saved.
    """
    if self._since is None:
      self._since = time.monotonic()
    late = time.monotonic() - self._since > self._limit
    self._due |= (
      self._any_process(late)
      or step % self._settings.save_every == 0
      or step == self._settings.first_save
    )
    self._ends = ends
    return self._due or ends

  def save_if_due(self, state: TrainState) -> None:
    """Begins to save what is due; while steps are bad it is put off.

    Raises:
      SaveError: too many saves in a row have failed.
    """
    if self._ends or (self._due and not self._stream.bad):
      with self._activity.during("save"):
        self._manager.save(state, self._stream.get_state(), self._run.origin())
      self._due, self._limit = False, self._settings.save_seconds
      self._since = time.monotonic()
    self._manager.check_for_errors()


class SampleGrids:
  """Pictures of what a stage makes of the first held-out examples."""

  def __init__(self, run: StageRun, held_out: Any):
    """Compiles nothing yet.

    Args:
      run: What is trained.
      held_out: This process's share of a batch; None: there are no pictures.
    """
    self._run, self._held_out = run, held_out
    whole = sharding.replicated(run.mesh)

    def draw(params, collections, batch):
      few = jax.tree.map(lambda x: x[:GRID_EXAMPLES], batch)
      few = jax.lax.with_sharding_constraint(few, whole)
      return run.stage.sample_grids(params, collections, few)

    self._draw = jax.jit(draw, out_shardings=whole)

  def __call__(self, step: int, state: TrainState) -> dict[str, np.ndarray]:
    """{name: uint8 pictures (rows, columns, h, w, 3)}; empty if none is due.

    Every so many steps, and at the last one; all processes must call.
    """
    every = self._run.settings.sheet_every
    due = step == self._run.steps or (every and step % every == 0)
    if self._held_out is None or not due:
      return {}
    batch = sharding.shard_batch(self._held_out, self._run.mesh)
    grids = self._draw(ema_params(state), state.vars, batch)
    return {name: np.asarray(grid) for name, grid in grids.items()}


def _watchdog(run: StageRun, activity: Activity) -> Watchdog:
  settings = run.settings
  limits = Limits(
    compile=settings.limit_compile,
    data=settings.limit_data,
    step=settings.limit_step,
    save=settings.limit_save,
  )
  return Watchdog(
    run.folder.parent, run.stage.name, activity, limits, settings.heartbeat
  )
