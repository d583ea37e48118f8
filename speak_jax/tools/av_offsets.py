"""Measures how far picture and sound of every prepared clip are apart.

  python -m speak_jax.tools.av_offsets DATA --model RUN|BUNDLE [--most 2] \
    [--confidence C] [--move]
  python -m speak_jax.tools.av_offsets DATA --syncnet syncnet_v2.model ...

A SyncNet judges: that of a run or bundle, which must know such faces, or the
official one. DATA/offsets.jsonl gets a line a clip. A clip that is more than
`--most` frames off, and surely so, is out of sync: training and evaluation go
without it from then on, and `data_pipelines.inspect` counts it. With `--move`
it stays: its sound is heard by so much earlier or later, and frames whose sound
then lies outside the clip teach no speech. Records stay as they are: deleting
the file takes everything back. The same command goes on where it was stopped.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from absl import app, flags

from data_pipelines.dataset import damage, offsets, opening, reader
from data_pipelines.dataset.index import read_index, splits_of
from data_pipelines.media import audio
from speak_jax.common import command_line, exit_codes, outputs
from speak_jax.common.files import write
from speak_jax.common.progress import Progress
from speak_jax.evaluation import models
from speak_jax.evaluation.readers import syncnet_v2
from speak_jax.evaluation.readers.own_syncnet import SyncScorer
from speak_jax.metrics import sync
from speak_jax.pretrained import files, syncnet

# Our own on drawn faces: .47 to .90 with their speech, .09 to .34 with that of
# others; distances of unit vectors, at most 2. The official one: below 3
# LatentSync takes a clip for unfit.
CONFIDENT, CONFIDENT_OFFICIAL = 0.4, 3.0


class SyncJudge(NamedTuple):
  """The SyncNet that measures, and the confidence from which it is believed."""

  name: str
  sync: SyncScorer
  size: int | None  # px of the frames that it sees; None: as they are stored
  fps: float
  confidence: float


def open_judge(
  model: Path | None,
  official: Path | None,
  fps: float,
  confidence: float | None,
) -> SyncJudge:
  """Opens the SyncNet of a run or bundle, or the official one.

  Args:
    model: RUN or BUNDLE.
    official: Weights of the official SyncNet v2.
    fps: Frames/s of the clips; the official one takes any.
    confidence: Least one at which an offset is believed; None: the usual one.

  Raises:
    ValueError: not exactly one of both is given, it cannot be opened, or its
      distances have no usual confidence; one line.
  """
  if (model is None) == (official is None):
    raise ValueError("give either --model or --syncnet")
  if official is not None:
    sure = CONFIDENT_OFFICIAL if confidence is None else confidence
    converted = syncnet.convert(files.read(official))
    net = syncnet_v2.official_syncnet(converted.variables, converted.sizes, fps)
    return SyncJudge(str(official), net, None, fps, sure)
  assert model is not None
  opened = models.load(model, 1)
  own = opened.parts.sync
  if own is None:
    raise ValueError(f"{model}: it has no SyncNet")
  if confidence is None and not own.unit:
    raise ValueError(
      f"{model}: its SyncNet's vectors have any length (model.sync_unit ="
      " False), so no confidence is usual: give --confidence"
    )
  sure = CONFIDENT if confidence is None else confidence
  return SyncJudge(str(model), own, opened.restored.size, own.fps, sure)


def measure(
  source: reader.Records,
  i: int,
  judge: SyncJudge,
  most: int,
  move: bool = False,
) -> offsets.Offset:
  """The offset of one clip, as it is stored.

  Raises:
    DamagedError: the clip cannot be read.
  """
  row, sound = source.index[i], source[i].audio
  size = judge.size or row.size

  def none(why: str) -> offsets.Offset:
    return offsets.Offset(row.clip, None, None, None, False, why)

  if audio.is_silent(sound):
    return none("silent")
  frames = source.frames(i, range(row.frames), size)
  points = source.landmarks(i, slice(None), size)
  try:
    lips = judge.sync.lip_codes(frames, points)
    if lips is None:
      return none("no face")
    heard = judge.sync.sound_codes(sound, len(frames))
    count = min(len(lips), len(heard))
    score = sync.score(sync.distances(lips[:count], heard[:count]))
  except ValueError as error:  # too short
    return none(str(error))
  sure = score.confidence >= judge.confidence
  far = sure and abs(score.offset) > most
  return offsets.Offset(
    row.clip,
    score.offset,
    round(1e3 * score.offset / judge.fps, 1),
    round(score.confidence, 4),
    far and not move,
    "" if sure else "unsure: another's speech, or one that it cannot read",
    far and move,
  )


def run(
  data: Path, judge: SyncJudge, most: int, move: bool = False
) -> list[offsets.Offset]:
  """Measures what is missing; writes DATA/offsets.jsonl once all is there.

  Args:
    data: A prepared data set.
    judge: The SyncNet that measures.
    most: Frames that a clip may be off.
    move: Clips that are farther off stay, their sound moved.

  Raises:
    ValueError: no data set, or a frame rate that is not the judge's.
  """
  index = read_index(data)
  if odd := {row.fps for row in index if abs(row.fps - judge.fps) > 0.01}:
    raise ValueError(
      f"{data}: {min(odd):g} frames/s, {judge.name} has {judge.fps:g}"
    )
  asked = {"judge": judge.name, "most": most, "confidence": judge.confidence}
  head = json.dumps(asked | ({"move": True} if move else {}))
  part = data / f"{offsets.NAME}.part"
  measured = _so_far(part, head)
  with (
    part.open("a", encoding="utf-8") as file,
    Progress("offsets", "clip", len(index), len(measured)) as progress,
  ):
    if not measured:
      file.truncate(0)
      print(head, file=file)
    known = {offset.clip for offset in measured}
    out_of_sync = sum(offset.out for offset in measured)
    for split in splits_of(index):
      source = opening.open_records(data, split, whole=True)
      for i, row in enumerate(source.index):
        if row.clip in known:
          continue
        try:
          offset = measure(source, i, judge, most, move)
        except damage.DamagedError as error:
          offset = offsets.Offset(row.clip, None, None, None, False, str(error))
        file.write(offsets.line(offset))
        file.flush()
        measured.append(offset)
        out_of_sync += offset.out
        progress.update(len(measured), f"{out_of_sync} out of sync")
  content = "".join(map(offsets.line, measured))
  write(data / offsets.NAME, content)
  part.unlink()
  return measured


def _so_far(part: Path, head: str) -> list[offsets.Offset]:
  """What an earlier start has measured alike; a torn last line is dropped."""
  if not part.exists():
    return []
  lines = part.read_text(encoding="utf-8").splitlines(keepends=True)
  if not lines or lines[0].rstrip("\n") != head:
    return []
  good = [text for text in lines if text.endswith("\n")]
  part.write_text("".join(good), encoding="utf-8")
  return offsets.parse(good[1:])


FLAGS = flags.FLAGS


def main(argv: Sequence[str]) -> int:
  """Runs the command; returns the exit code."""
  if len(argv) != 2:
    line = "name one prepared data set"
    return command_line.fail("offsets", line, exit_codes.BAD_CONFIG)
  data = Path(argv[1])
  try:
    fps = float(read_index(data)[0].fps)
    outputs.check_folder(data, [])  # that it can be written into
    judge = open_judge(
      Path(FLAGS.model) if FLAGS.model else None,
      Path(FLAGS.syncnet) if FLAGS.syncnet else None,
      fps,
      FLAGS.confidence,
    )
    measured = run(data, judge, FLAGS.most, FLAGS.move)
  except (ValueError, OSError) as error:
    return command_line.fail("offsets", str(error), exit_codes.BAD_DATA)
  print("\n".join(offsets.summary(measured)))
  print(f"wrote {data / offsets.NAME}")
  return exit_codes.DONE


if __name__ == "__main__":
  flags.DEFINE_string("model", "", "RUN or BUNDLE whose SyncNet judges")
  flags.DEFINE_string("syncnet", "", "weights of the official SyncNet v2")
  flags.DEFINE_integer("most", 2, "frames that a clip may be off", 0)
  flags.DEFINE_float("confidence", None, "below, an offset is not believed", 0)
  flags.DEFINE_bool(
    "move", False, "move the sound of clips that are out of sync"
  )
  app.run(main, flags_parser=command_line.parser("offsets"))
