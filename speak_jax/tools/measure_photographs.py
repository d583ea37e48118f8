"""Measures how well photographs are moved, on a folder of clips of one face.

  python -m speak_jax.tools.measure_photographs --model BUNDLE --clips FOLDER \
    --out REPORT [--model BUNDLE ...] [--syncnet RUN] [--size 256] \
    [--seconds 8] [--most-yaw 90]

Each clip's first frame is the photograph. REPORT/report.md has the tables:
every --model beside a still first frame and the truth, as FaceMesh, a second
network of landmarks, one of identity, one of expression and, with --syncnet, a
SyncNet see them. REPORT/metrics.json has the same in full, REPORT/sheet.png
some frames of the first --model below the true ones. A clip that cannot be
measured is named with the reason. Nothing of it should have been trained on.
"""

import json
from pathlib import Path

import cv2
from absl import app, flags

from data_pipelines.faces.nets import MissingModelError
from data_pipelines.faces.tracker import Tracker
from data_pipelines.media.error import MediaError
from data_pipelines.sources.tree import VIDEO
from speak_jax import bundle
from speak_jax.common import command_line, exit_codes, files, outputs
from speak_jax.common.files import FileError
from speak_jax.common.progress import Progress
from speak_jax.evaluation import models
from speak_jax.evaluation.photographs import report
from speak_jax.evaluation.photographs.clips import Clip, read_clip
from speak_jax.evaluation.photographs.judges import Judges
from speak_jax.evaluation.photographs.measure import Measured, measure
from speak_jax.evaluation.photographs.methods import (
  Method,
  names_of,
  open_method,
)
from speak_jax.evaluation.readers.own_syncnet import OwnSyncNet
from speak_jax.evaluation.report import tables

FLAGS = flags.FLAGS
SEED = 0  # of the bootstrap
REASONS = 3  # that a folder's refusal names


def main(argv: list[str]) -> int:
  """Runs the command; 0 if the report is there, 1 with one line if not."""
  if len(argv) > 1:
    line = f"{argv[1]}: unexpected argument; the folder is given as --clips"
    return command_line.fail("error", line, exit_codes.BAD_CONFIG)
  out = Path(FLAGS.out)
  try:
    folder = Path(FLAGS.clips)
    if not folder.is_dir():
      raise FileError(folder, "no such folder")
    read = [folder, *map(Path, FLAGS.model)]
    outputs.check_folder(out, read)
    methods = [
      open_method(path, name)
      for path, name in zip(FLAGS.model, names_of(FLAGS.model), strict=True)
    ]
    sync = _sync(FLAGS.syncnet, methods)
    judges = Judges(Tracker(), sync)
    clips, left_out = _clips(folder, methods[0].fps, judges.tracker)
    if len(clips) < 2:
      raise ValueError(_too_few(FLAGS.clips, left_out))
    measured = measure(methods, clips, judges)
  except (FileError, ValueError, MissingModelError) as error:
    return command_line.fail("error", str(error))
  _write(out, measured, clips, left_out)
  return 0


def _sync(path: str, methods: list[Method]) -> OwnSyncNet | None:
  """Opens the SyncNet that judges.

  Raises:
    ValueError: there is none, or frame rates differ; one line.
  """
  rates = {method.fps for method in methods}
  if len(rates) > 1:
    raise ValueError(f"--model: frame rates differ, {sorted(rates)}")
  if not path:
    return None
  sync = models.own_syncnet(Path(path))
  if sync is None:
    raise ValueError(f"--syncnet {path}: it has no SyncNet")
  if {sync.fps} != rates:
    raise ValueError(
      f"--syncnet {path}: {sync.fps:g} frames/s, not {methods[0].fps:g}"
    )
  return sync


def _clips(
  folder: Path, fps: float, tracker: Tracker
) -> tuple[list[Clip], list[str]]:
  """Reads the folder's clips; lines about those that cannot be measured."""
  paths = sorted(x for x in folder.rglob("*") if x.suffix.lower() in VIDEO)
  clips, left_out = [], []
  most_yaw = FLAGS.get_flag_value("most-yaw", 90.0)
  with Progress("read", "clip", len(paths)) as progress:
    for i, path in enumerate(paths):
      try:
        name = str(path.relative_to(folder))
        clip = read_clip(
          path, FLAGS.size, FLAGS.seconds, fps, tracker, most_yaw
        )
        clips.append(clip._replace(name=name))
      except MediaError as error:
        left_out.append(f"{path.name}: {error.reason}")
      progress.update(i + 1)
  return clips, left_out


def _too_few(folder: str, left_out: list[str]) -> str:
  """The line that refuses a folder, with what was wrong with its clips."""
  line = f"{folder}: fewer than two clips to measure"
  if not left_out:
    return line
  more = len(left_out) - REASONS
  end = f" and {more} more" if more > 0 else ""
  return f"{line} ({'; '.join(left_out[:REASONS])}{end})"


def _write(
  out: Path, measured: Measured, clips: list[Clip], left_out: list[str]
) -> None:
  """Writes the report, and prints it."""
  made = report.tables_of(measured, SEED)
  said = sum(len(clip.speech) for clip in clips) / 16_000
  text = "\n".join(
    [
      "# Photographs that are moved",
      "",
      f"{len(clips)} clips, {said:.0f} s, longer side {FLAGS.size} px; mean and"
      " 95 % interval over clips.",
      "",
      *(_of_model(path) for path in FLAGS.model),
      "",
      *map(tables.markdown, made),
      *(f"- Left out: {line}" for line in left_out),
      "",
    ]
  )
  content = {
    "clips": [clip.name for clip in clips],
    "seconds": said,
    "left out": left_out,
    "tables": [json.loads(tables.as_json(table)) for table in made],
  }
  out.mkdir(parents=True, exist_ok=True)
  files.write(out / "report.md", text.encode())
  files.write(out / "metrics.json", json.dumps(content, indent=2).encode())
  png = cv2.imencode(".png", measured.sheet[..., ::-1])[1]
  files.write(out / "sheet.png", png.tobytes())
  print(text)


def _of_model(path: str) -> str:
  """A line on where a bundle comes from."""
  config = bundle.read(path).config
  return (
    f"- {path}: commit {config['commit'] or 'unknown'}, steps"
    f" {config['steps']}, seed {config['seed']}"
  )


if __name__ == "__main__":
  # Not at import: other commands have flags of these names too.
  flags.DEFINE_multi_string(
    "model", None, "Bundle that moves photographs; may be given several times."
  )
  flags.DEFINE_string("clips", None, "Folder of clips of one face, with sound.")
  flags.DEFINE_string("out", None, "Folder of the report.")
  flags.mark_flags_as_required(["model", "clips", "out"])
  flags.DEFINE_string(
    "syncnet", "", "Run or bundle whose SyncNet judges lip sync."
  )
  flags.DEFINE_integer("size", 256, "Longer side of the frames, px.", 64, 1024)
  flags.DEFINE_float("seconds", 8.0, "Of each clip at most.", 0.5)
  flags.DEFINE_float(
    "most-yaw", 90.0, "Degrees by which first frames may look aside.", 0, 90
  )
  app.run(main, flags_parser=command_line.parser("measure_photographs"))
