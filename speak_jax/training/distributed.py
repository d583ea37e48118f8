"""Several processes, on one machine or many, that train as one.

Every process runs the same command. JAX finds the others by itself under SLURM
and on TPUs; under a Kubernetes JobSet the variables of launch/k8s/jobset.yaml
tell; anywhere else flags do. The processes share their fate: where one is
lost the others end at once, and whoever started them starts all of them again.
"""

import ctypes
import os
import re
import signal
import socket
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, UInt32

from speak_jax.common import exit_codes
from speak_jax.common.progress import say
from speak_jax.training import sharding

# Longer than ours: what JAX does when it gives up is a C++ stack.
PATIENCE = 60  # s
REPLICA_CHECK_EVERY = 1_000  # steps
SAME_SIGNAL = 1.0  # s in which two signals are one
SIGNAL_CODES = {
  signal.SIGTERM: exit_codes.RESTART,
  signal.SIGINT: exit_codes.INTERRUPTED,
}


class ReplicaMismatchError(RuntimeError):
  """Copies of the same parameters are not the same; one line."""


class ProcessSpec(NamedTuple):
  """A process among those that train together."""

  coordinator: str  # HOST:PORT of process 0
  processes: int
  process_id: int


def say_once(text: str) -> None:
  """Prints a line on stderr; process 0 does so for all."""
  if jax.process_index() == 0:
    say(text)


_this: ProcessSpec | None = None  # set by `initialize`


def process_of_flags(
  coordinator: str | None, processes: int | None, process_id: int | None
) -> ProcessSpec | None:
  """The flags --coordinator, --processes and --process-id; None: none is set.

  Raises:
    ValueError: some are missing, or they do not fit together.
  """
  flags = {
    "--coordinator": coordinator,
    "--processes": processes,
    "--process-id": process_id,
  }
  missing = [name for name, value in flags.items() if value is None]
  if len(missing) == len(flags):
    return None
  if coordinator is None or processes is None or process_id is None:
    raise ValueError(f"{', '.join(missing)}: needed with the others")
  if not re.fullmatch(r".+:\d+", coordinator):
    raise ValueError(f"--coordinator {coordinator} is not HOST:PORT")
  if not 0 <= process_id < processes:
    raise ValueError(f"--process-id {process_id} of --processes {processes}")
  return ProcessSpec(coordinator, processes, process_id)


def process_of_jobset(variables: Mapping[str, str]) -> ProcessSpec | None:
  """What launch/k8s/jobset.yaml tells its pods; None: this is none of them.

  Args:
    variables: The environment. Kubernetes itself sets JOB_COMPLETION_INDEX.
  """
  names = ("JOBSET_COORDINATOR", "JOBSET_PROCESSES", "JOB_COMPLETION_INDEX")
  if not all(variables.get(name) for name in names):
    return None
  coordinator, processes, index = (variables[name] for name in names)
  return process_of_flags(coordinator, int(processes), int(index))


def initialize(
  process: ProcessSpec | None,
  *,
  initialization_timeout: int,
  heartbeat_timeout: int,
  shutdown_timeout: int,
) -> None:
  """Meets the other processes; ends this one if they do not come.

  Args:
    process: This one; None: JAX finds it out (SLURM, TPU).
    initialization_timeout: Seconds to wait for all processes; this and what
      follows are the keys of config.cluster.
    heartbeat_timeout: Seconds of silence after which a process is lost.
    shutdown_timeout: Seconds to wait for the others at the end.

  Raises:
    ValueError: JAX does not find it out.
  """
  global _this
  _this = process
  alone = threading.Timer(
    initialization_timeout, _give_up, [initialization_timeout]
  )
  alone.daemon = True
  alone.start()
  known = {}
  if process is not None:
    known = {
      "coordinator_address": process.coordinator,
      "num_processes": process.processes,
      "process_id": process.process_id,
      "cluster_detection_method": "deactivate",
    }
  try:
    jax.distributed.initialize(
      **known,
      initialization_timeout=initialization_timeout + PATIENCE,
      heartbeat_timeout_seconds=heartbeat_timeout,
      shutdown_timeout_seconds=shutdown_timeout,
    )
  except ValueError as error:
    if process is not None or "defined" not in str(error):
      raise
    raise ValueError(
      "--distributed: this is no SLURM step, JobSet or TPU pod; give"
      " --coordinator HOST:PORT, --processes and --process-id"
    ) from None
  except RuntimeError as error:
    say(f"train: {_who()}: {_first_line(error)}")
    os._exit(exit_codes.PEER_LOST)
  finally:
    alone.cancel()
  # Where process 0 is lost, or one says nothing more, JAX's own thread aborts
  # the process. Python's `signal` would answer in the main thread, too late.
  set_handler: Any = ctypes.CDLL(None).signal
  set_handler(int(signal.SIGABRT), _ON_ABORT)


