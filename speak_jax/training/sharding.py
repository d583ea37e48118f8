"""Where arrays live: a mesh of devices, and a rule for every array.

Axis `data` splits batches, axis `model` splits large arrays. Everything runs
under `jax.jit` with `NamedSharding` (what used to be called pjit); the mesh's
axes are Auto, so XLA places the collectives, but for gradients: step.py says
when these are summed over `data`.
"""

import math
import re
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import Int

# How a parameter's name ends, and which of its axes `model` splits; the first
# that fits counts. Layers split what they put out, those that end a block
# what they take in: between the two nothing has to be gathered.
RULES = (
  (r"(^|/)(out_proj|output)/kernel$", -2),
  (r"(^|/)kernel$", -1),
  (r"(^|/)base$", -1),  # B_l of all levels
)


def make_mesh(
  data: int, model: int, devices: Sequence[Any] | None = None
) -> Mesh:
  """Devices as `data` x `model`; data = -1 takes what is left.

  Args:
    data: Devices that share a batch.
    model: Devices that share the large arrays.
    devices: Which; None: all that there are.

  Raises:
    ValueError: the devices do not divide that way.
  """
  devices = jax.devices() if devices is None else devices
  count = len(devices)
  if data == -1 and not count % model:
    data = count // model
  if data * model != count:
    raise ValueError(
      f"config.mesh: {data} x {model} (data x model) is not {count} devices"
    )
  return jax.make_mesh(
    (data, model),
    ("data", "model"),
    axis_types=(AxisType.Auto,) * 2,
    devices=devices,
  )


def replicated(mesh: Mesh) -> NamedSharding:
  """A copy on every device."""
  return NamedSharding(mesh, PartitionSpec())


def batch_sharding(mesh: Mesh) -> NamedSharding:
  """The first axis split over `data`."""
  return NamedSharding(mesh, PartitionSpec("data"))


def state_sharding(tree: Any, mesh: Mesh, min_shard_size: int) -> Any:
  """A sharding for every array of a tree, by its name; see `RULES`.

  Args:
    tree: Arrays or their shapes. Optimizer state and averages repeat the
      parameters' names, and so their shardings.
    mesh: From `make_mesh`.
    min_shard_size: Elements from which an array is split over `model`;
      smaller ones are copied, and so is one whose axis does not divide.
  """
  parts = mesh.shape["model"]

  def rule(path, x) -> NamedSharding:
    axis = split_axis(jax.tree_util.keystr(path, simple=True, separator="/"))
    if parts == 1 or axis is None or math.prod(x.shape) < min_shard_size:
      return replicated(mesh)
    axis %= x.ndim
    if x.shape[axis] % parts:
      return replicated(mesh)
    return NamedSharding(mesh, PartitionSpec(*[None] * axis, "model"))

  return jax.tree_util.tree_map_with_path(rule, tree)


def split_axis(name: str) -> int | None:
  """The axis of a named array that `model` splits; None: it is copied."""
  return next((axis for end, axis in RULES if re.search(end, name)), None)


def shard(tree: Any, shardings: Any) -> Any:
  """Arrays that every process holds in full, put where they belong.

  Always fresh buffers: the loop donates its state.
  """

  def put(x, sharding):
    host = np.array(x)
    return jax.make_array_from_callback(
      host.shape, sharding, lambda part: host[part]
    )

  return jax.tree.map(put, tree, shardings)


def data_shard(mesh: Mesh) -> tuple[int, int]:
  """Which part of a batch this process reads, and of how many.

  Raises:
    ValueError: see `data_shard_of`.
  """
  owners = [device.process_index for device in mesh.devices.flat]
  grid = np.reshape(owners, (mesh.shape["data"], mesh.shape["model"]))
  return data_shard_of(grid, jax.process_index())


def data_shard_of(owners: Int[np.ndarray, "d m"], rank: int) -> tuple[int, int]:
  """Which part of a batch process `rank` reads, and of how many.

  Processes whose devices share a model, and so examples, read the same part.

  Args:
    owners: The process of each device of a mesh, data x model.
    rank: Whose part.

  Raises:
    ValueError: processes would read unequal parts, or parts that overlap.
  """
  rows = [frozenset(row.tolist()) for row in owners]
  groups = list(dict.fromkeys(rows))
  size = len(rows) // len(groups)
  even = rows == [group for group in groups for _ in range(size)]
  if not even or sum(map(len, groups)) != len(frozenset().union(*groups)):
    raise ValueError(
      f"config.mesh: model = {owners.shape[1]} does not divide over the devices"
      f" of {len(np.unique(owners))} processes"
    )
  return next(i for i, g in enumerate(groups) if rank in g), len(groups)


def shard_batch(batch: Any, mesh: Mesh) -> Any:
  """This process's share of a batch, as arrays split over `data`."""
  sharding = batch_sharding(mesh)
  # To JAX it is no explicit transfer where processes share their examples.
  with jax.transfer_guard_host_to_device("allow"):
    return jax.tree.map(
      lambda x: jax.make_array_from_process_local_data(sharding, np.asarray(x)),
      batch,
    )


class AnyProcess:
  """Lets all processes do what one of them finds right, at the same step.

  With several processes the answer to one question comes with the next: by
  then it is there, and nobody waits for it.
  """

  def __init__(self, mesh: Mesh):
    """Nothing was asked yet."""
    self._spread = NamedSharding(mesh, PartitionSpec(mesh.axis_names))
    self._any = jax.jit(jax.numpy.any, out_shardings=replicated(mesh))
    self._asked: jax.Array | None = None

  def __call__(self, wish: bool) -> bool:
    """Whether any process wished for it, now or, of several, just before."""
    if jax.process_count() == 1:
      return wish
    before = self._asked
    mine = np.full(jax.local_device_count(), wish)
    self._asked = self._any(
      jax.make_array_from_process_local_data(self._spread, mine)
    )
    return before is not None and bool(jax.device_get(before))
