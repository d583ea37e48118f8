"""FID's Inception with few channels, as the stored golden has it."""

import json
from pathlib import Path

import numpy as np

from speak_jax.pretrained import goldens

GOLDENS = Path(__file__).parent / "goldens"


def weights() -> dict[str, np.ndarray]:
  """pytorch-fid's keys, every width divided by 16."""
  meta = json.loads((GOLDENS / "meta.json").read_text())
  entry = meta["inception_narrow"]
  return goldens.fill(entry["shapes"], entry["seed"])
