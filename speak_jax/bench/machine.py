"""What a figure hangs on: versions, processor, load, and a plain product."""

import importlib.metadata
import os
import platform
import time
from pathlib import Path
from typing import Any

import speak_jax
from data_pipelines.ingest.pool import cores

PACKAGES = ("jax", "jaxlib", "numpy", "opencv-python-headless", "av")
SIDE = 512  # of the matrix product that machines are compared by
PRODUCT_S = 0.3


def facts() -> dict[str, Any]:
  """What stays the same while it is measured."""
  import jax

  from speak_jax.training.run_config import commit

  device = jax.devices()[0]
  return {
    "speak_jax": speak_jax.__version__,
    "commit": commit(),
    "python": platform.python_version(),
    **{name: importlib.metadata.version(name) for name in PACKAGES},
    "system": f"{platform.system()} {platform.machine()}",
    "cpu": cpu_model(),
    "cores": cores(),
    "memory_gib": round(memory_gib(), 1),
    "devices": f"{len(jax.devices())} x {device.device_kind}",
    "platform": device.platform,
    "jax_environment": {
      name: value
      for name, value in sorted(os.environ.items())
      if name.startswith(("JAX_", "XLA_")) and "CACHE_DIR" not in name
    },
  }


def moment() -> dict[str, float]:
  """What other work there is now, as far as it shows."""
  return {
    "load": round(os.getloadavg()[0], 2),
    "products_per_s": round(products_per_s()),
  }


def products_per_s() -> float:
  """Products of two float32 matrices of `SIDE` a second, on JAX's device."""
  import jax
  import jax.numpy as jnp

  x = jnp.ones((SIDE, SIDE))
  product = jax.jit(lambda a: a @ a)
  product(x).block_until_ready()
  count, begin = 0, time.perf_counter()
  while time.perf_counter() - begin < PRODUCT_S:
    product(x).block_until_ready()
    count += 1
  return count / (time.perf_counter() - begin)


def cpu_model() -> str:
  """The processor's name, as far as the system tells."""
  try:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
  except OSError:  # not on Linux
    lines = []
  pairs = (line.partition(":")[::2] for line in lines)
  names = {key.strip(): value.strip() for key, value in pairs}
  # ARM's kernels name no model.
  return names.get("model name") or platform.processor() or platform.machine()


def memory_gib() -> float:
  """All that the machine has."""
  pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
  return pages / (1 << 30)