def _on_abort(number: int) -> None:
  """Ends an aborted process with a code that launchers know."""
  del number
  # Not `say`: the thread that draws a bar may hold its lock.
  print(
    f"train: {_who()}: aborted by JAX, as it does where another process is gone"
    " or silent; its own words are above",
    file=sys.stderr,
    flush=True,
  )
  os._exit(exit_codes.PEER_LOST)


_ON_ABORT = ctypes.CFUNCTYPE(None, ctypes.c_int)(_on_abort)  # C keeps no count


def _give_up(seconds: float) -> None:
  """Ends the process: JAX would, but not in one line."""
  say(
    f"train: {_who()}: not all processes came within {seconds} s; was every"
    " host started, with the same command, and can it reach that port (names,"
    " firewall, HTTP_PROXY)?"
  )
  os._exit(exit_codes.PEER_LOST)


def _who() -> str:
  """This process in words, as far as the flags or the JobSet tell."""
  if _this is None:  # JAX alone knows, and has no public name for it
    return f"a process on {socket.gethostname()}"
  return (
    f"process {_this.process_id} of {_this.processes}, coordinator"
    f" {_this.coordinator}"
  )


def barrier(name: str) -> None:
  """Waits until every process has come here."""
  if jax.process_count() > 1:
    multihost_utils.sync_global_devices(name)


def gather_to_host(tree: Any) -> Any:
  """Arrays in full, on the host; every process must call.

  Args:
    tree: Arrays; of several processes, each may hold its share of one.

  Returns:
    NumPy arrays in their places.
  """

  def whole(x: Any) -> np.ndarray:
    if isinstance(x, jax.Array) and not (
      x.is_fully_addressable or x.is_fully_replicated
    ):
      x = multihost_utils.process_allgather(x, tiled=True)
    return np.asarray(jax.device_get(x))

  return jax.tree.map(whole, tree)


def is_peer_error(error: BaseException) -> bool:
  """Whether an error tells of other processes: XLA's begin with a status."""
  return jax.distributed.is_initialized() and bool(
    re.match(r"[A-Z]{2,}(_[A-Z]+)*: ", str(error))
  )


def exit_process(code: int) -> int:
  """Ends a process of several; the only one of its run gets its code back.

  An orderly end waits for the others, since process 0 is whom they ask. Any
  other is at once: the interpreter's own end would wait for the lost.
  """
  if not jax.distributed.is_initialized():
    return code
  if code in (exit_codes.DONE, *SIGNAL_CODES.values()):
    jax.distributed.shutdown()
  sys.stdout.flush()
  sys.stderr.flush()
  os._exit(code)


