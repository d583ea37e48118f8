"""Machines that programs are compiled for, none of which need be there.

XLA's own compilers make the programs: that of TPUs is in the package libtpu,
that of NVIDIA's GPUs in jax-cuda13-plugin and jax-cuda13-pjrt. For Volta and
older the same of CUDA 12 are needed, and its ptxas in the PATH.
"""

import importlib.util
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from jax.experimental import topologies

_GIB = 1 << 30


class Gpu(NamedTuple):
  """What XLA asks of a GPU, as its makers and drivers state it."""

  capability: tuple[int, int]
  cores: int  # streaming multiprocessors
  lanes: int  # float32 units of one
  shared: int  # bytes of shared memory of a core
  shared_block: int  # of these for one block, where it asks for them
  bandwidth: int  # bytes/s of the memory
  cache: int  # bytes, level 2
  clock: float  # GHz


class Chip(NamedTuple):
  """A kind of device."""

  title: str
  memory: int  # bytes
  usable: float  # share of them that programs can have
  gpu: Gpu | None = None  # None: a TPU


_CUDA_13 = (7, 5)  # the oldest capability that it makes programs for
# JAX takes three quarters of a GPU's memory at its start.
_TAKEN = 0.75
CHIPS: Mapping[str, Chip] = {
  "v4": Chip("TPU v4", 32 * _GIB, 0.97),
  "v5e": Chip("TPU v5e", 16 * _GIB, 0.97),
  "v5p": Chip("TPU v5p", 95 * _GIB, 0.97),
  "v6e": Chip("TPU v6e", 32 * _GIB, 0.97),
  "v100": Chip(
    "V100 16 GB",
    16_935_682_048,
    _TAKEN,
    Gpu((7, 0), 80, 64, 98_304, 98_304, 898 * 10**9, 6 << 20, 1.53),
  ),
  "a100": Chip(
    "A100 80 GB",
    85_100_068_864,
    _TAKEN,
    Gpu((8, 0), 108, 64, 167_936, 166_912, 2_039 * 10**9, 40 << 20, 1.41),
  ),
  "h100": Chip(
    "H100 80 GB",
    84_942_979_072,
    _TAKEN,
    Gpu((9, 0), 132, 128, 233_472, 232_448, 3_352 * 10**9, 50 << 20, 1.98),
  ),
  "h200": Chip(
    "H200 141 GB",
    151_397_597_184,
    _TAKEN,
    Gpu((9, 0), 132, 128, 233_472, 232_448, 4_800 * 10**9, 50 << 20, 1.98),
  ),
}


class Machine(NamedTuple):
  """Devices of one kind."""

  name: str  # as it was asked for
  chip: Chip
  devices: Sequence[Any]  # of JAX; they compile and do not run
  options: Mapping[str, Any]  # of the compiler

  @property
  def room(self) -> int:
    """Bytes of a device that programs can have."""
    return int(self.chip.memory * self.chip.usable)


def machine(name: str) -> Machine:
  """Looks a machine up, such as v5e:4x4, v5p:2x2x2, h200:8 or v100:8.

  Behind the colon is the shape of a TPU's slice, or how many GPUs.

  Raises:
    ValueError: no such machine, or its compiler is not installed; one line.
  """
  kind, _, shape = name.partition(":")
  if kind not in CHIPS or not re.fullmatch(r"\d+(x\d+)*", shape):
    raise ValueError(
      f"--topology {name}: not KIND:SHAPE with a kind of {', '.join(CHIPS)},"
      " as in v5e:4x4 and h200:8"
    )
  chip = CHIPS[kind]
  old = chip.gpu is not None and chip.gpu.capability < _CUDA_13
  if old and importlib.util.find_spec("jax_cuda12_plugin") is None:
    raise ValueError(
      f"--topology {name}: CUDA 13 makes nothing for it; install"
      " jax-cuda12-plugin, jax-cuda12-pjrt and nvidia-cuda-nvcc-cu12 instead"
    )
  try:
    found = _tpu(name) if chip.gpu is None else _gpu(chip, shape)
  except Exception as error:  # the runtimes' own kinds
    extra = "tpu" if chip.gpu is None else "cuda"
    line = str(error).splitlines()[0] if str(error) else repr(error)
    raise ValueError(
      f"--topology {name}: {line} (is extra {extra} of setup.py installed?)"
    ) from error
  options = {}
  if chip.gpu is not None:
    # Without a device nothing is timed. Triton then finds no tile sizes for
    # float32 products of highest precision.
    options = {"xla_gpu_autotune_level": 0, "xla_gpu_enable_triton_gemm": False}
  return Machine(name, chip, found, options)


def _tpu(name: str) -> Sequence[Any]:
  return topologies.get_topology_desc(
    platform="tpu", topology_name=name
  ).devices


def _gpu(chip: Chip, shape: str) -> Sequence[Any]:
  assert chip.gpu is not None
  count = math.prod(map(int, shape.split("x")))
  return topologies.get_topology_desc(
    platform="cuda",
    topology_name=chip.title,
    target_config=target_config(chip.title, chip.memory, chip.gpu),
    topology=f"1x1x{count}",
  ).devices


def target_config(title: str, memory: int, gpu: Gpu) -> str:
  """A GPU as the text of XLA's GpuTargetConfigProto."""
  major, minor = gpu.capability
  numbers = {
    "threads_per_block_limit": 1024,
    "threads_per_warp": 32,
    "shared_memory_per_block": 49_152,
    "shared_memory_per_core": gpu.shared,
    "shared_memory_per_block_optin": gpu.shared_block,
    "threads_per_core_limit": 2048,
    "core_count": gpu.cores,
    "fpus_per_core": gpu.lanes,
    "block_dim_limit_x": 2**31 - 1,
    "block_dim_limit_y": 65_535,
    "block_dim_limit_z": 65_535,
    "thread_dim_limit_x": 1024,
    "thread_dim_limit_y": 1024,
    "thread_dim_limit_z": 64,
    "registers_per_core_limit": 65_536,
    "registers_per_block_limit": 65_536,
    "memory_bandwidth": gpu.bandwidth,
    "l2_cache_size": gpu.cache,
    "clock_rate_ghz": gpu.clock,
    "device_memory_size": memory,
  }
  words = {
    "device_vendor": "NVIDIA Corporation",
    "platform_version": f"Compute Capability {major}.{minor}",
    "name": title,
    "driver_version": "13.0.0",
    "runtime_version": "12.8.0",
    "compile_time_toolkit_version": "12.8.0",
    "dnn_version": "9.10.0",
  }
  fields = [f"{key}: {value}" for key, value in numbers.items()]
  fields += [f'{key}: "{value}"' for key, value in words.items()]
  fields.append(f"cuda_compute_capability {{ major: {major} minor: {minor} }}")
  return (
    f"gpu_device_info {{ {' '.join(fields)} }}\n"
    'platform_name: "CUDA"\n'
    "dnn_version_info { major: 9 minor: 10 patch: 0 }\n"
    f'device_description_str: "{title}"\n'
  )
