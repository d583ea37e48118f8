"""The only training loop: it serves every stage alike."""

import json
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from speak_jax.common.progress import Progress, clock, say
from speak_jax.stages.base import Phase, Stage
from speak_jax.supervision import flops
from speak_jax.supervision.activity import Activity
from speak_jax.supervision.profile import StepProfiler
from speak_jax.supervision.watchdog import Limits, Watchdog
from speak_jax.training import distributed, sharding
from speak_jax.training.checkpoints import CheckpointManager, origin
from speak_jax.training.health import (
  HealthMonitor,
  NotFiniteError,
  TrainingError,
)
from speak_jax.training.metric_writer import MetricWriter
from speak_jax.training.state import (
  Scalars,
  TrainState,
  digest,
  ema_params,
  init_state,
  initial,
)
from speak_jax.training.step import Update, jit_phases, train_step
from speak_jax.training.stream import BatchStream

REPLICA_CHECK_EVERY = 1_000  # steps
ROLLBACK_WINDOW = 1_000  # steps in which so many roll-backs are too many
GRID_EXAMPLES = 16  # of the held-out batch


class Schedule(NamedTuple):
  """When the loop does what; config.train, see configs/speak.py."""

  log_every: int
  save_every: int
  save_seconds: float
  first_save: int
  first_seconds: float
  keep: int
  sheet_every: int
  bad_steps: int
  rollbacks: int
  collapse: float
  collapse_after: int
  heartbeat: float
  limit_compile: float
  limit_data: float
  limit_step: float
  limit_save: float


class StageRun(NamedTuple):
  """One stage of one run."""

  stage: Stage
  steps: int
  seed: int
  folder: Path  # RUN/<stage>
  mesh: jax.sharding.Mesh
  min_shard_size: int  # elements from which an array is split over `model`
  schedule: Schedule
  meta: dict  # goes into every checkpoint, texts
  allow_other_data: bool = False  # go on with other data than a checkpoint's
  profile: tuple[int, int] | None = None  # first and last step to trace
  gauges: Callable[[], dict[str, float]] = dict  # more figures to log


def no_callback(step: int, state: TrainState) -> None:
  """Nothing is done after a step."""


def fit(
  run: StageRun,
  batches: Any,
  given: dict[str, tuple[Any, Any]],
  *,
  held_out: Any = None,
  stopping: Callable[[int], bool] = lambda step: False,
  on_step: Callable[[int, TrainState], None] = no_callback,
  activity: Activity | None = None,
) -> tuple[TrainState, bool]:
  """Trains a stage from where it stands to its last step.

  After several bad steps in a row it goes back to the newest good checkpoint,
  and on without the batches that were bad.

  Args:
    run: What to train, for how long, where.
    batches: Endless iterator of uint8 batches with get_state and set_state.
    given: {group: (params, vars)} of earlier stages; of no use once there is
      a checkpoint.
    held_out: A batch for the sample sheets; None: no sheets.
    stopping: Asked after every step, with its number, on every process; True
      saves and ends. All processes must get the same answer.
    on_step: Called after every step with the state, which it must not keep.
    activity: The process's, if it has done something before.

  Returns:
    The state, and whether the stage is complete.

  Raises:
    TrainingError: non-finite steps again and again, or a collapsed code.
    SaveError: checkpoints cannot be written.
    NoCheckpointError: there are checkpoints, and none is good.
    UnequalError: devices do not hold the same parameters.
    ValueError: the checkpoint is of another config or other data.
  """
  stage, schedule = run.stage, run.schedule
  saved = CheckpointManager(run.folder / "checkpoints", schedule.keep)
  stream = BatchStream(batches)
  activity = activity or Activity()
  like = jax.eval_shape(lambda: initial(stage, run.seed, {}))
  placing = sharding.state_sharding(like, run.mesh, run.min_shard_size)
  watch = Watchdog(
    run.folder.parent,
    stage.name,
    activity,
    Limits(
      compile=schedule.limit_compile,
      data=schedule.limit_data,
      step=schedule.limit_step,
      save=schedule.limit_save,
    ),
    schedule.heartbeat,
  )
  tools = _Tools(
    saved=saved,
    stream=stream,
    activity=activity,
    watch=watch,
    phases=jit_phases(stage, placing, run.mesh),
    show=_sheets(stage, run.mesh),
    agree=distributed.ReplicaCheck(run.mesh),
    held_out=held_out,
    stopping=stopping,
    on_step=on_step,
  )
  before = None
  with watch, saved:
    while True:
      state = _start(run, saved, stream, placing, given, before)
      try:
        state, done = _train(run, tools, state)
      except NotFiniteError as error:
        before = _roll_back(run, stream, error)
      else:
        with activity.during("save"):
          saved.finish()
        return state, done


