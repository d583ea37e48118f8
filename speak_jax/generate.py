"""Makes a talking head: picture, speech, head motion and emotion to an mp4.

  python -m speak_jax.generate --identity face.png --audio speech.wav \
    [--pose nods.mp4] [--emotion happy.mp4] -o out.mp4 [--model BUNDLE]

`--identity example` and `--audio example` take a portrait and a sentence that
come with the package.

The model is the bundle `photograph` that comes with the package, unless one is
named. It moves the picture itself, at its own size. Four inputs, each from
another person if you like. Pictures may be videos and videos pictures; speech
may be the sound of a video. The video lasts as long as the speech; pose clips
that are shorter go back and forth. Without --pose the head sways and blinks;
--pose still keeps it still, and a CSV file of time, yaw, pitch and roll turns
it. --emotion is a video or picture of somebody who shows it, a name and its
strength, such as happy:0.7 (a file of that name counts more), or a CSV file of
time, emotion and level; without it none is added to what the picture shows.
docs/photographs.md says what else a photograph does.

`--model reference`, the other bundle that comes along, is the paper's method on
drawn people: it draws its frames itself, 64 px of a square round the face.
There the head keeps still without --pose, as in the picture, the face is
neutral without --emotion, and an emotion is always a file. Other bundles of the
paper's stages are like it.

Every video says that it is synthetic, and by which weights: an invisible
watermark in its frames, texts in the file, and a signed C2PA manifest.
`speak verify FILE` reads them (docs/marking.md).

The voice may be of any loudness: the network hears it as loud as the voices
that it learned from. The mp4 has the sound as it was, at its rate (96 kHz at
most) and with its channels. Of several audio tracks the default one is taken,
or the loudest if that is silent, unless --audio-track says which.

Limits, of each input: 4 hours, 64 GiB, 8192 px and 16.8 megapixels of a video
(256 of a picture, the larger ones read scaled), 384 kHz, faces of at least
32 px. An emotion is read off the ten seconds from where the face is first seen.
The output is an mp4, mov or webm, or a folder/ of pictures, 16 to 2048 px; webm
and pictures keep a picture's transparency. No input is ever replaced, and
Ctrl-C leaves nothing behind.

Everything but the sound streams: however long the video of head motion is, some
of its pictures are in memory, and the first frames are written while the rest
is still to be read. The square round its face is that of its first half minute.
"""

if __name__ == "__main__":  # what follows takes seconds to load
  from speak_jax.common import stopping

  stopping.install("generate")

import os
import sys
import time
import warnings
from typing import Any

from absl import app, flags

from data_pipelines.faces.face_rule import parse_face_rule
from data_pipelines.faces.follow import ON_MISSING_FACE
from data_pipelines.faces.nets import MissingModelError
from data_pipelines.media.error import MediaWarning
from speak_jax import bundle
from speak_jax.common import command_line, exit_codes, packaged
from speak_jax.common.files import FileError
from speak_jax.common.names import printable
from speak_jax.inference import aliases, batch, dry_run
from speak_jax.inference.inputs import Rules, check_files
from speak_jax.inference.model import WINDOWS, Model, load
from speak_jax.inference.request import (
  FRAMINGS,
  LEAST_FPS,
  MAX_SIDE_PX,
  MOST,
  MOST_FPS,
  POSE_MODES,
  Request,
  RequestError,
  check,
)
from speak_jax.provenance.marking import LAW

FLAGS = flags.FLAGS


def main(argv: list[str]) -> int:
  """Runs the command; 0 if the mp4 is there, 1 with one line if not."""
  if len(argv) > 1:
    line = f"{argv[1]}: unexpected argument; inputs are given as --name FILE"
    return command_line.fail("error", line)
  warnings.simplefilter("default", MediaWarning)  # each line once
  warnings.showwarning = _show_warning
  if FLAGS.batch is not None:
    return _batch()
  start = time.perf_counter()
  try:
    aliases.refuse_conflicts(FLAGS)
    request = _request()
  except ValueError as error:
    return command_line.fail("error", str(error))
  try:
    output = aliases.output(FLAGS, request.files)
    sheet, dry = FLAGS.sheet, FLAGS.get_flag_value("dry-run", False)
    if dry and sheet is None:
      sheet = os.path.splitext(output.rstrip("/"))[0] + ".png"
    check_files(request.files, output, sheet, FLAGS.model)
    if bundle.is_bundle(FLAGS.model):  # `load` says what it is if not
      check(request, bundle.moves_photographs(FLAGS.model))
    if not FLAGS.watermark:
      print(f"warning: {LAW}", file=sys.stderr)
    model = _model()
    if dry:
      dry_run.write(model.take, model.tracker, request, sheet)
      return 0
    result = model.write(request, output, sheet=sheet)
  except (FileError, MissingModelError) as error:
    return command_line.fail("error", str(error))
  except RequestError as error:
    flag = error.field.replace("_", "-")
    return command_line.fail("error", f"--{flag}: {error.reason}")
  took = time.perf_counter() - start
  path = printable(str(result.path))
  print(
    f"wrote {path}: {result.frames} frames, {result.seconds:.2f} s,"
    f" {result.size} px, in {took:.1f} s"
  )
  return 0


