"""What of a video's preparation costs how much, step by step.

  python -m tests.benchmarks.media [VIDEO]

The steps of `speak bench --subjects preparation`, and what they are made of, as
a table of a video of your own: milliseconds a frame, the multiple of real time
and the share of the whole, all in CPU time: other work on the machine does not
count, and that of the decoding process does. Without a video a face is drawn,
512 px, 25 frames a second, 4 s.
"""

import argparse
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from data_pipelines.faces import cut, nets
from data_pipelines.faces.tracker import _CHECK, Tracker
from data_pipelines.media import decoder, video
from data_pipelines.synthetic import render
from speak_jax.bench import inputs, preparation
from speak_jax.bench.figure import Figure

FPS = preparation.FPS
WHOLE = "a frame, all of it"


def parts(path: Path) -> Iterator[Figure]:
  """What steps are made of, and what a video too long to keep costs."""
  frames = list(decoder.read_frames(path, FPS))
  tracker = Tracker()
  if not tracker.track(frames).found.all():
    raise SystemExit(f"{path}: choose a video with a face in every frame")
  detected = tracker._detector.detect(frames[0])[0]
  mesh, _ = tracker._mesh(frames[0], nets.face_roi(detected))
  assert mesh is not None
  roi = nets.mesh_roi(mesh)

  def row(name: str, work: Callable[[], Any], note: str = "") -> Figure:
    ms = 1000 * preparation.cpu(work) / len(frames)
    return Figure(f"a frame, {name}", "ms", (ms,), note)

  def each(work: Callable[[np.ndarray], Any]) -> Callable[[], Any]:
    return lambda: [work(frame) for frame in frames]

  yield row(
    "decoding in this process",
    lambda: [0 for _ in video.read_frames(path, FPS)],
  )
  yield row(
    "detection",
    each(lambda x: tracker._detector.detect(x, finest=0)),
    f"on every {_CHECK}th frame only",
  )
  yield row("landmarks", each(lambda x: tracker._mesh(x, roi)))
  settings = cut.Settings(fps=FPS, allow_silent=True)
  kept, decoder._KEEP_BYTES = decoder._KEEP_BYTES, 0
  yield row("all of it, decoded twice", lambda: cut.clips_of(path, settings))
  decoder._KEEP_BYTES = kept


def show(path: Path) -> list[Figure]:
  """Prints the table."""
  info = decoder.probe(path)
  frames = sum(1 for _ in decoder.read_frames(path, FPS))
  print(f"{info.width}x{info.height}, {frames} frames at {FPS:g} a second")
  with preparation.one_thread():
    rows = [*preparation.steps(path), *parts(path)]
  rows = [row for row in rows if row.unit.startswith("ms")]
  whole = next(row.median for row in rows if row.name == WHOLE)
  print(f"{'':34}{'ms':>9}{'x real time':>13}{'share':>8}")
  for row in rows:
    real = 1000 / row.median / FPS
    print(
      f"{row.name:34}{row.median:9.2f}{real:13.1f}{row.median / whole:8.0%}"
      f"  {row.note}"
    )
  return rows


def main() -> None:
  """Reads the one argument."""
  parser = argparse.ArgumentParser(
    prog="python -m tests.benchmarks.media",
    description="Prints how fast each step of the preparation is.",
  )
  parser.add_argument("video", nargs="?", type=Path, help="default: drawn")
  path = parser.parse_args().video
  with tempfile.TemporaryDirectory() as folder:
    if path is None:
      (recipe,) = inputs.people(1, 4.0, 512)
      path = inputs.film(Path(folder) / "film.mp4", render.render_clip(recipe))
    show(path)


if __name__ == "__main__":
  main()
