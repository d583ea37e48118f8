"""A short video and a long one: memory, and whether its end is as its begin."""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
from jaxtyping import Float

import speak_jax
from data_pipelines.faces.tracker import Tracker
from data_pipelines.media import decoder
from speak_jax import spec
from speak_jax.bench import inputs, processes
from speak_jax.bench.figure import Figure
from speak_jax.bench.plan import Plan
from speak_jax.common import packaged
from speak_jax.evaluation.photographs.judges import Judges
from speak_jax.evaluation.photographs.self_driven import STRANGER
from speak_jax.inference import take as takes
from speak_jax.metrics import image

MINUTE = 60 * spec.FPS  # frames
EVERY, IDENTITY = 5, 25  # of them, which are looked at, and for whom they show
# Samples that are no whole frame and no packet, so that an end that is cut is
# seen.
EXTRA = 137
VOICE, POSE, MADE = "voice.wav", "pose.mp4", "made.mp4"
_SERVE = "from speak_jax.bench import endless; endless.serve()"


class Cost(NamedTuple):
  """What a video has cost that a process of its own has made."""

  mib: float  # at most
  decoders_mib: float  # of any process that it has started; 0: nobody tells
  seconds: Sequence[float]  # when each minute began, and the end
  minutes_mib: Sequence[float]  # that it held then; 0: nobody tells


class Minutes(NamedTuple):
  """Means of each minute, or of both halves of a video under two."""

  sharp: Float[np.ndarray, "n"]  # gradient energy
  apart: Float[np.ndarray, "n"]  # distance of the person from the photograph
  turned: Float[np.ndarray, "n"]  # degrees that the head is turned aside


def figures(plan: Plan) -> Iterator[Figure]:
  """Of each of the plan's lengths; of the longest both ends."""
  for number, seconds in enumerate(plan.takes):
    with tempfile.TemporaryDirectory() as name:
      folder = Path(name)
      wanted = inputs.voice(folder / VOICE, seconds, EXTRA)
      cost = made(folder, plan.take_px)
      path = folder / MADE
      frames, extra = count(path), heard(path) - wanted
      what = f"{seconds:g} s"
      yield Figure(f"peak memory, {what}", "MiB", (cost.mib,))
      if cost.decoders_mib:
        note = "of any process that decodes"
        value = (cost.decoders_mib,)
        yield Figure(f"peak memory beside it, {what}", "MiB", value, note)
      note = f"{plan.take_px} px, from the first frame on"
      rate = (frames / (cost.seconds[-1] - cost.seconds[0]),)
      yield Figure(f"speed, {what}", "frames/s", rate, note)
      yield Figure(f"ends beside its sound, {what}", "samples", (extra,))
      if number == len(plan.takes) - 1:
        yield from _ends(path, what)


def _ends(path: Path, what: str) -> Iterator[Figure]:
  seen = looked_at(path)
  note = "last minute over the first, or half over half"
  for name, values in (("sharpness", seen.sharp), ("identity", seen.apart)):
    ratio = float(values[-1] / values[0])
    yield Figure(f"{name}, {what}", "", (ratio,), note)


def made(folder: Path, size: int) -> Cost:
  """Makes a video in a process of its own.

  Args:
    folder: With the sound, and the video of head motion if there is one; the
      video will be there too.
    size: Px.

  Raises:
    RuntimeError: it was not made.
  """
  words = [sys.executable, "-c", _SERVE, str(folder), str(size)]
  with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
    own, others = processes.watched(process)
    assert process.stdout is not None
    said = process.stdout.read().splitlines()
  if process.returncode:
    raise RuntimeError(f"the video was not made ({process.returncode})")
  return Cost(own, others, *json.loads(said[-1]))


def serve() -> None:
  """What that process does."""
  _, name, size = sys.argv
  folder = Path(name)
  request = speak_jax.Request(
    identity=packaged.PORTRAIT,
    audio=folder / VOICE,
    pose=folder / POSE if (folder / POSE).exists() else None,
    size=int(size),
  )
  marks: list[tuple[float, float]] = []

  def mark() -> None:
    marks.append((time.perf_counter(), processes.held_mib()))

  def timed(frames: Iterator[np.ndarray]) -> Generator[np.ndarray, None, None]:
    for i, frame in enumerate(frames):
      if i % MINUTE == 0:
        mark()
      yield frame

  take = speak_jax.load().take(request)
  take = take._replace(frames=timed(take.frames))
  takes.write(take, folder / MADE, say=lambda line: None, bar=False)
  mark()
  print(json.dumps(list(zip(*marks, strict=True))))


def count(path: Path) -> int:
  """The number of pictures in a video."""
  with av.open(str(path), "r") as video:
    return sum(packet.size > 0 for packet in video.demux(video=0))


def heard(path: Path) -> int:
  """The number of 16 kHz samples in a file."""
  return len(decoder.read_recording(path, 0))


def looked_at(path: Path) -> Minutes:
  """Looks at a video minute by minute, or at both halves of a shorter one."""
  total = count(path)
  each = MINUTE if total >= 2 * MINUTE else total // 2
  tracker = Tracker()
  judges = Judges(tracker, None)
  ours = judges.see(decoder.read_image(packaged.PORTRAIT)[None]).identity[0]

  def minute(frames: np.ndarray) -> tuple[float, float, float]:
    some = frames[:: IDENTITY // EVERY]
    track = tracker.track(some)
    apart = np.linalg.norm(judges.who(some, track.mesh) - ours, axis=-1)
    apart = np.where(np.isfinite(apart), apart, STRANGER)
    energy = image.gradient_energy(frames)
    turned = np.nanmean(np.hypot(*track.pose[:, :2].T))
    return float(energy.mean()), float(apart.mean()), float(turned)

  found, frames = [], []
  for i, frame in enumerate(decoder.read_frames(path)):
    if i % EVERY == 0:
      frames.append(frame)
    if (i + 1) % each == 0:
      found.append(minute(np.stack(frames)))
      frames = []
  return Minutes(*map(np.array, zip(*found, strict=True)))
