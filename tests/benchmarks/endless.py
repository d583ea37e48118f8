"""Whether a long video costs more memory than a short one, and decays.

  python -m tests.benchmarks.endless [--seconds 10,600] [--pose] [--size 128]

Makes a video of the example portrait and so many seconds of the example
sentence, over and over, each in a process of its own, and looks at it minute by
minute. --pose adds a video of head motion of 256 px that is as long. Prints,
after the machine, of each video:

  peak MiB   the most memory that the process has had, and that any process has
             had that decodes for it
  grows      MiB from the end of its first minute to the end of its last
  frames/s   of each minute: median, and lowest to highest
  samples    by which it ends beside its sound
  sharp      gradient energy of a minute: median, spread, last beside first
  apart      how far the person is from the photograph by the judge of identity:
             the same, and by how much it rises in an hour, a straight line laid
             through the minutes, with its standard error
  turned     degrees that the head is turned aside, and the correlation of that
             with `apart` over minutes

A spread is the standard deviation over minutes, in percent of the median. Of
videos shorter than two minutes both halves take the place of minutes.
"""

import argparse
import contextlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
import soundfile

from data_pipelines.dataset.pictures import decode_frame
from data_pipelines.media import decoder, mp4
from data_pipelines.synthetic import render
from speak_jax.common import packaged

MINUTE, EVERY, IDENTITY = 60 * 25, 5, 25  # frames; which of them are looked at
POSE_PX, LOOP_S = 256, 10.0  # of the video of head motion
SAMPLE_S = 0.1  # between two looks at the memory of all processes


class Cost(NamedTuple):
  """What a video has cost."""

  mib: float
  decoders_mib: float
  seconds: list[float]  # when each minute began, and the end
  minutes_mib: list[float]  # held then

  @property
  def rates(self) -> np.ndarray:
    """Frames a second of each whole minute, or of all."""
    return MINUTE / np.diff(self.seconds)


class Minutes(NamedTuple):
  """Means of each minute."""

  sharp: np.ndarray
  apart: np.ndarray
  turned: np.ndarray  # degrees


def voice(path: Path, seconds: float) -> int:
  """Writes the sentence over and over; the number of samples."""
  sentence, rate = soundfile.read(packaged.SENTENCE, dtype="int16")
  # No whole frame and no whole packet: so an end that is cut is seen.
  wanted = round(seconds * rate) + 137
  with soundfile.SoundFile(path, "w", rate, 1, "PCM_16") as out:
    left = wanted
    while left:
      piece = sentence[:left]
      out.write(piece)
      left -= len(piece)
  return wanted


def film(path: Path, seconds: float) -> None:
  """Writes a drawn head that moves, forth and back over ten seconds.

  Its packets are copied as often as they are wanted.
  """
  (recipe,) = render.recipes(
    seed=1,
    identities=1,
    held_out=0,
    clips_per_identity=1,
    seconds=LOOP_S,
    size=POSE_PX,
    framing="medium",
  )
  frames = [decode_frame(x) for x in render.render_clip(recipe).frames]
  once = [*frames, *frames[-2:0:-1]]
  wanted = round(seconds * 25)
  if wanted < len(once):
    mp4.write_video(path, once[:wanted])
    return
  unit = path.with_name("unit.mp4")
  mp4.write_video(unit, once)
  with av.open(str(path), "w") as out:
    stream = None
    for begin in range(0, wanted, len(once)):
      with av.open(str(unit)) as file:
        video = file.streams.video[0]
        stream = stream or out.add_stream_from_template(video)
        for packet in file.demux(video):
          if packet.size:
            shift = round(begin / 25 / packet.time_base)
            packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
            packet.stream = stream
            out.mux(packet)


def make(folder: Path, has_pose: bool, size: int) -> None:
  """Makes the video in this process, and writes down when minutes begin."""
  import speak_jax
  from speak_jax.inference import take as takes

  request = speak_jax.Request(
    identity=packaged.PORTRAIT,
    audio=folder / "voice.wav",
    pose=folder / "pose.mp4" if has_pose else None,
    size=size,
  )
  model = speak_jax.load()
  marks = []

  def mark() -> None:
    fields = next(x for x in processes() if x["Pid"] == str(os.getpid()))
    marks.append((time.perf_counter(), held(fields, "VmRSS")))

  def timed(frames: Iterator[np.ndarray]) -> Generator[np.ndarray, None, None]:
    for i, frame in enumerate(frames):
      if i % MINUTE == 0:
        mark()
      yield frame

  take = model.take(request)
  take = take._replace(frames=timed(take.frames))
  takes.write(take, folder / "made.mp4", say=lambda line: None)
  mark()
  print(json.dumps(list(zip(*marks, strict=True))))


def measured(command: list[str]) -> Cost:
  """Runs `make` in a process, and watches it and those that it starts."""
  made = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
  most: dict[str, float] = {str(made.pid): 0.0}  # of each of them
  while made.poll() is None:
    for fields in processes():
      if fields["Pid"] in most or fields["PPid"] in most:
        known = most.get(fields["Pid"], 0.0)
        most[fields["Pid"]] = max(known, held(fields, "VmHWM"))
    time.sleep(SAMPLE_S)
  assert made.stdout is not None
  if made.returncode:
    raise RuntimeError(f"the video was not made ({made.returncode})")
  seconds, mib = json.loads(made.stdout.read().splitlines()[-1])
  own = most.pop(str(made.pid))
  return Cost(own, max(most.values(), default=0.0), seconds, mib)


