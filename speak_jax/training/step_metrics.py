"""What a run tells of its steps: health, lines of metrics.jsonl, a bar."""

import time
from collections import deque
from typing import Any

import jax
import numpy as np

from speak_jax.common.progress import Progress, clock
from speak_jax.stages.base import Phase
from speak_jax.supervision import flops
from speak_jax.supervision.activity import Activity
from speak_jax.training.health import HealthMonitor
from speak_jax.training.metric_writer import MetricWriter
from speak_jax.training.scalars import Scalars
from speak_jax.training.stage_run import StageRun
from speak_jax.training.step import Update
from speak_jax.training.stream import BatchStream


class StepMetrics:
  """Reads the figures of steps when they are there, and passes them on.

  Devices work behind the host: the figures of a step are read while the next
  one is running, so that nobody waits for them.
  """

  def __init__(
    self, run: StageRun, start: int, stream: BatchStream, activity: Activity
  ):
    """Opens the files; lines from beyond `start` are dropped.

    Args:
      run: What is trained.
      start: Steps done before.
      stream: Knows which batches were bad.
      activity: Knows where time goes.
    """
    first, settings = jax.process_index() == 0, run.settings
    self._run, self._start, self._activity = run, start, activity
    self._writer = MetricWriter(run.folder, start, first)
    self._progress = Progress(
      run.stage.name, "step", run.steps, start, shown=first
    )
    self._health = HealthMonitor(
      run.stage.name,
      stream.bad,
      bad_steps=settings.bad_steps,
      collapse=settings.collapse,
      collapse_after=settings.collapse_after,
    )
    self._pending: deque[tuple[int, int, dict[str, Scalars]]] = deque()
    self._flop: dict[str, float | None] = {}  # of the phases that have run
    self._step = start
    self._began = time.monotonic()
    self._restart_clock()
    for phase in run.stage.phases:
      if phase.start > start:
        self.say(f"{phase.name} begins at step {phase.start}")

  def __enter__(self) -> "StepMetrics":
    """Returns itself."""
    return self

  def __exit__(self, *_: object) -> None:
    """Closes the bar and the files."""
    self._progress.close()
    self._writer.close()

  def say(self, line: str) -> None:
    """Prints a line about the stage; process 0 does so for all."""
    self._progress.say(f"{self._run.stage.name}: {line}")

  def begin(self, phase: Phase) -> None:
    """Says what running a phase is: the first time it compiles."""
    self._activity.switch("device" if phase.name in self._flop else "compile")

  def count_flop(
    self, updates: list[tuple[Phase, Update]], *inputs: Any
  ) -> None:
    """Counts what the updates of the step just added compute, once each.

    Args:
      updates: From `step.jit_phases`.
      *inputs: State, batch and key; their shapes count.
    """
    _, _, scalars = self._pending[-1]
    for phase, update in updates:
      if phase.name in scalars and phase.name not in self._flop:
        try:
          self._flop[phase.name] = update.flop(*inputs)
        except ValueError:  # a loop whose length is not known
          self._flop[phase.name] = None

  def add(self, step: int, batch: int, scalars: dict[str, Scalars]) -> None:
    """Takes the figures of a step, which may still be in the making.

    Args:
      step: Steps done, this one included.
      batch: Number of its batch.
      scalars: {phase: figures}.
    """
    self._pending.append((step, batch, scalars))
    self._step = step
    if step == self._start + 1:
      jax.block_until_ready([x.vector for x in scalars.values()])
      took = clock(time.monotonic() - self._began)
      self.say(f"first step after {took} (compilation)")

  def flush(self, keep: int) -> None:
    """Reads the figures of all steps but the last `keep`; writes what is due.

    Those of a start's first step are read at once: it was waited for.

    Raises:
      NotFiniteError: too many bad steps in a row.
      TrainingError: a code has collapsed.
    """
    run = self._run
    first = self._step == self._start + 1
    while len(self._pending) > (0 if first else keep):
      step, batch, scalars = self._pending.popleft()
      self._health.add(step, batch, _on_host(scalars))
      due = step % run.settings.log_every == 0 or step == run.steps
      if due:
        self._writer.write_scalars(
          step,
          self._health.means()
          | {"data_wait": self._data_wait()}
          | self._machine()
          | run.gauges(),
        )
      if due or step == self._start + 1:
        self._restart_clock()
    self._progress.update(self._step, self._health.note)

  def write_grids(self, step: int, grids: dict[str, np.ndarray]) -> None:
    """Writes pictures, {name: uint8 (rows, columns, h, w, 3)}."""
    for name, cells in grids.items():
      self._writer.write_image_grid(step, name, cells)

  def _restart_clock(self) -> None:
    self._since = time.monotonic()
    self._data_before = self._activity.total("data")

  def _data_wait(self) -> float:
    """Share of the time since the last line in which data were waited for."""
    waited = self._activity.total("data") - self._data_before
    return waited / max(time.monotonic() - self._since, 1e-9)

  def _machine(self) -> dict[str, float]:
    """Step time, rates, share of the devices' peak, memory."""
    figures = {f"machine/{k}": v for k, v in flops.memory().items()}
    seconds, peak = self._activity.step_seconds, flops.peak()
    if seconds is None:
      return figures
    figures["machine/step_ms"] = 1e3 * seconds
    if (flop := self._step_flop()) is not None:
      figures["machine/tflops"] = flop / seconds / 1e12
      if peak is not None:
        figures["machine/mfu"] = flop / seconds / peak
    return figures

  def _step_flop(self) -> float | None:
    """Of a usual step; a phase that is not always due counts by its share."""
    total = 0.0
    for phase in self._run.stage.phases:
      flop = self._flop.get(phase.name, 0.0)
      if flop is None:
        return None
      total += flop / phase.every
    return total


def _on_host(scalars: dict[str, Scalars]) -> dict[str, float]:
  """{phase/figure: value} of a step; waits for it. One copy a phase."""
  values = jax.device_get({phase: x.vector for phase, x in scalars.items()})
  return {
    f"{phase}/{name}": float(value)
    for phase, x in scalars.items()
    for name, value in zip(x.names, values[phase], strict=True)
  }