class _Tools(NamedTuple):
  """What serves from the first step to the last, roll-backs included."""

  saved: CheckpointManager
  stream: BatchStream
  activity: Activity
  watch: Watchdog
  phases: list[tuple[Phase, Update]]
  show: Callable
  agree: Callable[[Any], None]
  held_out: Any
  stopping: Callable[[int], bool]
  on_step: Callable[[int, TrainState], None]


def _train(
  run: StageRun, tools: _Tools, state: TrainState
) -> tuple[TrainState, bool]:
  """The loop, from a state on; returns as `fit` does."""
  stage, schedule = run.stage, run.schedule
  activity, stream, saved = tools.activity, tools.stream, tools.saved
  first = jax.process_index() == 0
  step = start = int(state.step)
  tools.watch.begin(start)
  log = MetricWriter(run.folder, start, first)
  progress = Progress(stage.name, "step", run.steps, start, shown=first)
  for phase in stage.phases:
    if phase.start > start:
      progress.say(f"{stage.name}: {phase.name} begins at step {phase.start}")
  profile = StepProfiler(run.folder / "profile", run.profile)
  figures = HealthMonitor(
    stage.name,
    stream.bad,
    bad_steps=schedule.bad_steps,
    collapse=schedule.collapse,
    collapse_after=schedule.collapse_after,
  )
  due = CheckpointSchedule(schedule, run.mesh)
  key = sharding.shard(
    jax.random.key_data(jax.random.key(run.seed)),
    sharding.replicated(run.mesh),
  )
  key = jax.random.wrap_key_data(key)

  def sheets(step: int, state: TrainState) -> None:
    if tools.held_out is not None:
      batch = sharding.shard_batch(tools.held_out, run.mesh)
      cells = tools.show(ema_params(state), state.vars, batch)
      for name, picture in cells.items():
        log.write_image_grid(step, name, np.asarray(picture))

  pending: deque[tuple[int, int, dict[str, Scalars]]] = deque()
  flop_of: dict[str, float | None] = {}  # of the phases that have run
  begin = since = time.monotonic()
  waited = 0.0
  ending = False

  def beginning(phase: str) -> None:
    activity.switch("device" if phase in flop_of else "compile")

  def logging(step: int) -> bool:
    return step % schedule.log_every == 0 or step == run.steps

  def read(waiting: int) -> None:
    """Figures of all steps but the last `waiting`, and lines that are due."""
    nonlocal since, waited
    while len(pending) > waiting:
      done, batch, scalars = pending.popleft()
      figures.add(done, batch, _on_host(scalars))
      if logging(done):
        span = max(time.monotonic() - since, 1e-9)
        log.write_scalars(
          done,
          figures.means()
          | {"data_wait": waited / span}
          | _machine(activity, _flop(stage, flop_of))
          | run.gauges(),
        )
      if logging(done) or done == start + 1:
        since, waited = time.monotonic(), 0.0

  try:
    while step < run.steps and not ending:
      asked = time.monotonic()
      with activity.during("data"):
        host = next(stream)
      waited += time.monotonic() - asked
      profile.before(step + 1)
      # Whatever moves between host and devices in here is meant to.
      with (
        jax.profiler.StepTraceAnnotation(stage.name, step_num=step + 1),
        jax.transfer_guard("disallow"),
      ):
        batch = sharding.shard_batch(host, run.mesh)
        state, scalars = train_step(
          tools.phases, state, batch, key, step, beginning
        )
      for phase, update in tools.phases:
        if phase.name in scalars and phase.name not in flop_of:
          flop_of[phase.name] = _flop_of(update, state, batch, key)
      step += 1
      pending.append((step, stream.number, scalars))
      if step == start + 1:
        jax.block_until_ready(state.step)
        progress.say(
          f"{stage.name}: first step after"
          f" {clock(time.monotonic() - begin)} (compilation)"
        )
        due.begin()
      profile.after(step, [x.vector for x in scalars.values()])

      last = step == run.steps
      ending = tools.stopping(step)
      saving = due(step) or last or ending
      activity.switch("device")
      # The figures of the step before are read while this one is running; a
      # checkpoint waits for its own: what a bad step leads to is not kept.
      read(0 if saving or step == start + 1 else 1)
      activity.switch("step")
      progress.update(step, figures.note)
      activity.switch("evaluation")
      tools.on_step(step, state)
      if last or (schedule.sheet_every and step % schedule.sheet_every == 0):
        sheets(step, state)
      activity.switch("step")
      if last or ending or (saving and not stream.bad):
        with activity.during("save"):
          saved.save(state, stream.get_state(), _meta(run))
        due.done()
      saved.check()
      if step % REPLICA_CHECK_EVERY == 0:
        tools.agree(state.params)
      tools.watch.step = step
      activity.step_done()
    if step == run.steps:
      progress.say(
        f"{stage.name}: step {step}, sha256 {digest(state, stream.get_state())}"
      )
  finally:
    profile.close()
    progress.close()
    log.close()
    activity.switch("init")
  return state, step == run.steps


