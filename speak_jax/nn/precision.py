"""The type that networks compute in, by machine; a table: docs/scaling.md."""

from typing import Any

import jax
from ml_collections import ConfigDict

DTYPES = ("float32", "bfloat16", "float16")
BFLOAT16_SINCE = 8.0  # compute capability: A100


def native(device: Any) -> tuple[str, ...]:
  """Types that a jax.Device computes in at speed, the best one first."""
  if device.platform == "tpu":
    return ("bfloat16", "float32")
  if device.platform != "gpu":
    return ("float32",)
  try:
    capability = float(device.compute_capability)
  except ValueError:  # AMD names an architecture: gfx90a; all we know have it
    capability = BFLOAT16_SINCE
  if capability >= BFLOAT16_SINCE:
    return ("bfloat16", "float16", "float32")
  return ("float16", "float32")


def resolve(dtype: str, device: Any = None) -> str:
  """`config.model.dtype` without "auto".

  Args:
    dtype: "auto" or one of `DTYPES`.
    device: Whose best type "auto" is; None: the first one that there is.

  Raises:
    ValueError: none of these; one line.
  """
  if dtype == "auto":
    return native(jax.devices()[0] if device is None else device)[0]
  if dtype not in DTYPES:
    raise ValueError(
      f"config.model.dtype {dtype!r} is not one of auto, {', '.join(DTYPES)}"
    )
  return dtype


def for_inference(config: ConfigDict, device: Any = None) -> ConfigDict:
  """A run's config with a type that this machine is made for.

  Weights are float32 whatever they were trained in, so a run of another
  machine is run in float32 where its type would be slow.
  """
  device = jax.devices()[0] if device is None else device
  dtype = resolve(config.model.dtype, device)
  return with_dtype(config, dtype if dtype in native(device) else "float32")


def with_dtype(config: ConfigDict, dtype: str) -> ConfigDict:
  """A locked copy of a config that computes in a type."""
  config = ConfigDict(config.to_dict())
  config.model.dtype = dtype
  return config.lock()
