"""Several processes: who is who, what is asked of all, and what is compared."""

import os
import signal

import jax
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from speak_jax.common import exit_codes
from speak_jax.training import distributed, sharding


def test_place_of_flags():
  assert distributed.process_of_flags(None, None, None) is None
  place = distributed.process_of_flags("host:1", 2, 1)
  assert place == distributed.ProcessSpec("host:1", 2, 1)


@pytest.mark.parametrize(
  ("flags", "line"),
  [
    (("host:1", None, None), "--processes, --process-id: needed"),
    (("host:1", None, 0), "--processes: needed"),
    (("host", 2, 0), "not HOST:PORT"),
    (("host:1", 2, 2), "--process-id 2 of --processes 2"),
    (("host:1", 2, -1), "--process-id -1"),
  ],
)
def test_half_a_place_is_refused(flags, line):
  with pytest.raises(ValueError, match=line):
    distributed.process_of_flags(*flags)


def test_place_of_jobset():
  told = {"JOBSET_COORDINATOR": "a-0-0.a:8", "JOBSET_PROCESSES": "4"}
  assert distributed.process_of_jobset(told) is None
  place = distributed.process_of_jobset(told | {"JOB_COMPLETION_INDEX": "3"})
  assert place == distributed.ProcessSpec("a-0-0.a:8", 4, 3)


@pytest.mark.parametrize(
  ("text", "peers"),
  [
    ("UNKNOWN: Gloo all-reduce failed: Connection closed by peer", True),
    ("DEADLINE_EXCEEDED: Barrier timed out", True),
    ("config.mesh: 2 x 3 (data x model) is not 8 devices", False),
    ("A: what", False),
  ],
)
def test_errors_of_peers_begin_with_a_status(monkeypatch, text, peers):
  assert not distributed.is_peer_error(ValueError(text))  # there are none
  monkeypatch.setattr(jax.distributed, "is_initialized", lambda: True)
  assert distributed.is_peer_error(ValueError(text)) == peers


@pytest.mark.parametrize(
  ("number", "code"), list(distributed.SIGNAL_CODES.items())
)
def test_a_signal_stops_after_the_step(number, code):
  before = {n: signal.getsignal(n) for n in distributed.SIGNAL_CODES}
  preemption = distributed.PreemptionHandler()
  try:
    preemption.install()
    assert not preemption(6)
    os.kill(os.getpid(), number)
    assert preemption(7)
  finally:
    for n, handler in before.items():
      signal.signal(n, handler)
  assert (preemption.code, preemption.step) == (code, 7)


def test_stages_do_not_turn_the_clock_back(monkeypatch):
  """Of several processes JAX is asked with numbers that only rise."""
  asked = []

  def reached(number: int) -> bool:
    asked.append(number)
    return number == 4

  monkeypatch.setattr(jax, "process_count", lambda: 2)
  monkeypatch.setattr(
    distributed.multihost_utils, "reached_preemption_sync_point", reached
  )
  preemption = distributed.PreemptionHandler()
  answers = [preemption(step) for step in (1, 2, 1, 2)]
  assert asked == [1, 2, 3, 4]
  assert answers == [False, False, False, True]
  assert preemption.code == exit_codes.RESTART


def copies(mesh: jax.sharding.Mesh, *values: np.ndarray) -> jax.Array:
  """An array that should be the same on all devices, and need not be."""
  whole = NamedSharding(mesh, PartitionSpec())
  parts = [
    jax.device_put(value, device)
    for value, device in zip(values, mesh.devices.flat, strict=True)
  ]
  return jax.make_array_from_single_device_arrays(values[0].shape, whole, parts)


@pytest.mark.parametrize("dtype", [np.float32, np.int32, np.uint8, np.bool_])
def test_one_bit_is_found(dtype):
  mesh = sharding.make_mesh(-1, 1)
  rng = np.random.default_rng(0)
  good = rng.integers(0, 2, (5, 7)).astype(dtype)
  bad = good.copy()
  bad.view(np.uint8).flat[-bad.itemsize] ^= 1
  check = distributed.ReplicaCheck(mesh)
  other = copies(mesh, *[rng.random(3, np.float32)] * mesh.size)
  check(0, {"a": copies(mesh, *[good] * mesh.size), "b": other})
  mixed = copies(mesh, *[good] * (mesh.size - 1), bad)
  with pytest.raises(distributed.ReplicaMismatchError, match="process 0 of 1"):
    check(0, {"a": mixed, "b": other})


def test_exchanged_elements_are_found():
  mesh = sharding.make_mesh(-1, 1)
  row = np.arange(8, dtype=np.float32)
  mixed = copies(mesh, *[row] * (mesh.size - 1), row[::-1].copy())
  with pytest.raises(distributed.ReplicaMismatchError):
    distributed.ReplicaCheck(mesh)(0, [mixed])


def test_split_arrays_are_left_out():
  mesh = sharding.make_mesh(-1, 1)
  split = NamedSharding(mesh, PartitionSpec("data"))
  rows = jax.device_put(np.arange(4.0 * mesh.size), split)
  distributed.ReplicaCheck(mesh)(
    0, [rows, copies(mesh, *[np.ones(3)] * mesh.size)]
  )
