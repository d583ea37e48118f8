"""Draws the four inputs of a first video: held-out people, one for each.

  python -m data_pipelines.synthetic.demo_inputs [--out inputs] [--seed 0]

The person whose picture it is, the one who speaks, the one whose head moves
and the one who is happy are four people that no training has seen, drawn at
256 px, with more room round the face and larger turns than the training data
have.
"""

from collections.abc import Sequence
from pathlib import Path

import cv2
import soundfile
from absl import app, flags

from data_pipelines.dataset.pictures import decode_frame
from data_pipelines.media.mp4 import write_video
from data_pipelines.synthetic.render import Recipe, render_clip
from speak_jax import spec
from speak_jax.common import command_line, exit_codes

SIZE_PX = 256
SECONDS = 4.0


def clip(
  seed: int, person: int, emotion: str, level: int, seconds: float = SECONDS
) -> spec.Record:
  """A clip of one held-out person."""
  return render_clip(
    Recipe(
      seed=seed,
      split="test",
      identity=person,
      emotion=spec.EMOTIONS.index(emotion),
      level=level,
      seconds=seconds,
      size=SIZE_PX,
      framing="medium",
    )
  )


def video(path: Path, record: spec.Record) -> None:
  """Writes a clip with its sound."""
  frames = (decode_frame(jpeg) for jpeg in record.frames)
  write_video(path, frames, record.fps, record.audio)


def draw_inputs(out: Path, seed: int) -> None:
  """Writes identity.png, speech.wav, pose.mp4 and emotion.mp4 into `out`."""
  out.mkdir(parents=True, exist_ok=True)
  person = clip(seed, 0, "neutral", 1)
  picture = decode_frame(person.frames[0])
  cv2.imwrite(str(out / "identity.png"), picture[..., ::-1])
  speaker = clip(seed, 1, "neutral", 1)
  soundfile.write(out / "speech.wav", speaker.audio, spec.SAMPLE_RATE_HZ)
  video(out / "pose.mp4", clip(seed, 2, "neutral", 1))
  video(out / "emotion.mp4", clip(seed, 3, "happy", 3))


FLAGS = flags.FLAGS


def main(argv: Sequence[str]) -> int:
  """Runs the command; returns the exit code."""
  if len(argv) > 1:
    line = f"{argv[1]}: unexpected argument"
    return command_line.fail("demo_inputs", line, exit_codes.BAD_CONFIG)
  out = Path(FLAGS.out)
  try:
    draw_inputs(out, FLAGS.seed)
  except OSError as error:
    line = f"{error.filename}: {error.strerror}"
    return command_line.fail("demo_inputs", line)
  names = ", ".join(sorted(path.name for path in out.iterdir()))
  print(f"demo inputs: {out}: {names}")
  return 0


if __name__ == "__main__":
  # Not at import: other commands have flags of these names too.
  flags.DEFINE_string("out", "inputs", "Folder to write them into.")
  flags.DEFINE_integer("seed", 0, "Seed of the people.", 0)
  app.run(main, flags_parser=command_line.parser("demo_inputs"))