def _batch() -> int:
  """Makes the videos of a table; 0, or SOME_FAILED, or 1 if none was begun."""
  try:
    for name in ("dry-run", "sheet"):
      if FLAGS[name].value:
        raise ValueError(f"--{name}: is of one video; leave it out")
    aliases.refuse_conflicts(FLAGS)
    batch.read(FLAGS.batch)  # before the model, which takes a while
    if not FLAGS.watermark:
      print(f"warning: {LAW}", file=sys.stderr)
    model, digest = _model(), bundle.digest(packaged.model(FLAGS.model))
    result = batch.run(model, FLAGS.batch, _fields(), digest)
  except (FileError, MissingModelError, ValueError) as error:
    return command_line.fail("error", str(error))
  print(
    f"{result.made} made, {result.unchanged} as they were, {result.failed}"
    " failed"
  )
  if not result.failed:
    return exit_codes.DONE
  line = f"{result.failed} rows are in {FLAGS.batch}{batch.FAILED}"
  return command_line.fail("error", line, exit_codes.SOME_FAILED)


def _model() -> Model:
  """The one that the flags name."""
  return load(
    FLAGS.model,
    windows=FLAGS.windows,
    watermark=FLAGS.watermark,
    certificate=FLAGS.certificate,
    certificate_key=FLAGS.get_flag_value("certificate-key", None),
    cache=True,
  )


def _request() -> Request:
  """What the flags ask for.

  Raises:
    ValueError: a face or an angle cannot be; one line.
  """
  return Request(**_fields())


def _fields() -> dict[str, Any]:
  """The fields of a request that flags say; of a batch, its rows' defaults.

  Raises:
    ValueError: a face or an angle cannot be; one line.
  """
  rules = Rules(
    parse_face_rule(FLAGS.face),
    FLAGS.get_flag_value("on-missing-face", "hold"),
    parse_face_rule(FLAGS.get_flag_value("pose-face", "largest")),
    parse_face_rule(FLAGS.get_flag_value("emotion-face", "largest")),
  )
  return dict(
    identity=FLAGS.identity,
    audio=FLAGS.audio,
    more_audio=tuple(FLAGS.get_flag_value("more-audio", None) or ()),
    pose=aliases.pose(FLAGS),
    emotion=FLAGS.emotion,
    pose_mode=FLAGS.get_flag_value("pose-mode", None),
    pose_scale=FLAGS.get_flag_value("pose-scale", 1.0),
    gaze=FLAGS.gaze,
    blink=FLAGS.blink,
    mouth=FLAGS.mouth,
    rules=rules,
    track=FLAGS.get_flag_value("audio-track", None),
    size=FLAGS.size,
    framing=FLAGS.framing,
    fps=FLAGS.fps,
    smooth=FLAGS.smooth,
    seed=FLAGS.seed,
  )


def _show_warning(message, category, *where, **rest) -> None:
  """A media warning as one line, once, without the place in the code."""
  if issubclass(category, MediaWarning) and str(message) not in _SHOWN:
    _SHOWN.add(str(message))
    print(f"warning: {message}", file=sys.stderr)


_SHOWN: set[str] = set()  # lines; a file is read more than once


