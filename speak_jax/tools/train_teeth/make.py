"""Teeth from a folder of portraits to their file: read, fitted, measured."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import jax
import numpy as np
from jaxtyping import Float, UInt8

from data_pipelines.faces.follow import FaceTracker
from data_pipelines.media.error import MediaError
from data_pipelines.media.image import read_image
from speak_jax.photograph import teeth as shape
from speak_jax.photograph.teeth import Teeth
from speak_jax.tools.train_teeth import fitting, starts
from speak_jax.tools.train_teeth.mouths import Mouths, mouths

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
STARTS = {"painted": starts.painted, "blank": starts.blank}
BATCH = 96
HELD_OUT = 10  # one mouth in so many is not learned from
LOOKS = (0, 20, 75, 150, 300, 600, 1_200)  # steps after which it is measured
LEAST = 20  # mouths
# Longer side, px, to which pictures are enlarged for FaceMesh, which is then
# more exact to a fraction of a pixel.
FINE_PX = 800


def make(
  portraits: Path,
  out: Path,
  steps: int,
  start: str,
  seed: int,
  tracker: FaceTracker,
  say: Callable[[str], None] = print,
) -> dict[str, Any]:
  """Learns teeth from portraits; writes them, and the JSON beside them.

  Args:
    portraits: Folder of pictures, one person each.
    out: Path of the teeth.
    steps: Of learning.
    start: In STARTS.
    seed: Of the order in which mouths are looked at.
    tracker: Finds faces.
    say: Takes a line now and then.

  Returns:
    What the JSON holds: the error of mouths that were not learned from.

  Raises:
    ValueError: too few mouths.
  """
  begun = time.monotonic()
  read = mouths(_pictures(portraits, tracker))
  count = 0 if read is None else len(read.pixel)
  if read is None or count < LEAST:
    raise ValueError(
      f"{portraits}: {count} mouths that are open, large enough and seen from"
      f" the front; at least {LEAST} are needed"
    )
  held = np.arange(count) % HELD_OUT == 0
  learning, judging = (_some(read, which) for which in (~held, held))
  say(
    f"{len(learning.pixel)} mouths to learn from, {len(judging.pixel)} beside"
  )
  curve = {}

  def look(step: int, teeth: Teeth) -> None:
    if step in LOOKS or step == steps:
      curve[str(step)] = measured(teeth, judging)
      say(f"step {step:5}  error of other mouths {curve[str(step)]:.4f}")

  fitted = fitting.fit(learning, STARTS[start](), steps, BATCH, seed, look)
  shape.write(out, fitting.finished(fitted.teeth, fitted.people, learning))
  report = {
    "what": "mean error of mouths that were not learned from, colours 0 to 1,"
    " each person's place and light fitted; by steps",
    "start": start,
    "seed": seed,
    "mouths": {"learned": len(learning.pixel), "judged": len(judging.pixel)},
    "error": {step: round(value, 5) for step, value in curve.items()},
    "minutes": round((time.monotonic() - begun) / 60, 2),
  }
  shape.describe(out, report)
  return report


def measured(teeth: Teeth, judging: Mouths) -> float:
  """Mean error of mouths that have teeth where they fit best."""
  people = fitting.placed(teeth, judging)
  return float(fitting.errors(teeth, people, judging).mean())


def _pictures(
  folder: Path, tracker: FaceTracker
) -> Iterator[tuple[UInt8[np.ndarray, "h w 3"], Float[np.ndarray, "468 3"]]]:
  """Reads a folder's pictures in which a face is found."""
  for path in sorted(folder.iterdir()):
    if path.suffix.lower() not in SUFFIXES:
      continue
    try:
      picture = read_image(path)
    except MediaError:
      continue
    factor = max(FINE_PX / max(picture.shape[:2]), 1.0)
    fine = cv2.resize(
      picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC
    )
    track = tracker.track([fine])
    if track.found[0]:
      mesh = track.mesh[0] / factor
      mesh[:, :2] += 0.5 / factor - 0.5  # integers are at pixels' centres
      yield picture, mesh


def _some(all_: Mouths, which: np.ndarray) -> Mouths:
  return jax.tree.map(lambda part: part[which], all_)
