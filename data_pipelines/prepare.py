"""Prepares a data set: raw videos, or synthetic faces, to records on disk.

  python -m data_pipelines.prepare --source mead --input RAW --output DATA
  python -m data_pipelines.prepare --source mead --input RAW --dry-run
  python -m data_pipelines.prepare --source synthetic --output DATA

The bytes are the same for any number of workers, or of machines with one kind
of CPU, and a run that was interrupted goes on where it was, to the clip. Clips
and stretches of clips that cannot be used are listed in DATA/rejects.jsonl, odd
ones that were used in DATA/notes.jsonl; a table of reasons is printed at the
end. docs/preparing.md says how it runs on one machine and on many.

Exit codes: 0 done, 65 too many rejects (the data set is left unfinished; run
again with a larger --max-reject to accept it), 1 anything else.
"""

import re
from collections.abc import Callable
from typing import Any

from absl import app, flags

from data_pipelines.dataset import writer
from data_pipelines.faces import cut
from data_pipelines.faces.face_rule import parse_face_rule
from data_pipelines.ingest import pool, run
from data_pipelines.ingest.guard import TooManyRejectsError
from data_pipelines.ingest.outcomes import PrepareError
from data_pipelines.ingest.summary import Reason, Summary, read_reasons
from data_pipelines.sources import counts
from data_pipelines.sources.task import Survey, Task
from speak_jax import spec
from speak_jax.common import command_line, names, outputs

TOO_MANY_REJECTS = 65  # exit code: the input data is at fault
SHOWN_GAPS = 10

_SOURCE = flags.DEFINE_enum(
  "source",
  None,
  ["synthetic", "folder", "voxceleb2", "mead", "crema_d", "hdtf"],
  "Where the clips come from; docs/data.md says how each must lie on disk.",
)
_INPUT = flags.DEFINE_string(
  "input", None, "Folder of raw videos, or of an unpacked public set."
)
_DRY_RUN = flags.DEFINE_bool(
  "dry-run", False, "Say what there is and what is missing; write nothing."
)
_VIEWS = flags.DEFINE_list(
  "views", ["front"], "mead: cameras, comma-separated, or all."
)
_OUTPUT = flags.DEFINE_string("output", None, "The data set's directory.")
_WORKERS = flags.DEFINE_integer(
  "workers", None, "Processes; default: one a CPU core.", lower_bound=1
)
_SHARD = flags.DEFINE_string(
  "shard", None, "i/n, from 1: make the share of machine i of n, no more."
)
_RETRY = flags.DEFINE_bool(
  "retry-rejected", False, "Try the clips again that were rejected before."
)
_SIZE = flags.DEFINE_integer("size", 256, "Side of the crops, px.", 16, 2048)
_FPS = flags.DEFINE_float("fps", spec.FPS, "Frame grid.", 1, 120)
_SEED = flags.DEFINE_integer("seed", 0, "Of the split and of made-up clips.", 0)
_MAX_REJECT = flags.DEFINE_float(
  "max-reject", 0.5, "Largest share of clips that may be rejected.", 0, 1
)
_HELD_OUT = flags.DEFINE_float(
  "held-out",
  0.1,
  "folder, synthetic: identities of the test split, a share (below 1) or a "
  "number; synthetic ones come on top of --identities.",
  0,
)
_HELD_OUT_KIND = flags.DEFINE_enum(
  "held-out-kind",
  "people",
  ["people", "clips", "moments"],
  "folder: what --held-out is of: people; each person's videos; or the end of "
  "each video, so that one person's run can be evaluated.",
)
_MAX_FRAMES = flags.DEFINE_integer(
  "max-frames", 1024, "Real videos: longest clip; longer ones are split.", 1
)
_ALLOW_SILENT = flags.DEFINE_bool(
  "allow-silent",
  False,
  "Real videos: take those without sound, with silence.",
)
_ON_MISSING_FACE = flags.DEFINE_enum(
  "on-missing-face",
  "skip",
  ["fail", "hold", "skip"],
  "Real videos: where no face is seen, refuse the video, hold the crop over "
  "the gap, or end the clip (short gaps are bridged).",
)
_FACE = flags.DEFINE_string(
  "face",
  "largest",
  "Real videos: which face is followed, `largest`, `first` (from the left), "
  "`2` and so on of the first picture with one, or `box:x,y,w,h`, that place "
  "in source px.",
)
_IDENTITIES = flags.DEFINE_integer(
  "identities", 100, "synthetic: people to train on.", 1
)
_CLIPS = flags.DEFINE_integer(
  "clips-per-identity", 5, "synthetic: each with another emotion.", 1
)
_SECONDS = flags.DEFINE_float("seconds", 2.0, "synthetic: of a clip.", 0.2)
_FRAMING = flags.DEFINE_enum(
  "framing",
  "medium",
  ["tight", "medium", "wide"],
  "synthetic: how much face and how much motion.",
)
_EMOTIONS = flags.DEFINE_list(
  "emotions", list(spec.EMOTIONS), "synthetic: names, comma-separated."
)
_LEVELS = flags.DEFINE_list(
  "levels", ["1", "2", "3"], "synthetic: strengths, comma-separated."
)
_TWINS = flags.DEFINE_integer(
  "twins-every", 0, "synthetic: frames between exact swap targets; 0 none.", 0
)
_SPEECH = flags.DEFINE_string(
  "speech",
  None,
  "synthetic: folder of recordings and their sentences, which drawn people "
  "speak, for --seconds at most; docs/data.md says how they must lie.",
)
_MESHES = flags.DEFINE_bool(
  "meshes", False, "synthetic: with FaceMesh's points; videos always have them."
)