def _define_flags() -> None:
  """Not at import: other commands have flags of these names too."""
  text = flags.DEFINE_string
  text(
    "model",
    str(packaged.PHOTOGRAPH),
    "Bundle, made by speak_jax.export; or the name of one that comes along:"
    " photograph, reference.",
  )
  text("identity", None, "Picture (or video), or example.")
  sound = "File with speech: any sound or video, or example."
  text("audio", None, sound)
  flags.DEFINE_multi_string(
    "more-audio",
    None,
    "Speech of the second face from the left of a picture that shows several;"
    " given again, of the third. --audio is that of the leftmost.",
  )
  text(
    "batch",
    None,
    "Table of videos, CSV with a header or JSONL: columns output, sheet,"
    " identity, audio and what else a request has; other flags are for its"
    " empty cells. Run again it makes what is missing or has changed.",
  )
  for name in ("identity", "audio"):
    flags.register_multi_flags_validator(
      [name, "batch"],
      lambda given: any(x is not None for x in given.values()),
      f"Flag --{name} must have a value other than None.",
    )
  text(
    "pose",
    None,
    "Video of the head motion, blinks and gaze; still; sampled, a head that"
    " sways; or a CSV file of time,yaw,pitch,roll, s and degrees (sampled;"
    " reference: still as in the picture).",
  )
  flags.DEFINE_enum(
    "pose-mode",
    None,
    POSE_MODES,
    "Whether the head turns as far as the driver's does from his first frame,"
    " or stands as his does; photographs alone (relative).",
  )
  flags.DEFINE_float(
    "pose-scale",
    1.0,
    "Of the way that a head goes; photographs alone.",
    0.0,
    MOST,
  )
  text(
    "gaze",
    None,
    "Where eyes look: follow the pose's video; still; or YAW,PITCH, degrees to"
    " the picture's right and up beside their own gaze; photographs alone"
    " (follow, or about where nobody drives).",
  )
  flags.DEFINE_bool("blink", True, "Whether lids move; photographs alone.")
  flags.DEFINE_float(
    "mouth",
    1.0,
    "Of the way that speech opens lips; photographs alone.",
    0.0,
    MOST,
  )
  text(
    "emotion",
    None,
    "Video or picture of the emotion; a name, as in happy:0.7; or a CSV file of"
    " time,emotion,level (as the picture has it; reference: no name nor CSV,"
    " and neutral).",
  )
  text(
    "output",
    None,
    "The video, .mp4, .mov or .webm; or, with a slash at its end, a folder of"
    " PNG pictures with the sound beside them.",
    short_name="o",
  )
  text("sheet", None, "Also a contact sheet PNG.")
  flags.DEFINE_bool(
    "dry-run",
    False,
    "Make no video; read the inputs and draw the faces found with the numbers"
    " that --face takes, the crop and the plan: to --sheet, or a PNG beside"
    " --output.",
  )
  which = (
    "largest, first (from the left), 2 and so on, which from the left, or"
    " box:x,y,w,h, that place in its first frame, px."
  )
  text("face", "largest", f"Which face of the identity's file: {which}")
  text("pose-face", "largest", f"Which face of the pose's file: {which}")
  text("emotion-face", "largest", f"Which face of the emotion's file: {which}")
  flags.DEFINE_integer(
    "audio-track",
    None,
    "Which audio track of a file with several, from 1 (the default one, or the"
    " loudest if that is silent).",
    1,
  )
  flags.DEFINE_enum(
    "on-missing-face",
    "hold",
    ON_MISSING_FACE,
    "Where the pose video shows no face: refuse it, interpolate the motion, "
    "or go on with what comes after.",
  )
  flags.DEFINE_integer(
    "size",
    None,
    f"Output's longer side, px, even, 16 to {MAX_SIDE_PX} (the photograph's"
    " own, 1024 at most; or the model's).",
  )
  flags.DEFINE_enum(
    "framing",
    None,
    FRAMINGS,
    "The whole picture, or a square round the head (full); bundles that draw"
    " frames make squares alone.",
  )
  flags.DEFINE_float(
    "fps",
    None,
    f"Frames a second, {LEAST_FPS:g} to {MOST_FPS:g}, of a photograph (25).",
  )
  flags.DEFINE_integer("seed", None, "Of an idle head's motion (0).", 0)
  windows = f"Windows made at a time, by bundles that draw frames ({WINDOWS})."
  flags.DEFINE_integer("windows", None, windows, 1)
  flags.DEFINE_bool(
    "watermark",
    True,
    "An invisible mark in every frame, that the video is synthetic. Without it"
    " the file's tags and its signed manifest still say so.",
  )
  text(
    "certificate",
    None,
    "PEM chain that signs the manifest ($SPEAK_CERTIFICATE, or one made for the"
    " file, which vouches for nobody).",
  )
  text("certificate-key", None, "Its key, PEM ($SPEAK_CERTIFICATE_KEY).")
  flags.DEFINE_bool("smooth", True, "Smooth the pose over three frames.")
  aliases.define(FLAGS)


if __name__ == "__main__":
  _define_flags()
  app.run(
    main, flags_parser=command_line.parser("generate", aliases.translated)
  )
