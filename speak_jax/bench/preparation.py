"""How fast videos become training data, by the processor's clock."""

import contextlib
import io
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from data_pipelines.faces import align, cut
from data_pipelines.faces.tracker import Tracker
from data_pipelines.ingest.pool import cores
from data_pipelines.ingest.run import prepare
from data_pipelines.media import audio, decoder
from data_pipelines.media.warp import warp
from data_pipelines.sources import folder, synthetic
from data_pipelines.synthetic import render
from speak_jax import spec
from speak_jax.bench import inputs, processes
from speak_jax.bench.figure import Figure
from speak_jax.bench.plan import Plan

FPS = float(spec.FPS)
VIDEO_PX, CROP_PX = 512, 256
DRAWN_PX = (64, 128)


def figures(plan: Plan) -> Iterator[Figure]:
  """Drawing people, cutting a video step by step, and `prepare` as a whole."""
  with tempfile.TemporaryDirectory() as name, one_thread():
    out = Path(name)
    yield from drawing(plan)
    (recipe, *_) = inputs.people(1, plan.people_s, VIDEO_PX)
    film = inputs.film(out / "film.mp4", render.render_clip(recipe))
    yield from steps(film)
    yield from whole(plan, out)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
  """OpenCV computes in one, as in a worker."""
  before = cv2.getNumThreads()
  cv2.setNumThreads(1)
  try:
    yield
  finally:
    cv2.setNumThreads(before)


def drawing(plan: Plan) -> Iterator[Figure]:
  """JPEGs and sound included; the first clip warms it up."""
  for size in DRAWN_PX:
    first, *rest = inputs.people(plan.people, plan.people_s, size, "tight")
    render.render_clip(first)
    begin = processes.cpu_s()
    frames = sum(len(render.render_clip(one).frames) for one in rest or [first])
    rate = frames / (processes.cpu_s() - begin) / FPS
    yield Figure(f"drawing people, {size} px", "x real time a core", (rate,))


def steps(path: Path) -> Iterator[Figure]:
  """Every step of a video on its own, then all of them as `prepare` does.

  Args:
    path: A video of a face that is seen in every frame.
  """
  frames = list(decoder.read_frames(path, FPS))
  tracker = Tracker()
  track = tracker.track(frames)
  matrix = align.square(track.landmarks, CROP_PX)
  crops = [warp(frame, matrix, CROP_PX) for frame in frames]
  settings = cut.Settings(fps=FPS, size=CROP_PX, allow_silent=True)
  cut.clips_of(path, settings)  # its tracker is loaded once a process
  works: dict[str, Callable[[], Any]] = {
    "decoding": lambda: sum(1 for _ in decoder.read_frames(path, FPS)),
    "tracking": lambda: tracker.track(frames),
    "cropping": lambda: [warp(x, matrix, CROP_PX) for x in frames],
    "encoding": lambda: [_encoded(x) for x in crops],
    "sound": lambda: audio.read_audio(path),
    "all of it": lambda: cut.clips_of(path, settings),
  }
  for name, work in works.items():
    ms = 1000 * cpu(work) / len(frames)
    note = f"{VIDEO_PX} px to {CROP_PX} px" if name == "all of it" else ""
    yield Figure(f"a frame, {name}", "ms of a core", (ms,), note)
    if name == "all of it":
      real = 1000 / FPS / ms
      yield Figure("a video", "x real time a core", (real,), note)


def whole(plan: Plan, out: Path) -> Iterator[Figure]:
  """`prepare` as it is called: processes started, shards written."""
  recipes = inputs.people(plan.people, plan.people_s, CROP_PX)
  yield _prepared(
    "prepare synthetic", synthetic.tasks(recipes), out / "synthetic"
  )
  videos = out / "videos"
  videos.mkdir()
  for recipe in recipes:
    inputs.film(videos / f"{recipe.clip}.mp4", render.render_clip(recipe))
  settings = cut.Settings(size=CROP_PX)
  tasks = folder.survey(videos, settings=settings, held_out=0.0).tasks
  yield _prepared("prepare folder", tasks, out / "folder")


def _prepared(name: str, tasks: list, out: Path) -> Figure:
  begin = time.perf_counter()
  with contextlib.redirect_stderr(io.StringIO()):  # its progress bar
    summary = prepare(tasks, out, workers=cores(), meta={})
  rate = summary.frames / (time.perf_counter() - begin) / FPS
  return Figure(
    name, "x real time", (rate,), f"{cores()} processes, their start included"
  )


def cpu(work: Callable[[], Any]) -> float:
  """Seconds of this process and of those that decode for it."""
  begin = processes.cpu_s()
  work()
  return processes.cpu_s() - begin


def _encoded(crop: np.ndarray) -> np.ndarray:
  return cv2.imencode(".jpg", crop[..., ::-1], cut.JPEG)[1]