def processes() -> Iterator[dict[str, str]]:
  """What Linux says of each process."""
  for path in Path("/proc").glob("[0-9]*/status"):
    with contextlib.suppress(OSError):
      lines = path.read_text().splitlines()
      pairs = (line.partition(":")[::2] for line in lines)
      yield {name: text.strip() for name, text in pairs}


def held(fields: dict[str, str], name: str) -> float:
  """Memory of a process, MiB; of a dead one 0."""
  return int(fields.get(name, "0").split()[0]) / 1024


def looked_at(path: Path) -> Minutes:
  """Looks at a video minute by minute, or at both halves of a shorter one."""
  from data_pipelines.faces.tracker import Tracker
  from speak_jax.evaluation.photographs.judges import Judges
  from speak_jax.evaluation.photographs.self_driven import STRANGER
  from speak_jax.metrics import image

  total = count(path)
  each = MINUTE if total >= 2 * MINUTE else total // 2
  tracker = Tracker()
  judges = Judges(tracker, None)
  portrait = decoder.read_image(packaged.PORTRAIT)[None]
  ours = judges.see(portrait).identity[0]

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


def count(path: Path) -> int:
  """The number of pictures in a video."""
  with av.open(str(path)) as video:
    return sum(packet.size > 0 for packet in video.demux(video=0))


def line(values: np.ndarray) -> tuple[float, float]:
  """Rise in an hour of a straight line through minutes, and its error."""
  if len(values) < 3:
    return np.nan, np.nan
  hours = np.arange(len(values)) / 60
  (slope, _), spread = np.polyfit(hours, values, 1, cov="unscaled")
  rest = values - np.polyval(np.polyfit(hours, values, 1), hours)
  error = np.sqrt(spread[0, 0] * (rest**2).sum() / (len(values) - 2))
  return float(slope), float(error)


def said(name: str, values: np.ndarray) -> str:
  """Median, spread, and the last minute beside the first."""
  middle = np.median(values)
  return (
    f"{name} {middle:.3f} (spread {values.std() / middle:.2%}, last beside"
    f" first {values[-1] / values[0] - 1:+.2%})"
  )


def row(seconds: float, has_pose: bool, size: int) -> str:
  """Makes and looks at one video; the lines that say what was found."""
  with tempfile.TemporaryDirectory() as name:
    folder = Path(name)
    wanted = voice(folder / "voice.wav", seconds)
    if has_pose:
      film(folder / "pose.mp4", seconds)
    command = [sys.executable, "-m", "tests.benchmarks.endless", "--make", name]
    words = [f"--size={size}", *(["--pose"] if has_pose else [])]
    cost = measured([*command, *words])
    made = folder / "made.mp4"
    frames, extra = count(made), heard(made) - wanted
    minutes = looked_at(made)
  rates, mib = cost.rates, cost.minutes_mib
  if len(rates) > 1:  # the last minute may be a part of one
    rates = rates[: frames // MINUTE]
  else:
    rates = np.array([frames / (cost.seconds[-1] - cost.seconds[0])])
  slope, error = line(minutes.apart)
  alike = np.nan
  if len(minutes.apart) > 2:
    alike = np.corrcoef(minutes.apart, minutes.turned)[0, 1]
  grown = f"{mib[-2] - mib[1]:+.0f} MiB" if len(mib) > 3 else "too short"
  return "\n  ".join(
    [
      f"{seconds:g} s, {'a video as long' if has_pose else 'idle'}:",
      f"peak {cost.mib:.0f} MiB, decoders {cost.decoders_mib:.0f} MiB;"
      f" grows: {grown}",
      f"frames/s {np.median(rates):.1f} ({rates.min():.1f} to"
      f" {rates.max():.1f}); {frames} frames; samples {extra:+d}",
      said("sharp", minutes.sharp),
      said("apart", minutes.apart)
      + f", in an hour {slope:+.4f} +- {error:.4f}",
      f"turned {np.median(minutes.turned):.2f} degrees, correlation with apart"
      f" {alike:+.2f}; {len(minutes.apart)} minutes or halves",
    ]
  )


def heard(path: Path) -> int:
  """The number of 16 kHz samples in a file."""
  return len(decoder.read_recording(path, 0))


def machine() -> str:
  """Cores, load, versions."""
  import jax

  load = ", ".join(f"{x:.1f}" for x in os.getloadavg())
  return (
    f"{os.cpu_count()} cores ({platform.machine()}), load {load}; Python"
    f" {platform.python_version()}, jax {jax.__version__}"
  )


def main() -> None:
  """Reads the flags and prints what was found."""
  parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.endless")
  parser.add_argument("--seconds", default="10,600", help="of sound, of each")
  parser.add_argument("--pose", action="store_true", help="a video as long")
  parser.add_argument("--size", type=int, default=128, help="px")
  parser.add_argument("--make", help=argparse.SUPPRESS)
  args = parser.parse_args()
  if args.make:
    make(Path(args.make), args.pose, args.size)
    return
  print(machine(), flush=True)
  for seconds in map(float, args.seconds.split(",")):
    print(row(seconds, args.pose, args.size), flush=True)


if __name__ == "__main__":
  main()