def main(argv: list[str]) -> int:
  """Runs the command; returns the exit code."""
  if len(argv) > 1:
    line = f"{argv[1]}: unexpected argument; say --input {argv[1]}"
    return command_line.fail("prepare", line)
  return run_with(run_local)


def run_local(tasks: list[Task], meta: dict[str, Any]) -> Summary:
  """Prepares the clips, or --shard i/n of them, on this machine."""
  return run.prepare(
    tasks,
    _OUTPUT.value or ".",
    workers=_WORKERS.value or pool.cores(),
    meta=meta,
    max_reject=_MAX_REJECT.value,
    shard=_shard(),
    retry=_RETRY.value,
  )


def run_with(
  execute: Callable[[list[Task], dict[str, Any]], Summary],
) -> int:
  """Prepares the clips that the flags choose, and prints the summary.

  Args:
    execute: Takes clips and settings, and prepares them: `run_local`.

  Returns:
    The exit code.
  """
  output = _OUTPUT.value or "."
  over = ""
  try:
    survey, meta = find_clips()
    if _DRY_RUN.value:
      print(counts.page(survey))
      return 0
    if _OUTPUT.value is None:
      raise PrepareError("--output DIR is needed, or --dry-run")
    names.check_utf8(output)
    inputs = list(filter(None, (_INPUT.value, _SPEECH.value)))
    outputs.check_folder(output, inputs)
    print(counts.licence(survey))
    if survey.gaps:
      print(counts.gaps(survey, SHOWN_GAPS))
    over = counts.passed(survey, SHOWN_GAPS)
    summary = execute(survey.tasks, meta)
  except TooManyRejectsError as error:
    _print_table(read_reasons(output))
    print(over, end="\n" * bool(over))
    return command_line.fail("prepare", str(error), TOO_MANY_REJECTS)
  except (ValueError, OSError) as error:
    return command_line.fail("prepare", str(error))
  except KeyboardInterrupt:
    return command_line.fail("prepare", "interrupted; run again to go on", 130)
  _print_table(summary.reasons)
  print(over, end="\n" * bool(over))
  print(
    f"{output}: {summary.clips} clips, {summary.frames} frames, "
    f"{summary.seconds / 60:.1f} minutes, {summary.rejects} rejected"
  )
  if _shard()[1] > 1:
    print(
      f"{output}: this was --shard {_SHARD.value}; when all shards are made, "
      "one call without --shard makes the data set of them"
    )
  return 0


def _print_table(reasons: list[Reason]) -> None:
  """Why what was rejected was, the most frequent reason first."""
  if reasons:
    print(f"{'clips':>9} {'stretches':>9}  rejected because")
  for clips, stretches, reason in reasons:
    print(f"{clips:>9} {stretches:>9}  {reason}")


def _shard() -> tuple[int, int]:
  """(i, n) of --shard i/n."""
  match = re.fullmatch(r"(\d+)/(\d+)", _SHARD.value or "1/1")
  number, count = (int(match[1]), int(match[2])) if match else (0, 0)
  if not 1 <= number <= count:
    raise PrepareError(
      f"--shard {_SHARD.value}: not i/n with i from 1 to n, such as 1/8"
    )
  return number, count


