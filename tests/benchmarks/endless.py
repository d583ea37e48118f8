"""Whether a long video costs more memory than a short one, and decays.

  python -m tests.benchmarks.endless [--seconds 10,600] [--pose] [--size 128]

Makes a video of the example portrait and so many seconds of the example
sentence, over and over, each in a process of its own, and prints its peak
memory, that of the process that decodes for it, frames a second with all that
is read and written, and by how many samples it ends beside its sound. Of the
first minute: sharpness (gradient energy of the frames) and how far the person
is from the photograph by the judge of identity; and by how much both differ in
the last minute. --pose adds a video of head motion that is as long.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import soundfile

from data_pipelines.dataset.pictures import decode_frame
from data_pipelines.media import decoder, mp4
from data_pipelines.synthetic import render
from speak_jax.common import packaged

LOOK_FRAMES, EVERY = 60 * 25, 5  # of each end; which of them are looked at


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
  """Writes a drawn head that moves, forth and back over ten seconds."""
  (recipe,) = render.recipes(
    seed=1,
    identities=1,
    held_out=0,
    clips_per_identity=1,
    seconds=10.0,
    size=160,
    framing="medium",
  )
  jpegs = render.render_clip(recipe).frames
  turn = [*range(len(jpegs)), *range(len(jpegs) - 2, 0, -1)]

  def frames() -> Iterator[np.ndarray]:
    for i in range(round(seconds * 25)):
      yield decode_frame(jpegs[turn[i % len(turn)]])

  mp4.write_video(path, frames())


def make(folder: Path, has_pose: bool, size: int) -> dict[str, float]:
  """Makes the video in this process; MiB and seconds."""
  import speak_jax

  request = speak_jax.Request(
    identity=packaged.PORTRAIT,
    audio=folder / "voice.wav",
    pose=folder / "pose.mp4" if has_pose else None,
    size=size,
  )
  model = speak_jax.load()
  start = time.perf_counter()
  model.write(request, folder / "made.mp4", say=lambda line: None)
  took = time.perf_counter() - start
  me = str(os.getpid())
  others = [fields for fields in processes() if me == fields["PPid"]]
  return {
    "mib": peak(next(x for x in processes() if x["Pid"] == me)),
    "children_mib": max(map(peak, others), default=0.0),
    "took": took,
  }


def processes() -> Iterator[dict[str, str]]:
  """What Linux says of each process."""
  for path in Path("/proc").glob("[0-9]*/status"):
    with contextlib.suppress(OSError):
      lines = path.read_text().splitlines()
      pairs = (line.partition(":")[::2] for line in lines)
      yield {name: text.strip() for name, text in pairs}


def peak(fields: dict[str, str]) -> float:
  """The most memory that a process has had, MiB; of a dead one 0."""
  return int(fields.get("VmHWM", "0").split()[0]) / 1024


def ends(path: Path) -> list[tuple[float, float]]:
  """Gradient energy, and distance of the person from the portrait.

  Returns:
    Of the first and of the last minute, or of both halves of a shorter video.
  """
  from data_pipelines.faces.tracker import Tracker
  from speak_jax.evaluation.photographs.judges import Judges
  from speak_jax.evaluation.photographs.self_driven import identity_distance
  from speak_jax.metrics import image

  total = count(path)
  wanted = min(LOOK_FRAMES, total // 2)
  firsts, lasts = [], []
  for i, frame in enumerate(decoder.Frames(path)):
    if i % EVERY:
      continue
    if i < wanted:
      firsts.append(frame)
    if i >= total - wanted:
      lasts.append(frame)
  judges = Judges(Tracker(), None)
  portrait = judges.see(decoder.read_image(packaged.PORTRAIT)[None])
  found = []
  for frames in map(np.stack, (firsts, lasts)):
    seen = judges.see(frames)
    apart = identity_distance(seen, portrait)
    energy = image.gradient_energy(frames)
    found.append((float(energy.mean()), float(apart.mean())))
  return found


def count(path: Path) -> int:
  """The number of pictures in a video."""
  with av.open(str(path)) as video:
    return sum(packet.size > 0 for packet in video.demux(video=0))


def row(seconds: float, has_pose: bool, size: int) -> str:
  """Makes and looks at one video; a line of the table."""
  with tempfile.TemporaryDirectory() as name:
    folder = Path(name)
    wanted = voice(folder / "voice.wav", seconds)
    if has_pose:
      film(folder / "pose.mp4", seconds)
    command = [sys.executable, "-m", "tests.benchmarks.endless", "--make", name]
    words = [f"--size={size}", *(["--pose"] if has_pose else [])]
    done = subprocess.run(
      [*command, *words], check=True, stdout=subprocess.PIPE, text=True
    )
    cost = json.loads(done.stdout.splitlines()[-1])
    made = folder / "made.mp4"
    frames, extra = count(made), len(decoder.read_audio(made)) - wanted
    (sharp, apart), (sharp_last, apart_last) = ends(made)
  return (
    f"{seconds:8g} {'video' if has_pose else 'idle':>6} {cost['mib']:9.0f}"
    f" {cost['children_mib']:9.0f} {frames / cost['took']:9.1f}"
    f" {frames:7d} {extra:+8.0f} {sharp:8.2f} {sharp_last / sharp - 1:+8.2%}"
    f" {apart:8.3f} {apart_last / apart - 1:+8.2%}"
  )


HEAD = (
  f"{'sound s':>8} {'pose':>6} {'peak MiB':>9} {'decoders':>9}"
  f" {'frames/s':>9} {'frames':>7} {'samples':>8} {'sharp':>8} {'last':>8}"
  f" {'apart':>8} {'last':>8}"
)


def main() -> None:
  """Reads the flags and prints the table."""
  parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.endless")
  parser.add_argument("--seconds", default="10,600", help="of sound, of each")
  parser.add_argument("--pose", action="store_true", help="a video as long")
  parser.add_argument("--size", type=int, default=128, help="px")
  parser.add_argument("--make", help=argparse.SUPPRESS)
  args = parser.parse_args()
  if args.make:
    print(json.dumps(make(Path(args.make), args.pose, args.size)))
    return
  print(HEAD, flush=True)
  for seconds in map(float, args.seconds.split(",")):
    print(row(seconds, args.pose, args.size), flush=True)


if __name__ == "__main__":
  main()
