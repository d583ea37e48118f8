"""Films synthetic people: mp4 files with sound, one folder a person.

  python -m data_pipelines.synthetic.film --out VIDEOS --identities 100

What a camera would have: neither landmarks nor poses nor emotions are written
down. `prepare --source folder` then has to find them, as on recordings, and
the two ways can be compared. Files that are there are kept.
"""

from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from absl import app, flags

from data_pipelines.dataset.pictures import decode_frame
from data_pipelines.media.mp4 import write_video
from data_pipelines.synthetic import render
from speak_jax.common import command_line, outputs
from speak_jax.common.progress import Progress

FLAGS = flags.FLAGS


def film(recipe: render.Recipe, out: Path) -> Path:
  """Writes out/PERSON/CLIP.mp4, unless it is there."""
  person = f"{recipe.split}_{recipe.identity:05d}"
  path = out / person / f"{recipe.take:02d}.mp4"
  if not path.exists():
    path.parent.mkdir(parents=True, exist_ok=True)
    clip = render.render_clip(recipe)
    write_video(path, map(decode_frame, clip.frames), clip.fps, clip.audio)
  return path


def main(argv: list[str]) -> int:
  """Films the people that `prepare --source synthetic` would train on."""
  del argv
  try:
    outputs.check_folder(FLAGS.out, [])
  except ValueError as error:
    return command_line.fail("film", str(error))
  clips: Any = FLAGS["clips-per-identity"].value
  recipes = render.recipes(
    seed=FLAGS.seed,
    identities=FLAGS.identities,
    held_out=0,
    clips_per_identity=clips,
    seconds=FLAGS.seconds,
    size=FLAGS.size,
    framing=FLAGS.framing,
  )
  make = partial(film, out=Path(FLAGS.out))
  with (
    ProcessPoolExecutor(FLAGS.workers, get_context("spawn")) as pool,
    Progress("film", "clip", len(recipes)) as progress,
  ):
    for i, _ in enumerate(pool.map(make, recipes)):
      progress.update(i + 1)
  print(f"{FLAGS.out}: {len(recipes)} videos of {FLAGS.identities} people")
  return 0


if __name__ == "__main__":
  # Not at import: other commands have flags of these names too.
  flags.DEFINE_string("out", None, "Folder of the videos.", required=True)
  flags.DEFINE_integer("identities", 100, "People.", 1)
  flags.DEFINE_integer("clips-per-identity", 5, "Of each person.", 1)
  flags.DEFINE_float("seconds", 2.0, "Of a clip.", 0.2)
  flags.DEFINE_integer("size", 256, "Pixels of a side.", 64)
  flags.DEFINE_enum(
    "framing", "medium", ["tight", "medium", "wide"], "How much face, motion."
  )
  flags.DEFINE_integer("seed", 0, "Chooses the people, as prepare's.", 0)
  flags.DEFINE_integer("workers", 2, "Processes.", 1)
  app.run(main, flags_parser=command_line.parser("film"))