def find_clips() -> tuple[Survey, dict[str, Any]]:
  """Surveys the source that the flags name.

  Returns:
    The clips that it has, and the settings that the data set is made with.

  Raises:
    ValueError: one line with the reason.
  """
  drawn = _SOURCE.value == "synthetic"
  if _SPEECH.value is not None and not drawn:
    raise PrepareError("--speech is for --source synthetic: others have sound")
  survey, settings = _drawn() if drawn else _filmed()
  licence = survey.licence._asdict()
  return survey, {"source": _SOURCE.value, **settings, "licence": licence}


def _drawn() -> tuple[Survey, dict[str, Any]]:
  # The sources are imported where they are needed: the renderer has a
  # compiler, real videos have networks.
  from data_pipelines.sources import recordings, synthetic
  from data_pipelines.synthetic import render

  settings = {
    "fps": _FPS.value,
    "size": _SIZE.value,
    "seed": _SEED.value,
    "identities": _IDENTITIES.value,
    "held_out": _held_out_number(),
    "clips_per_identity": _CLIPS.value,
    "seconds": _SECONDS.value,
    "framing": _FRAMING.value,
    "emotions": tuple(_emotion(name) for name in _EMOTIONS.value),
    "levels": tuple(map(_level, _LEVELS.value)),
    "twins_every": _TWINS.value,
  }
  recipes, meshes = render.recipes(**settings), _MESHES.value
  if meshes:  # sets of before know no others
    settings["meshes"] = True
  if _SPEECH.value is None:
    tasks = synthetic.tasks(recipes, meshes=meshes)
    return Survey(tasks, [], synthetic.LICENCE), settings
  voices, passed = recordings.find(_SPEECH.value)
  survey = synthetic.survey(recipes, voices, meshes=meshes, seed=_SEED.value)
  settings["speech"] = recordings.digest(voices)
  return survey._replace(passed=passed), settings


def _filmed() -> tuple[Survey, dict[str, Any]]:
  from data_pipelines.sources import crema_d, folder, hdtf, mead, voxceleb2

  source, root = _SOURCE.value or "", _INPUT.value
  if root is None:
    raise PrepareError(f"--source {source} needs --input FOLDER")
  media = _media()
  if source == "folder":
    split: dict[str, Any] = {"seed": _SEED.value, "held_out": _HELD_OUT.value}
    kind = _HELD_OUT_KIND.value
    survey = folder.survey(root, settings=media, kind=kind, **split)
    if kind != "people":  # sets of before know no others
      split[writer.HELD_OUT] = kind
    return survey, {**split, **media._asdict()}
  if _HELD_OUT.present or _HELD_OUT_KIND.present:
    raise PrepareError(
      f"--held-out is for folders: the test people of {source} are fixed, "
      "see docs/data.md"
    )
  if source == "mead":
    views = mead.VIEWS if _VIEWS.value == ["all"] else tuple(_VIEWS.value)
    survey = mead.survey(root, settings=media, views=views)
    return survey, {"views": views, **media._asdict()}
  surveys = {
    "voxceleb2": voxceleb2.survey,
    "crema_d": crema_d.survey,
    "hdtf": hdtf.survey,
  }
  return surveys[source](root, settings=media), media._asdict()


def _media() -> cut.Settings:
  """How videos become clips, as the flags say."""
  try:
    parse_face_rule(_FACE.value)
    return cut.Settings(
      fps=_FPS.value,
      size=_SIZE.value,
      max_frames=_MAX_FRAMES.value,
      allow_silent=_ALLOW_SILENT.value,
      on_missing_face=_ON_MISSING_FACE.value,
      face=_FACE.value,
    )
  except ValueError as error:
    raise PrepareError(str(error)) from None


def _held_out_number() -> int:
  share = _HELD_OUT.value
  return round(share if share >= 1 else share * _IDENTITIES.value)


def _emotion(name: str) -> int:
  if name not in spec.EMOTIONS:
    raise PrepareError(
      f"--emotions {name}: not one of {', '.join(spec.EMOTIONS)}"
    )
  return spec.EMOTIONS.index(name)


def _level(text: str) -> int:
  if text not in ("1", "2", "3"):
    raise PrepareError(f"--levels {text}: not 1, 2 or 3")
  return int(text)


if __name__ == "__main__":
  flags.mark_flag_as_required(_SOURCE.name)
  app.run(main, flags_parser=command_line.parser("prepare"))
