"""SyncNet v2's state dict with few channels, filled at random."""

import numpy as np

LIPS, SOUND, HIDDEN, OUT = (4, 5, 5, 5, 5, 8), (4, 5, 6, 5, 5, 8), 6, 12
LIP_KERNELS = ((5, 7, 7), (1, 5, 5), *((1, 3, 3),) * 3, (1, 6, 6))
SOUND_KERNELS = (*((3, 3),) * 5, (5, 4))


def weights(seed: int = 0) -> dict[str, np.ndarray]:
  """Keys and axes of the public file."""
  rng = np.random.default_rng(seed)
  made = {}

  def fill(key, *shape):
    spread = np.sqrt(2 / np.prod(shape[1:], initial=1))
    made[f"{key}.weight"] = rng.normal(0, spread, shape).astype(np.float32)
    made[f"{key}.bias"] = rng.normal(0, 0.1, shape[0]).astype(np.float32)

  def norm(key, width):
    for name, low, high in (
      ("weight", 0.8, 1.2),
      ("bias", -0.1, 0.1),
      ("running_mean", -0.1, 0.1),
      ("running_var", 0.5, 1.5),
    ):
      value = rng.uniform(low, high, width).astype(np.float32)
      made[f"{key}.{name}"] = value
    made[f"{key}.num_batches_tracked"] = np.array(7)

  for tower, dense, colours, widths, kernels in (
    ("netcnnaud", "netfcaud", 1, SOUND, SOUND_KERNELS),
    ("netcnnlip", "netfclip", 3, LIPS, LIP_KERNELS),
  ):
    before = colours
    for place, width, kernel in zip(
      (0, 4, 8, 11, 14, 18), widths, kernels, strict=True
    ):
      fill(f"{tower}.{place}", width, before, *kernel)
      norm(f"{tower}.{place + 1}", width)
      before = width
    fill(f"{dense}.0", HIDDEN, before)
    norm(f"{dense}.1", HIDDEN)
    fill(f"{dense}.3", OUT, HIDDEN)
  return made