def _on_host(scalars: dict[str, Scalars]) -> dict[str, float]:
  """{phase/figure: value} of a step; waits for it. One copy a phase."""
  values = jax.device_get({phase: x.vector for phase, x in scalars.items()})
  return {
    f"{phase}/{name}": float(value)
    for phase, x in scalars.items()
    for name, value in zip(x.names, values[phase], strict=True)
  }


def _sheets(stage: Stage, mesh: jax.sharding.Mesh) -> Callable:
  """`inspect` of the first examples of a batch, on every device alike."""
  whole = sharding.replicated(mesh)

  def show(params, vars, batch):
    few = jax.tree.map(lambda x: x[:GRID_EXAMPLES], batch)
    few = jax.lax.with_sharding_constraint(few, whole)
    return stage.sample_grids(params, vars, few)

  return jax.jit(show, out_shardings=whole)


class CheckpointSchedule:
  """When a checkpoint is due: by steps and by time, soon after each start."""

  def __init__(self, schedule: Schedule, mesh: jax.sharding.Mesh):
    """Begins to count when it is told to."""
    self._schedule = schedule
    self._agreed = sharding.AnyProcess(mesh)
    self._limit = schedule.first_seconds
    self._since = time.monotonic()
    self._due = False

  def begin(self) -> None:
    """Time counts from now on."""
    self._since = time.monotonic()

  def __call__(self, step: int) -> bool:
    """Whether one is due; all processes agree."""
    late = time.monotonic() - self._since > self._limit
    self._due |= (
      self._agreed(late)
      or step % self._schedule.save_every == 0
      or step == self._schedule.first_save
    )
    return self._due

  def done(self) -> None:
    """It was saved."""
    self._due, self._limit = False, self._schedule.save_seconds
    self._since = time.monotonic()


def _flop_of(update: Update, *inputs: Any) -> float | None:
  """Floating-point operations of an update; None: not countable."""
  try:
    return update.flop(*inputs)
  except ValueError:  # a loop whose length is not known
    return None


def _flop(stage: Stage, flop_of: dict[str, float | None]) -> float | None:
  """Of a usual step; a phase that is not always due counts by its share."""
  total = 0.0
  for phase in stage.phases:
    if phase.name in flop_of:
      flop = flop_of[phase.name]
      if flop is None:
        return None
      total += flop / phase.every
  return total


def _machine(activity: Activity, flop: float | None) -> dict[str, float]:
  """What the machine is up to: times, rates, shares of its peak, memory."""
  found = {f"machine/{k}": v for k, v in flops.memory().items()}
  seconds, peak = activity.step_seconds, flops.peak()
  if seconds is None:
    return found
  found["machine/step_ms"] = 1e3 * seconds
  if flop is not None:
    found["machine/tflops"] = flop / seconds / 1e12
    if peak is not None:
      found["machine/mfu"] = flop / seconds / peak
  return found


def _start(
  run: StageRun,
  saved: CheckpointManager,
  stream: BatchStream,
  placing: TrainState,
  given: dict[str, tuple[Any, Any]],
  before: int | None,
) -> TrainState:
  """The state to go on from: the newest good one up to a step, or a new one."""
  skipped, rolled = stream.skipped, stream.rolled
  if saved.recover(before) is None:
    stream.rewind()
    state = sharding.shard(init_state(run.stage, run.seed, given), placing)
  else:
    like = jax.eval_shape(lambda: initial(run.stage, run.seed, {}))
    state, position, meta = saved.restore(like, placing)
    changed = _compare(run, saved, meta)
    stream.set_state(position, int(state.step))
    if changed:
      stream.forget()
  stream.skip(skipped)
  stream.rolled = max(stream.rolled, rolled, key=len)
  return state


