"""How near a stream's frames are to those of files; its speed: `speak bench`.

  python -m tests.benchmarks.streaming [--size 256]

The example portrait and sentence. Prints by how much frames differ from those
of `Model.generate` (of 255; a head that keeps still): at the level of the whole
sound, at the level as far as it is known, and with less look-ahead.

  python -m tests.benchmarks.streaming --sounds a.wav,b.wav

Sound in pieces of so many frames without look-ahead, which is what
examples/opentalking_backend.py gives: correlation of the lips' distance with
that of the whole sound, in the first 8 s of each file.
"""

import argparse
import warnings

import numpy as np

import speak_jax
from data_pipelines.media import decoder
from data_pipelines.media.error import MediaWarning
from data_pipelines.media.loudness import loudness
from speak_jax.common import packaged
from speak_jax.inference import utterance
from speak_jax.inference.motion_model import MotionModel
from speak_jax.losses.motion import gap

RATE = 16_000
PIECES = (5, 10, 14, 20, 28, 50)  # frames
HEARD_S = 8  # of a file


def nearness(model: speak_jax.Model, size: int) -> list[str]:
  """A line for each way to listen."""
  voice = decoder.read_audio(packaged.SENTENCE)
  fields = {"pose": packaged.PORTRAIT, "size": size}
  made = model.generate(packaged.PORTRAIT, (voice, RATE), **fields)
  whole = made.frames.astype(int)
  level = loudness(voice)
  lines = []
  for name, more in (
    ("level given", {"lufs": level}),
    ("level as known so far", {}),
    ("look-ahead 0.5 s", {"lufs": level, "look_ahead": 0.52}),
    ("look-ahead 0.2 s", {"lufs": level, "look_ahead": 0.2}),
    ("look-ahead 0.08 s", {"lufs": level, "look_ahead": 0.08}),
  ):
    with model.stream(packaged.PORTRAIT, **fields, **more) as stream:
      pieces = (voice[i : i + 640] for i in range(0, len(voice), 640))
      got = np.stack([f.picture for f in stream.over(pieces, RATE)])
    apart = np.abs(got - whole)
    lines.append(
      f"{name:24} largest {apart.max():3d}, mean {apart.mean():.4f}, frames"
      f" beyond 1: {(apart.max((1, 2, 3)) > 1).sum()} of {len(whole)}"
    )
  still = np.abs(whole[:1] - whole).mean()
  return [*lines, f"{'a mouth that keeps shut':24} mean {still:.4f}"]


def opening(
  network: MotionModel, sound: np.ndarray, piece: int, look_ahead: int
) -> np.ndarray:
  """How far lips are apart while a sound comes in pieces of so many samples."""
  hearing = utterance.Hearing(network.settings, look_ahead, loudness(sound))
  calm, said, points = np.zeros(8, np.float32), utterance.silence(), []
  for start in range(0, len(sound), piece):
    said = utterance.heard(said, sound[start : start + piece], hearing)
    if start + piece >= len(sound):
      said = utterance.ended(said)
    while (x := utterance.stretch(said, hearing, HEARD_S * 100)) is not None:
      made = network.stretch(x.sound, [0.0] * x.stop, calm, 1.0)[x.start :]
      said = utterance.taken(said, len(made))
      points.append(made)
  return np.asarray(gap(np.concatenate(points)[None])[0])


def in_pieces(paths: list[str]) -> None:
  """Prints a line for each sound."""
  network = MotionModel.from_bundle(packaged.PHOTOGRAPH)
  frame = round(RATE / network.settings.fps)
  print(f"pieces of {', '.join(map(str, PIECES))} frames")
  for path in paths:
    sound = decoder.read_audio(path)[: HEARD_S * RATE]
    whole = opening(network, sound, len(sound), network.settings.context)
    found = [opening(network, sound, n * frame, 0) for n in PIECES]
    rs = [np.corrcoef(one, whole)[0, 1] for one in found]
    print(path, " ".join(f"{r:.2f}" for r in rs), flush=True)


def main() -> None:
  """Reads the flags and prints the lines."""
  parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.streaming")
  parser.add_argument("--size", type=int, default=256, help="px")
  parser.add_argument("--sounds", default="", help="files, in pieces")
  args = parser.parse_args()
  warnings.simplefilter("ignore", MediaWarning)
  if args.sounds:
    in_pieces(args.sounds.split(","))
    return
  for line in nearness(speak_jax.load(), args.size):
    print(line, flush=True)


if __name__ == "__main__":
  main()
