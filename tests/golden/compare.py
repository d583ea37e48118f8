"""What is kept of a step and of frames, and whether it is found again."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from PIL import Image

HERE = Path(__file__).parent
ENTRIES = 8  # of a tree, evenly spread
# Five times what jax 0.10 on two devices and 0.12 on one were apart, 2e-5: a
# batch there is two microbatches, added up one by one. Frames were the same.
RTOL = 1e-4
SMALL = 0.01  # a metric that is less, as what two terms leave, is held to this
MEAN, MOST = 0.005, 3  # levels of 255, over all pixels and of any
RENEW = (
  "these numbers move only when they are meant to; then, in a commit of its"
  " own that says why: python -m tests.golden"
)

Figures = dict[str, float | list[float]]


def figures(metrics: Mapping[str, float], trees: Mapping[str, Any]) -> Figures:
  """Metrics as they are; of each tree its norm, sum and some entries."""
  found: Figures = dict(metrics)
  for name, tree in trees.items():
    leaves = [np.asarray(x) for x in jax.tree.leaves(tree)]
    leaves = [x for x in leaves if np.issubdtype(x.dtype, np.floating)]
    if leaves:
      flat = np.concatenate([x.ravel() for x in leaves]).astype(np.float64)
      some = ((np.arange(ENTRIES) + 0.5) * flat.size / ENTRIES).astype(int)
      found[f"{name}/norm"] = float(np.linalg.norm(flat))
      found[f"{name}/sum"] = float(flat.sum())
      found[f"{name}/rms"] = float(np.sqrt(np.mean(flat**2)))
      found[f"{name}/entries"] = flat[some].tolist()
  return found


def apart(found: Figures, stored: Figures) -> dict[str, float]:
  """How far each figure is from the stored one, relative to its size.

  A sum of numbers of both signs is held against their norm, an entry against
  the root mean square where it is smaller than that.

  Raises:
    ValueError: other figures than the stored ones.
  """
  if odd := found.keys() ^ stored.keys():
    raise ValueError(f"figures come or gone: {', '.join(sorted(odd))}")
  differences = {}
  for name, wanted in stored.items():
    tree, _, kind = name.rpartition("/")
    scale = np.abs(wanted)
    if kind == "sum":
      scale = stored[f"{tree}/norm"]
    elif kind == "entries":
      scale = np.maximum(scale, stored[f"{tree}/rms"])
    elif kind not in ("norm", "rms"):
      scale = max(scale, SMALL)
    error = np.abs(np.subtract(found[name], wanted)) / scale
    differences[name] = float(np.max(error))
  return differences


def misses(found: Figures, stored: Figures) -> list[str]:
  """A line for each figure that is not the stored one within RTOL."""
  return [
    f"{name}: {found[name]}, stored {stored[name]}, apart {difference:.1e}"
    for name, difference in apart(found, stored).items()
    if not difference <= RTOL
  ]


def levels(found: np.ndarray, stored: np.ndarray) -> tuple[float, int]:
  """Mean and largest difference of pictures of one shape, in levels."""
  if found.shape != stored.shape:
    raise ValueError(f"pictures of {found.shape}, stored {stored.shape}")
  difference = np.abs(found.astype(int) - stored)
  return float(difference.mean()), int(difference.max())


def read(name: str) -> Figures:
  """The stored figures of a step."""
  return json.loads((HERE / f"{name}.json").read_text())


def write(name: str, found: Figures) -> None:
  """Stores the figures of a step."""
  text = json.dumps(found, indent=1, sort_keys=True) + "\n"
  (HERE / f"{name}.json").write_text(text)


def read_picture(name: str) -> np.ndarray:
  """A stored picture, uint8 (h, w, 3)."""
  with Image.open(HERE / f"{name}.png") as picture:
    return np.asarray(picture)


def write_picture(name: str, found: np.ndarray) -> None:
  """Stores a picture."""
  Image.fromarray(found).save(HERE / f"{name}.png", optimize=True)


def side_by_side(frames: np.ndarray) -> np.ndarray:
  """Frames (n, h, w, 3) as one picture (h, n w, 3)."""
  return np.concatenate(list(frames), axis=1)
