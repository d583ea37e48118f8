"""Stored expectations of the self-test, and how far a value may be off them."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

EXPECTED = Path(__file__).parents[2] / "assets" / "self_test.json"
COMMAND = "python -m speak_jax.tools.self_test --write"
ITSELF = "itself"  # the pair of a clip and itself
EXACT = 1e-6

# How far a value may be off: other builds of the codec and other arithmetic
# move it by less; nothing else should move it.
TOLERANCES = {
  "frames_lost": 0.0,
  "psnr": 0.3,
  "ssim": 0.005,
  "gaussian_ssim": 0.005,
  "mouth_box_psnr": 0.4,
  "gradient_energy": 0.03,
  "mouth_gradient_energy": 0.03,
  "sharpness": 0.03,
  "sharpness_slope": 0.03,
  "flicker": 0.2,
  "aligned_psnr": 0.4,
  "aligned_ssim": 0.005,
  "aligned_f_lmd": 0.1,
  "aligned_m_lmd": 0.1,
  "f_lmd": 0.15,
  "m_lmd": 0.15,
  "f_lmd_eyes": 0.003,
  "m_lmd_eyes": 0.003,
  "found": 0.0,
  "undetected": 0.0,
  "pose_error": 0.2,
  "pose_r": 0.03,
  "pose_r2": 0.05,
  "mouth_r": 0.03,
  "silent_opening": 0.05,
  "jitter": 4.0,
  "head_speed": 0.1,
  "lip_speed": 0.05,
  "identity_cosine": 0.02,
  "frechet_identity": 0.03,
  "emotion": 0.08,
  "emotion_balanced": 0.08,
  "sync_offset": 0.5,
}
# Of one side alone: codec and judge move them even for a clip and itself.
ONE_SIDED = frozenset(
  ("flicker", "jitter", "head_speed", "lip_speed", "silent_opening")
)

Values = dict[str, dict[str, float]]  # by pair, then by metric


class Row(NamedTuple):
  """One value beside what it should be."""

  pair: str
  metric: str
  value: float  # NaN: it was not measured
  expected: float
  tolerance: float

  @property
  def passed(self) -> bool:
    """Whether the value is near enough; NaN is not."""
    return abs(self.value - self.expected) <= self.tolerance


class Outcome(NamedTuple):
  """All rows of a self-test."""

  rows: list[Row]

  @property
  def passed(self) -> bool:
    """Whether each is near enough."""
    return all(row.passed for row in self.rows)


def compare(
  measured: Values, expected: Mapping[str, Mapping[str, Sequence[float]]]
) -> Outcome:
  """Every expectation, [value, tolerance], with what was measured."""
  rows = [
    Row(pair, metric, measured.get(pair, {}).get(metric, math.nan), *wanted)
    for pair, metrics in expected.items()
    for metric, wanted in metrics.items()
  ]
  return Outcome(rows)


def load(path: Path = EXPECTED) -> dict[str, dict[str, list[float]]]:
  """Expectations by pair and metric: [value, tolerance]."""
  return json.loads(path.read_text(encoding="utf-8"))["figures"]


def store(measured: Values, path: Path = EXPECTED) -> None:
  """Stores values that were found to be right as expectations."""
  content = {
    "what": "figures of tools/self_test: [value, tolerance]",
    "command": COMMAND,
    "figures": expectations(measured),
  }
  path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def expectations(measured: Values) -> dict[str, dict[str, list[float]]]:
  """What `compare` reads, from values that were found to be right."""
  return {
    pair: {
      metric: [round(value, 6), _tolerance(pair, metric)]
      for metric, value in metrics.items()
    }
    for pair, metrics in measured.items()
  }


def _tolerance(pair: str, metric: str) -> float:
  """A clip equals itself exactly; the rest hangs on codec and judge."""
  exact = pair == ITSELF and metric not in ONE_SIDED
  return EXACT if exact else TOLERANCES[metric]
