"""Compiles a stage's programs for a machine and measures them."""

import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
from ml_collections import ConfigDict

from speak_jax.nn import precision
from speak_jax.stages.base import Stage
from speak_jax.supervision import flops
from speak_jax.tools.compile_for import hlo
from speak_jax.tools.compile_for.chips import Machine
from speak_jax.training import microbatches, sharding, state, step


class Program(NamedTuple):
  """One compiled program of a phase, on one of the devices."""

  stage: str
  phase: str
  name: str  # "single", or "accumulate" and "finish"
  batch: int  # examples of an update, on all devices
  microbatch: int
  turns: int  # how often it runs in an update
  seconds: float  # to compile, on this machine
  arguments: int  # bytes
  outputs: int  # that are no argument's memory given back
  temporaries: int
  code: int
  gflop: float  # of one run, on one device
  accessed: float  # bytes read and written; NaN where XLA does not say
  summary: hlo.Summary

  @property
  def peak(self) -> int:
    """Bytes that it needs of a device at most."""
    return self.arguments + self.outputs + self.temporaries + self.code


def config_for(config: ConfigDict, machine: Machine) -> ConfigDict:
  """A config with the type that the machine computes in at speed."""
  dtype = precision.resolve(config.model.dtype, machine.devices[0])
  return precision.with_dtype(config, dtype)


def mesh_of(config: ConfigDict, machine: Machine) -> jax.sharding.Mesh:
  """The config's mesh over the machine's devices.

  Raises:
    ValueError: the devices do not divide that way.
  """
  return sharding.make_mesh(
    config.mesh.data, config.mesh.model, machine.devices
  )


def compiled(
  config: ConfigDict, name: str, machine: Machine
) -> Iterator[Program]:
  """Compiles every phase of a stage, one by one.

  Args:
    config: From `config_for`.
    name: Of the stage.
    machine: Where it would run.

  Raises:
    ValueError: the batch does not divide, or the compiler refuses a program;
      one line.
  """
  mesh = mesh_of(config, machine)
  alone = ConfigDict(config.to_dict())
  alone.stages = (name,)
  fitted, stages, _ = microbatches.fit_to_devices(
    alone.lock(), mesh.shape["data"]
  )
  stage, settings = stages[name], fitted[name]
  turns = microbatches.accumulation_steps(
    stage, settings.batch, mesh.shape["data"]
  )
  for phase, update, inputs in _updates(stage, config, mesh):
    for program, traced in update.traced(*inputs).items():
      start = time.perf_counter()
      try:
        made = traced.lower().compile(dict(machine.options))
      except jax.errors.JaxRuntimeError as error:
        line = str(error).partition("\n")[0]
        raise ValueError(
          f"{machine.name}: {name}, {phase.name}: {program} does not compile:"
          f" {line}"
        ) from error
      seconds = time.perf_counter() - start
      memory: Any = made.memory_analysis()
      cost = made.cost_analysis() or {}
      yield Program(
        stage=name,
        phase=phase.name,
        name=program,
        batch=settings.batch,
        microbatch=settings.microbatch,
        turns=1 if program == "finish" else turns,
        seconds=seconds,
        arguments=memory.argument_size_in_bytes,
        outputs=memory.output_size_in_bytes - memory.alias_size_in_bytes,
        temporaries=memory.temp_size_in_bytes,
        code=memory.generated_code_size_in_bytes,
        gflop=2e-9 * flops.count(traced.jaxpr.jaxpr),
        accessed=cost.get("bytes accessed", float("nan")),
        summary=hlo.summary(made.as_text() or ""),
      )


def _updates(
  stage: Stage, config: ConfigDict, mesh: jax.sharding.Mesh
) -> Iterator[tuple[Any, step.Update, tuple[Any, Any, Any]]]:
  """(phase, update, shapes of what it takes) of every phase."""
  current = state.abstract_state(stage)
  placing = sharding.state_sharding(current, mesh, config.mesh.min_shard_size)
  key = jax.eval_shape(lambda: jax.random.key(0))
  for phase, update in step.jit_phases(stage, placing, mesh):
    yield phase, update, (current, stage.batch, key)


def largest_microbatch(
  config: ConfigDict, name: str, machine: Machine, least: int
) -> tuple[int, list[Program]] | None:
  """The largest microbatch whose programs fit, below the config's own.

  Args:
    config: From `config_for`; its own microbatch does not fit.
    name: Of the stage.
    machine: Where it would run.
    least: The smallest that there may be; all are multiples of it.

  Returns:
    It and its programs; None: not even the least fits.
  """
  low, best = 0, None  # in units of `least`: what fits
  high = config[name].microbatch // least  # what does not
  while high - low > 1:
    middle = (low + high) // 2
    smaller = ConfigDict(config.to_dict())
    smaller[name].microbatch = middle * least
    programs = list(compiled(smaller.lock(), name, machine))
    if fit(programs, machine):
      low, best = middle, (programs[0].microbatch, programs)
    else:
      high = middle
  return best


def fit(programs: Sequence[Program], machine: Machine) -> bool:
  """Whether all of them fit into a device of the machine."""
  return all(program.peak <= machine.room for program in programs)
