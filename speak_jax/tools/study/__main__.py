"""Makes a blind user study of several methods' clips, and reads its answers.

  python -m speak_jax.tools.study --results ours=A,wav2lip=B,truth=C \
    --out study/
  python -m speak_jax.tools.study --collect answers/*.json \
    --key study/key.json --out table.md

A result is a folder of mp4s with sound, or a folder of such folders, one for
each method; clips are the names that all methods have. Raters get study/page
(one file, or a folder when the clips are too large for that) and send back
one JSON file each. study/key.json tells which method is behind which number:
keep it.
"""

import warnings
from collections.abc import Sequence
from pathlib import Path

from absl import app, flags

from data_pipelines.media.error import MediaWarning
from speak_jax.common import command_line, files, outputs
from speak_jax.common.names import split_named
from speak_jax.tools.study import answers as answer_files
from speak_jax.tools.study import build, report

FLAGS = flags.FLAGS


def main(argv: list[str]) -> int:
  """Makes a study or collects one; 0, or 1 and a line if it cannot."""
  warnings.simplefilter("ignore", MediaWarning)
  try:
    if bool(FLAGS.results) == bool(FLAGS.collect):
      raise ValueError("give either --results or --collect")
    if FLAGS.collect:
      return _collect([FLAGS.collect, *argv[1:]])
    if len(argv) > 1:
      raise ValueError(f"{argv[1]}: unexpected argument")
    return _make()
  except (ValueError, OSError) as error:
    return command_line.fail("error", str(error))


def _make() -> int:
  videos, out = build.find_videos(FLAGS.results), Path(FLAGS.out or "study")
  folders = [path for _, path in map(split_named, FLAGS.results)]
  outputs.check_folder(out, [], sealed=folders)
  study = build.build(videos, out, FLAGS.seed, FLAGS.clips, FLAGS.embed_mb)
  print(
    f"{len(study.clips)} clips of {len(study.methods)} methods:"
    f" {', '.join(study.methods)}"
  )
  if study.embedded:
    print(f"wrote {study.page}, {study.megabytes:.1f} MB: send this one file")
  else:
    print(
      f"wrote {study.page.parent}, {study.megabytes:.1f} MB, larger than"
      f" --embed_mb: send the whole folder, raters open {study.page.name}"
    )
  print(f"wrote {study.key}: keep it, it tells which method is which")
  return 0


def _collect(names: Sequence[str]) -> int:
  out = Path(FLAGS.out or "table.md")
  outputs.check_file(out, [*names, FLAGS.key], (".md", ".txt"))
  key = answer_files.load_key(Path(FLAGS.key))
  answers, refused = answer_files.collect([Path(name) for name in names], key)
  for line in refused:
    command_line.fail("left out", line)
  if not answers:
    raise ValueError("no answers are left")
  text = report.table(answers, key, FLAGS.seed)
  files.write(out, text)
  print(text, end="")
  print(f"wrote {out}: {len(answers)} raters, {len(refused)} files left out")
  return 0


if __name__ == "__main__":
  flags.DEFINE_list("results", [], "NAME=FOLDER or FOLDER, comma-separated")
  flags.DEFINE_string("collect", "", "answer files of raters, any number")
  flags.DEFINE_string("key", "study/key.json", "the study's key, to collect")
  flags.DEFINE_string("out", "", "study/ to make, table.md to collect")
  flags.DEFINE_integer("seed", 0, "of the order, of the bootstrap", 0)
  flags.DEFINE_integer("clips", 0, "clips at most; 0: all", lower_bound=0)
  flags.DEFINE_float("embed_mb", 25.0, "largest page that is one file", 0)
  app.run(main, flags_parser=command_line.parser("study"))
