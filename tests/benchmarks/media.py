"""How fast real videos are prepared, step by step, on one core.

  python -m tests.benchmarks.media [VIDEO]

Prints for each step of `media.cut` milliseconds a frame, clips a second and
the multiple of real time, all in CPU time: other work on the machine does not
count, and that of the decoding process does. Without a video a face is drawn,
512 px, 25 frames a second, 4 s. The ratios of one run are what to compare; the
last column is the share of the whole.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from data_pipelines.dataset.pictures import decode_frame
from data_pipelines.faces import align, cut, nets
from data_pipelines.faces.tracker import _CHECK, Tracker
from data_pipelines.media import audio, decoder, mp4, sandbox, video
from data_pipelines.media.warp import warp
from data_pipelines.synthetic import render

FPS, SIZE = 25.0, 256


class Row(NamedTuple):
  """One step."""

  name: str
  ms: float  # of CPU time, a frame
  note: str = ""


def drawn(folder: Path, seconds: float, size: int) -> Path:
  """A video of a synthetic face."""
  (recipe,) = render.recipes(
    seed=0,
    identities=1,
    held_out=0,
    clips_per_identity=1,
    seconds=seconds,
    size=size,
    framing="medium",
  )
  clip = render.render_clip(recipe)
  path = folder / "drawn.mp4"
  frames = (decode_frame(jpeg) for jpeg in clip.frames)
  mp4.write_video(path, frames, float(clip.fps), clip.audio)
  return path


def helper_cpu() -> float:
  """CPU seconds of the decoding processes that are done."""
  pid = sandbox._helper(os.getpid())._process.pid
  fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
  ticks = sum(int(field) for field in fields[11:15])
  return ticks / os.sysconf("SC_CLK_TCK")


def cpu(work: Callable[[], Any]) -> float:
  """CPU seconds of this process and the decoder's for one call."""
  begin = time.process_time() + helper_cpu()
  work()
  return time.process_time() + helper_cpu() - begin


def steps(path: Path) -> Iterator[Row]:
  """Every step on its own, then all of them as `prepare` calls them."""
  cv2.setNumThreads(1)  # as in a worker
  frames = list(decoder.read_frames(path, FPS))
  n = len(frames)
  tracker = Tracker()
  track = tracker.track(frames)
  if not track.found.all():
    raise SystemExit(f"{path}: choose a video with a face in every frame")
  matrix = align.square(track.landmarks, SIZE)
  crops = [warp(frame, matrix, SIZE) for frame in frames]
  detected = tracker._detector.detect(frames[0])[0]
  mesh, _ = tracker._mesh(frames[0], nets.face_roi(detected))
  assert mesh is not None
  roi = nets.mesh_roi(mesh)

  def each(work: Callable[[np.ndarray], Any], some: list) -> float:
    return 1000 * cpu(lambda: [work(one) for one in some]) / len(some)

  inside = 1000 * cpu(lambda: [0 for _ in video.read_frames(path, FPS)]) / n
  yield Row("decode", inside, "in this process")
  apart = 1000 * cpu(lambda: [0 for _ in decoder.read_frames(path, FPS)]) / n
  yield Row("decode, limited", apart, "in a child, through a pipe")
  yield Row(
    "detect",
    each(lambda x: tracker._detector.detect(x, finest=0), frames),
    f"on every {_CHECK}th frame only",
  )
  yield Row("landmarks", each(lambda x: tracker._mesh(x, roi), frames))
  yield Row("track", 1000 * cpu(lambda: tracker.track(frames)) / n, "both")
  yield Row("warp", each(lambda x: warp(x, matrix, SIZE), frames))
  yield Row("encode", each(cut._jpeg, crops), "JPEG")
  yield Row("sound", 1000 * cpu(lambda: audio.read_audio(path)) / n)
  cut._tracker()  # loaded once a process
  settings = cut.Settings(fps=FPS, size=SIZE, allow_silent=True)
  whole = 1000 * cpu(lambda: cut.clips_of(path, settings)) / n
  yield Row("whole", whole, "pictures kept in memory")
  kept, decoder._KEEP_BYTES = decoder._KEEP_BYTES, 0
  again = 1000 * cpu(lambda: cut.clips_of(path, settings)) / n
  decoder._KEEP_BYTES = kept
  yield Row("whole, decoded twice", again, "a video too long to keep")


def show(path: Path) -> list[Row]:
  """Prints the table."""
  info = decoder.probe(path)
  frames = sum(1 for _ in decoder.read_frames(path, FPS))
  print(f"{info.width}x{info.height}, {frames} frames at {FPS:g} a second")
  rows = list(steps(path))
  whole = next(row.ms for row in rows if row.name == "whole")
  print(f"{'':24}{'ms/frame':>9}{'clips/s':>9}{'x real time':>13}{'share':>8}")
  for row in rows:
    real = 1000 / row.ms / FPS
    print(
      f"{row.name:24}{row.ms:9.2f}{1000 / row.ms / frames:9.2f}{real:13.1f}"
      f"{row.ms / whole:8.0%}  {row.note}"
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
    show(path or drawn(Path(folder), 4.0, 512))


if __name__ == "__main__":
  main()
