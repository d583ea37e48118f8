"""Measures how well photographs are moved, on a folder of clips of one face.

  python -m speak_jax.tools.measure_photographs --model BUNDLE --clips FOLDER \
    --out REPORT [--size 256] [--seconds 8] [--most-yaw 90]

Each clip's first frame is the photograph; head and lids are the clip's own and
lips come from its sound. REPORT/report.md has the table, REPORT/metrics.json
the same in full, REPORT/sheet.png some frames above the true ones. A clip that
cannot be measured is named with the reason. Nothing of it should have been
trained on.
"""

from pathlib import Path

import cv2
import numpy as np
from absl import app, flags

from data_pipelines.faces.nets import MissingModelError
from data_pipelines.faces.tracker import Tracker
from data_pipelines.media.error import MediaError
from data_pipelines.sources.tree import VIDEO
from speak_jax import bundle
from speak_jax.common import command_line, files, outputs
from speak_jax.common.progress import Progress
from speak_jax.evaluation import photographs
from speak_jax.evaluation.photographs import Clip, Made
from speak_jax.evaluation.report import tables
from speak_jax.inference.motion_model import MotionModel

FLAGS = flags.FLAGS
COLUMNS = (
  tables.Column("sharpness", "sharpness / real", 2),
  tables.Column("psnr_face", "PSNR face", 2),
  tables.Column("psnr", "PSNR whole", 2),
  tables.Column("f_lmd", "F-LMD", 2),
  tables.Column("m_lmd", "M-LMD", 2),
  tables.Column("gap_r", "opening r", 2),
  tables.Column("gap_r_other", "other speech", 2),
  tables.Column("pose_r2", "pose R2", 2),
)
SHOWN, CELL_PX, EACH = 8, 128, 6  # clips of the sheet, px, frames of each


def main(argv: list[str]) -> int:
  """Runs the command; 0 if the report is there, 1 with one line if not."""
  del argv
  out = Path(FLAGS.out)
  try:
    outputs.check_folder(out, [Path(FLAGS.clips), Path(FLAGS.model)])
    model = MotionModel.from_bundle(FLAGS.model)
    tracker = Tracker()
    clips, left_out = _clips(Path(FLAGS.clips), model, tracker)
    if len(clips) < 2:
      raise ValueError(f"{FLAGS.clips}: fewer than two clips to measure")
    table, sheet = _measured(model, clips, tracker)
    said = sum(len(clip.speech) for clip in clips) / 16_000
    quiet = photographs.silence(
      model, np.concatenate([clip.speech for clip in clips[:SHOWN]])
    )
  except (files.FileError, ValueError, MissingModelError) as error:
    return command_line.fail("error", str(error))
  config = bundle.read(FLAGS.model).config
  text = "\n".join(
    [
      "# Photographs that are moved",
      "",
      f"{len(clips)} clips, {said:.0f} s, longer side {FLAGS.size} px; model of"
      f" commit {config['commit'] or 'unknown'}, steps {config['steps']}, seed"
      f" {config['seed']}.",
      "",
      tables.markdown(table),
      "Self-driven. Sharpness and PSNR face: in the hull of the true mesh."
      " Landmarks, opening and pose are read by FaceMesh, which has driven the"
      " picture too.",
      f"Opening in silence over that in speech: {quiet:.2f}.",
      "",
      *(f"- Left out: {line}" for line in left_out),
      "",
    ]
  )
  out.mkdir(parents=True, exist_ok=True)
  files.write(out / "report.md", text.encode())
  files.write(out / "metrics.json", tables.as_json(table).encode())
  png = cv2.imencode(".png", sheet[..., ::-1])[1]
  files.write(out / "sheet.png", png.tobytes())
  print(text)
  return 0


def _clips(
  folder: Path, model: MotionModel, tracker: Tracker
) -> tuple[list[Clip], list[str]]:
  """Reads the folder's clips; lines about those that cannot be measured."""
  paths = sorted(x for x in folder.rglob("*") if x.suffix.lower() in VIDEO)
  clips, left_out = [], []
  fps = model.settings.fps
  with Progress("measure", "clip", len(paths)) as progress:
    for i, path in enumerate(paths):
      try:
        clips.append(
          photographs.read_clip(
            path,
            FLAGS.size,
            FLAGS.seconds,
            fps,
            tracker,
            FLAGS.get_flag_value("most-yaw", 90.0),
          )
        )
      except MediaError as error:
        left_out.append(f"{path.name}: {error.reason}")
      progress.update(i + 1)
  return clips, left_out


def _measured(
  model: MotionModel, clips: list[Clip], tracker: Tracker
) -> tuple[tables.Table, np.ndarray]:
  """Measures ours, a still first frame and the truth on all clips."""
  rows: dict[str, dict[str, list]] = {}
  cells = []
  with Progress("measure", "clip", len(clips)) as progress:
    for i, clip in enumerate(clips):
      own, other = (
        photographs.seen_in(
          photographs.driven(clip, model, one.speech), tracker
        )
        for one in (clip, clips[(i + 1) % len(clips)])
      )
      still = np.repeat(clip.frames[:1], len(clip.frames), 0)
      mesh = np.repeat(clip.track.mesh[:1], len(clip.frames), 0)
      truth = Made(clip.frames, clip.track.mesh)
      for name, made, beside in (
        ("ours", own, other),
        ("static first frame", Made(still, mesh), Made(still, mesh)),
        ("ground truth", truth, truth),
      ):
        measured = photographs.rows_of(clip, made, beside)
        for metric, row in measured.items():
          rows.setdefault(name, {}).setdefault(metric, []).append(row)
      if i < SHOWN:
        cells += [_strip(clip.frames), _strip(own.frames)]
      progress.update(i + 1)
  lines = [
    tables.Row(
      name,
      "",
      tables.MEASURED,
      photographs.values_of({k: np.stack(v) for k, v in metrics.items()}),
      clips=len(clips),
    )
    for name, metrics in rows.items()
  ]
  return tables.Table("Self-driven", COLUMNS, lines), np.concatenate(cells)


def _strip(frames: np.ndarray) -> np.ndarray:
  """Some frames of a clip side by side, cut to squares."""
  chosen = np.linspace(0, len(frames) - 1, EACH).round().astype(int)
  side = min(frames.shape[1:3])
  top, left = (x - side for x in frames.shape[1:3])
  squares = frames[
    chosen, top // 4 : top // 4 + side, left // 2 : left // 2 + side
  ]
  cell = (CELL_PX, CELL_PX)
  return np.concatenate(
    [cv2.resize(x, cell, interpolation=cv2.INTER_AREA) for x in squares], 1
  )


if __name__ == "__main__":
  # Not at import: other commands have flags of these names too.
  flags.DEFINE_string("model", None, "Bundle that moves photographs.")
  flags.DEFINE_string("clips", None, "Folder of clips of one face, with sound.")
  flags.DEFINE_string("out", None, "Folder of the report.")
  flags.mark_flags_as_required(["model", "clips", "out"])
  flags.DEFINE_integer("size", 256, "Longer side of the frames, px.", 64, 1024)
  flags.DEFINE_float("seconds", 8.0, "Of each clip at most.", 0.5)
  flags.DEFINE_float(
    "most-yaw", 90.0, "Degrees by which first frames may look aside.", 0, 90
  )
  app.run(main, flags_parser=command_line.parser("measure_photographs"))
