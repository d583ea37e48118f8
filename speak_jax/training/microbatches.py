"""How a batch is shared out: over devices, and over time on each.

`config.<stage>.batch` is the number of examples of an update, on all devices
together. `config.<stage>.microbatch` is how many a device has in memory at
once; only they are compared with each other (swaps, covariances, standard
deviations, batch statistics). Microbatches are numbered through the batch and
each device computes a run of them, so that an update is the same on any number
of devices, but for rounding; see `plan` for where that cannot be.
"""

from typing import Any, NamedTuple

from ml_collections import ConfigDict

from speak_jax.stages.base import Stage
from speak_jax.stages.registry import STAGES


class Plan(NamedTuple):
  """What an update consists of."""

  batch: int  # examples on all devices
  microbatch: int  # examples that a device holds at once


def plan(batch: int, microbatch: int, devices: int, together: int = 1) -> Plan:
  """The batch and microbatch for a number of devices.

  A device computes its share of the batch in as few turns as `microbatch`
  allows, all of the same size, the least that holds the share: two turns or
  more are larger than half of `microbatch`. The batch grows to what they hold.
  `base256` on 8 devices has what it asks for.

  Args:
    batch: Wanted examples of an update.
    microbatch: The most that a device can hold.
    devices: That share a batch, `mesh.shape["data"]`.
    together: A microbatch is a multiple of it: 2 where examples are swapped.

  Raises:
    ValueError: there is no such microbatch.
  """
  if batch < 1 or microbatch < together:
    raise ValueError(
      f"batch {batch} in microbatches of {microbatch}: needs microbatches of"
      f" at least {together}"
    )
  groups = -(-batch // (devices * together))  # of `together`, of a device
  turns = -(-groups // (microbatch // together))
  size = -(-groups // turns) * together
  return Plan(devices * turns * size, size)


def could_be_plan_of(actual: Plan, requested: Plan, together: int = 1) -> bool:
  """Whether a plan is what `plan` makes of another, on some devices.

  Args:
    actual: Of a run, of whose devices nothing is known.
    requested: Its batch and microbatch as they were asked for.
    together: See `plan`.

  Raises:
    ValueError: there is no such microbatch.
  """
  counts = (n for n in range(1, actual.batch + 1) if actual.batch % n == 0)
  return any(plan(*requested, n, together) == actual for n in counts)


def accumulation_steps(stage: Stage, size: int, devices: int) -> int:
  """Accumulation steps: microbatches that each device computes in an update.

  Args:
    stage: Gives the microbatch.
    size: Of the batch.
    devices: That share it.

  Raises:
    ValueError: the batch does not divide.
  """
  count, rest = divmod(size, devices * stage.microbatch)
  if rest or not count or stage.microbatch % stage.together:
    raise ValueError(
      f"{stage.name}: a batch of {size} does not divide into microbatches of"
      f" {stage.microbatch} on {devices} devices (multiples of"
      f" {stage.together})"
    )
  return count


def fit_to_devices(
  config: ConfigDict, devices: int
) -> tuple[ConfigDict, dict[str, Stage], list[str]]:
  """A config with batches for some devices, its stages, and what to say.

  Args:
    config: Of a run; not changed.
    devices: That share a batch, `mesh.shape["data"]`.

  Returns:
    The config with every stage's `plan`, {name: stage} of config.stages, and
    a line for every stage whose batch or microbatch is not what was asked for.

  Raises:
    ValueError: naming the stage whose microbatch is too small.
  """
  config = ConfigDict(config.to_dict())
  stages, lines = {}, []
  for name in config.stages:
    settings: Any = config[name]
    requested = Plan(settings.batch, settings.microbatch)
    try:
      actual = plan(*requested, devices, STAGES[name].make(config).together)
    except ValueError as error:
      raise ValueError(f"config.{name}: {error}") from error
    settings.batch, settings.microbatch = actual
    stages[name] = STAGES[name].make(config)
    if actual != requested:
      lines.append(
        f"{name}: for {devices} devices batch {requested.batch} ->"
        f" {actual.batch},"
        f" microbatch {requested.microbatch} -> {actual.microbatch}"
      )
  return config.lock(), stages, lines
