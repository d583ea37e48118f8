"""How much of everything is measured in one run."""

from typing import NamedTuple


class Plan(NamedTuple):
  """Plain values, so that a plan travels to another process as JSON."""

  starts: tuple[str, ...] = ("command", "generate", "stream", "reference")
  sizes: tuple[int, ...] = (256, 512)  # px, longer side of a photograph
  seconds: float = 12.0  # of speech that a photograph says, and hears
  takes: tuple[float, ...] = (10.0, 60.0)  # s of speech: a short and a long one
  take_px: int = 128
  clips: int = 4  # that are marked
  clip_s: float = 2.0
  preset: str = "demo"  # whose networks and training steps
  steps: int = 10  # timed, of each stage
  calls: int = 10  # of each network
  windows: int = 4  # batches of windows that `reference` draws
  people: int = 4  # who are drawn and prepared, one clip each
  people_s: float = 4.0
  turns: int = 5  # of the loader
  samples: int = 8  # a turn
  loaded_px: int = 256


QUICK = Plan(
  starts=("command", "generate"),
  seconds=4.0,
  takes=(4.0, 12.0),
  clips=2,
  steps=4,
  calls=4,
  windows=2,
  people=2,
  people_s=2.0,
  turns=2,
  samples=4,
)