def _roll_back(
  run: StageRun, stream: BatchStream, error: NotFiniteError
) -> int:
  """Leaves out the bad batches from now on; the step before them.

  Raises:
    TrainingError: it has come to this too often.
  """
  bad = ", ".join(map(str, stream.bad))
  often = [s for s in stream.rolled if s > error.step - ROLLBACK_WINDOW]
  if len(often) >= run.schedule.rollbacks:
    left_out = ", ".join(map(str, sorted(stream.skipped)))
    raise TrainingError(
      f"{error}, batches {bad}; rolled back {len(often)} times within"
      f" {ROLLBACK_WINDOW} steps, without batches {left_out}"
    )
  before = error.step - len(stream.bad)
  stream.skip(stream.bad)
  stream.rolled.append(error.step)
  if jax.process_index() == 0:
    say(f"{error}; going back, and on without batches {bad}")
  return before


def _meta(run: StageRun) -> dict[str, str]:
  """What a checkpoint tells of its origin."""
  mesh = run.mesh
  return run.meta | {
    "topology": f"{mesh.size} x {mesh.devices.flat[0].device_kind},"
    f" data {mesh.shape['data']} x model {mesh.shape['model']},"
    f" processes {jax.process_count()}",
    "batch": str(_batch_size(run.stage)),
    "microbatch": str(run.stage.microbatch),
    "loss_weights": json.dumps(dict(run.stage.weights)),
  }


def _batch_size(stage: Stage) -> int:
  """Examples of an update, on all devices."""
  return jax.tree.leaves(stage.batch)[0].shape[0]


def _compare(
  run: StageRun, saved: CheckpointManager, stored: dict[str, str]
) -> bool:
  """Whether the data are others; tells of that and of other devices.

  Raises:
    ValueError: see `_differs`.
  """
  now, name = _meta(run), f"{saved.folder}/{saved.latest}"
  changed = _differs(run, name, stored)
  if changed and jax.process_index() == 0:
    say(f"{name}: was trained on other data, and goes on with these")
  small = stored.get("microbatch", now["microbatch"])
  if small != now["microbatch"] and jax.process_index() == 0:
    say(
      f"{name}: microbatches were of {small} examples and are of"
      f" {now['microbatch']} now; losses that compare examples differ"
    )
  place = stored.get("topology", now["topology"])
  if place != now["topology"] and jax.process_index() == 0:
    say(
      f"{name}: was saved on {place}, and goes on on {now['topology']}: from"
      " the same state, but not bit for bit"
    )
  return changed


def check(run: StageRun) -> None:
  """Refuses what `fit` would not go on from; changes nothing.

  Raises:
    ValueError: the newest checkpoint is of other data or batches.
    NoCheckpointError: there are checkpoints, and none can be trusted.
  """
  if found := origin(run.folder.parent, run.folder.name):
    path, stored = found
    _differs(run, str(path), stored)


def _differs(run: StageRun, name: str, stored: dict[str, str]) -> bool:
  """Whether the data are others than those of a checkpoint.

  Raises:
    ValueError: they are, and `run.allow_other_data` does not allow it; or
      batches are of another size, and the position in the same data says
      nothing.
  """
  now = _meta(run)
  data = stored.get("dataset")
  changed = data is not None and data != now.get("dataset", data)
  if changed and not run.allow_other_data:
    raise ValueError(
      f"{name}: was trained on other data; config.data.allow_change = True"
      " goes on with these"
    )
  size, stage = _batch_size(run.stage), run.stage.name
  old = int(stored.get("batch", size))
  if "batch" not in stored and "config" in stored:  # of before it was kept
    old = json.loads(stored["config"])[stage]["batch"]
  if old != size and not changed:
    raise ValueError(
      f"{name}: was trained with batches of {old}, and {size} are asked for on"
      f" {run.mesh.shape['data']} devices; config.{stage}.batch={old} goes"
      f" on where the devices divide it and config.{stage}.microbatch divides"
      " what each of them has"
    )
  return changed


def parameters(stage: Stage) -> Iterator[tuple[str, int, bool]]:
  """(group, number of parameters, whether it is trained), without arrays."""
  params, _ = jax.eval_shape(lambda: stage.init(0, {}))
  trained = {g for optim in stage.optims.values() for g in optim.trains}
  for group, tree in params.items():
    size = sum(int(np.prod(x.shape)) for x in jax.tree.leaves(tree))
    yield group, size, group in trained
