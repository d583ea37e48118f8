"""A short video and a long one: memory, and whether its end is as its begin."""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np

import speak_jax
from data_pipelines.faces.tracker import Tracker
from data_pipelines.media import decoder
from speak_jax import spec
from speak_jax.bench import inputs, processes
from speak_jax.bench.figure import Figure
from speak_jax.bench.plan import Plan
from speak_jax.common import packaged
from speak_jax.evaluation.photographs.judges import Judges
from speak_jax.evaluation.photographs.self_driven import identity_distance
from speak_jax.metrics import image

MINUTE_S, EVERY = 60.0, 5  # an end; of its frames, which are looked at
# Samples that are no whole frame and no packet, so that an end that is cut is
# seen.
EXTRA = 137
VOICE, POSE, MADE = "voice.wav", "pose.mp4", "made.mp4"
_SERVE = "from speak_jax.bench import endless; endless.serve()"


class Cost(NamedTuple):
  """What a video has cost that a process of its own has made."""

  mib: float  # at most
  decoders_mib: float  # of any process that it has started; 0: nobody tells
  seconds: float  # inputs and output included


class End(NamedTuple):
  """Means over frames."""

  sharp: float  # gradient energy
  apart: float  # distance of the person from the photograph


def figures(plan: Plan) -> Iterator[Figure]:
  """Of each of the plan's lengths; of the longest both ends."""
  for number, seconds in enumerate(plan.takes):
    with tempfile.TemporaryDirectory() as name:
      folder = Path(name)
      wanted = inputs.voice(folder / VOICE, seconds, EXTRA)
      cost = made(folder, plan.take_px)
      path = folder / MADE
      frames, extra = count(path), len(decoder.read_audio(path)) - wanted
      what = f"{seconds:g} s"
      yield Figure(f"peak memory, {what}", "MiB", (cost.mib,))
      if cost.decoders_mib:
        note = "of any process that decodes"
        value = (cost.decoders_mib,)
        yield Figure(f"peak memory beside it, {what}", "MiB", value, note)
      note = f"files to file, {plan.take_px} px"
      rate = (frames / cost.seconds,)
      yield Figure(f"speed, {what}", "frames/s", rate, note)
      yield Figure(f"ends beside its sound, {what}", "samples", (extra,))
      if number == len(plan.takes) - 1:
        yield from _ends(path, what)


def _ends(path: Path, what: str) -> Iterator[Figure]:
  first, last = ends(path)
  note = "last minute over the first, or half over half"
  yield Figure(f"sharpness, {what}", "", (last.sharp / first.sharp,), note)
  yield Figure(f"identity, {what}", "", (last.apart / first.apart,), note)


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
  return Cost(own, others, json.loads(said[-1]))


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
  model = speak_jax.load()
  begin = time.perf_counter()
  model.write(request, folder / MADE, say=lambda line: None, bar=False)
  print(json.dumps(time.perf_counter() - begin))


def count(path: Path) -> int:
  """The number of pictures in a video."""
  with av.open(str(path), "r") as video:
    return sum(packet.size > 0 for packet in video.demux(video=0))


def ends(path: Path) -> tuple[End, End]:
  """The first and the last minute, or both halves of a shorter video."""
  total = count(path)
  wanted = min(round(MINUTE_S * spec.FPS), total // 2)
  firsts, lasts = [], []
  for i, frame in enumerate(decoder.read_frames(path)):
    if i % EVERY == 0 and i < wanted:
      firsts.append(frame)
    if i % EVERY == 0 and i >= total - wanted:
      lasts.append(frame)
  judges = Judges(Tracker(), None)
  portrait = judges.see(decoder.read_image(packaged.PORTRAIT)[None])

  def end(frames: np.ndarray) -> End:
    apart = identity_distance(judges.see(frames), portrait)
    energy = image.gradient_energy(frames)
    return End(float(energy.mean()), float(apart.mean()))

  return end(np.stack(firsts)), end(np.stack(lasts))