class PreemptionHandler:
  """Whether a signal asked for an end, which all processes hear of."""

  def __init__(self):
    """Nothing was asked yet."""
    self.code = exit_codes.DONE
    self.step = 0  # the last one done
    self._asked = 0.0
    self._calls = 0

  def install(self) -> None:
    """Takes over SIGTERM and SIGINT; of several processes JAX has SIGTERM."""
    if jax.process_count() > 1:
      signal.signal(signal.SIGINT, self._pass_on)
    else:
      for number in SIGNAL_CODES:
        signal.signal(number, self._on)

  def _on(self, number, frame) -> None:
    """The first signal is remembered; Ctrl-C, later on, ends at once.

    Whoever stops a group of processes may well send the same signal twice,
    to the group and to this one: that is one wish, and it gets its
    checkpoint.
    """
    del frame
    now = time.monotonic()
    if not self.code:
      self.code, self._asked = SIGNAL_CODES[number], now
      say("train: stopping after this step, with a checkpoint; Ctrl-C: at once")
    elif number == signal.SIGINT and now - self._asked > SAME_SIGNAL:
      os._exit(self.code)

  def _pass_on(self, number, frame) -> None:
    """Ctrl-C in one of several processes is a wish that all should end."""
    del frame
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGTERM)

  def __call__(self, step: int) -> bool:
    """Whether to save and end now, at the same step in every process.

    JAX settles on a step that none has reached yet; it asks for a number that
    never falls, and a stage's steps begin at 0.
    """
    self.step = step
    if jax.process_count() > 1:
      self._calls += 1
      if multihost_utils.reached_preemption_sync_point(self._calls):
        self.code = exit_codes.RESTART
    return bool(self.code)


class ReplicaCheck:
  """Finds out whether all devices hold the same copies of the same arrays."""

  def __init__(self, mesh: Mesh):
    """Nothing is compiled yet."""
    self._mesh = mesh
    self._prints = jax.jit(
      jax.shard_map(
        _fingerprint,
        mesh=mesh,
        in_specs=PartitionSpec(),
        out_specs=PartitionSpec(mesh.axis_names),
        check_vma=False,
      ),
      out_shardings=sharding.replicated(mesh),
    )

  def __call__(self, step: int, tree: Any) -> None:
    """Compares the arrays that every device has in full, now and then.

    Args:
      step: One in `REPLICA_CHECK_EVERY` is looked at.
      tree: Arrays on all devices.

    Raises:
      ReplicaMismatchError: naming the processes with other copies than most.
    """
    if self._mesh.size == 1 or step % REPLICA_CHECK_EVERY:
      return
    copies = [x for x in jax.tree.leaves(tree) if x.is_fully_replicated]
    prints = np.asarray(self._prints(copies))
    kinds, counts = np.unique(prints, axis=0, return_counts=True)
    if len(kinds) == 1:
      return
    usual = kinds[counts == counts.max()]
    odd = {
      device.process_index
      for device, one in zip(self._mesh.devices.flat, prints, strict=True)
      if len(usual) > 1 or (one != usual[0]).any()
    }
    raise ReplicaMismatchError(
      "copies of the same parameters differ (a broken device or memory?):"
      f" process {', '.join(map(str, sorted(odd)))} of {jax.process_count()}"
      + (" do not agree" if len(usual) > 1 else " has others than most")
    )


def _fingerprint(arrays: Sequence[Array]) -> UInt32[Array, "1 2"]:
  """64 bits of this device's arrays; one changed element always changes them.

  Sums modulo 2^32 of the elements' bits, plain and stirred, each times an odd
  number of its own.
  """
  fingerprint = jnp.zeros(2, jnp.uint32)
  for x in arrays:
    bits = _bits(x)
    stirred = (bits ^ (bits >> 16)) * jnp.uint32(0x7FEB352D)
    stirred ^= stirred >> 15
    odd = 2 * jnp.arange(bits.size, dtype=jnp.uint32) + 1
    sums = jnp.stack([(bits * odd).sum(), (stirred * odd).sum()])
    fingerprint = fingerprint * jnp.uint32(0x9E3779B1) + sums.astype(jnp.uint32)
  return fingerprint[None]


def _bits(x: Array) -> UInt32[Array, " n"]:
  """An array's bits, element by element."""
  if x.dtype == jnp.bool_:
    x = x.astype(jnp.uint8)
  unsigned = {1: jnp.uint8, 2: jnp.uint16}.get(x.dtype.itemsize, jnp.uint32)
  bits = jax.lax.bitcast_convert_type(x, unsigned)
  return bits.astype(jnp.uint32).ravel()


def _first_line(error: BaseException) -> str:
  return str(error).splitlines()[0] if str(error) else type(error).__name__
