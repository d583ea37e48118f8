"""The tables of photographs that are moved."""

from collections.abc import Mapping, Sequence

from speak_jax.evaluation.metric_table import MetricTable, MetricValue, exact
from speak_jax.evaluation.photographs import emotions
from speak_jax.evaluation.photographs.measure import Measured
from speak_jax.evaluation.report import tables
from speak_jax.evaluation.report.tables import Column, Row, Table
from speak_jax.inference.expression import EXPRESSIONS

PICTURE = (
  Column("sharpness", "sharpness / real", 2),
  Column("psnr_face", "PSNR face", 2),
  Column("psnr", "PSNR whole", 2),
  Column("psnr_face_gain", "face over static", 2, signed=True),
  Column("psnr_gain", "whole over static", 2, signed=True),
  Column("identity", "identity distance", 3),
  Column("identity_beyond", "beyond the truth's", 3, signed=True),
)
MOTION = (
  Column("f_lmd", "F-LMD", 2),
  Column("m_lmd", "M-LMD", 2),
  Column("f_lmd_over", "F-LMD / static's", 2),
  Column("m_lmd_over", "M-LMD / static's", 2),
  Column("gap_r", "opening r", 2),
  Column("gap_r_other", "other speech", 2),
  Column("gap_r_gain", "own - other", 2, signed=True),
  Column("pose_r2", "pose R2", 2),
)
SECOND = (
  Column("f_lmd_2", "F-LMD", 2),
  Column("m_lmd_2", "M-LMD", 2),
  Column("f_lmd_2_over", "F-LMD / static's", 2),
  Column("m_lmd_2_over", "M-LMD / static's", 2),
  Column("gap_r_2", "opening r", 2),
  Column("gap_r_other_2", "other speech", 2),
  Column("gap_r_gain_2", "own - other", 2, signed=True),
)
SYNC = (
  Column("sync_elsewhere", "own clip's elsewhere, 0.2 s", 3),
  Column("sync_elsewhere_spans", "1 s", 3),
  Column("sync_other", "another's, 0.2 s", 3),
  Column("sync_other_spans", "another's, 1 s", 3),
)
CROSS = (
  Column("pose_r2", "pose R2, FaceMesh", 2),
  Column("pose_r2_2", "pose R2, 68 points", 2),
  Column("identity", "identity distance", 3),
)
EMOTIONS = (
  Column("named", "named right", 2),
  Column("named_of_neutral", "of neutral photographs", 2),
)
SPEED = (
  Column("first", "first frame, s", 2),
  Column("rate", "frames a second", 0),
  Column("silence", "opening in silence / in speech", 2),
)


def tables_of(measured: Measured, seed: int) -> list[Table]:
  """Makes the tables.

  Args:
    measured: What was measured.
    seed: Of the bootstrap.
  """
  own = _rows(measured.self_driven, seed)
  made = [
    Table("Self-driven: the picture", PICTURE, own, _PICTURE_NOTES),
    Table("Self-driven: the motion, by FaceMesh", MOTION, own, _MOTION_NOTES),
    Table("Self-driven: the motion, by 68 points", SECOND, own, _SECOND_NOTES),
    Table("Self-driven: lip sync", SYNC, own, _SYNC_NOTES),
    Table(
      "Cross-driven: another's head and speech",
      CROSS,
      _rows(measured.cross_driven, seed),
      _CROSS_NOTES,
    ),
    Table(
      "Emotion by name, at full strength",
      EMOTIONS,
      _rows(measured.emotions, seed),
      _EMOTION_NOTES,
    ),
    *(_confusion(name, measured) for name in measured.named),
    Table("Speed and silence", SPEED, _speed(measured), _SPEED_NOTES),
  ]
  return [_shown(table) for table in made if table.filled(table.rows)]


def _shown(table: Table) -> Table:
  """Leaves out rows of which the table has no column."""
  names = {column.metric for column in table.columns}
  return table._replace(
    rows=[row for row in table.rows if names & set(row.values)]
  )


def _rows(found: Mapping[str, MetricTable], seed: int) -> list[Row]:
  rows = []
  for name, table in found.items():
    values = table.values(seed)
    clips = max((x.clips for x in values.values()), default=0)
    rows.append(Row(name, "", tables.MEASURED, values, clips=clips))
  return rows


def _confusion(name: str, measured: Measured) -> Table:
  """What photographs with an emotion are taken for, a row each."""
  seen = measured.named[name]
  rows = [
    Row(
      emotion or "as it is",
      "",
      tables.MEASURED,
      {
        shown: exact(float(share))
        for shown, share in zip(
          EXPRESSIONS, emotions.confusion(seen, emotion), strict=True
        )
      },
    )
    for emotion in (*emotions.ASKED, "")
  ]
  columns = [Column(x, x, 2) for x in EXPRESSIONS]
  return Table(f"Asked of {name}, and named", columns, rows, head="asked")


def _speed(measured: Measured) -> Sequence[Row]:
  rows = []
  for name, timed in measured.speed.items():
    values: dict[str, MetricValue] = {
      "first": exact(timed.first_frame_s),
      "rate": exact(timed.frames_per_s),
    }
    if name in measured.silence:
      values["silence"] = exact(measured.silence[name])
    rows.append(Row(name, "", tables.MEASURED, values))
  return rows


_PICTURE_NOTES = (
  "A clip's first frame is the photograph; head and lids are the clip's own,"
  " lips come from its sound. Sharpness and PSNR face: in the hull of the true"
  " mesh, dB. Over static: than a still first frame, frame by frame from the"
  " second on.",
  "Identity: distance of dlib's embeddings from the photograph's, every tenth"
  " frame; some 0.3 within a clip, 0.8 between people.",
)
_MOTION_NOTES = (
  "px at 256. FaceMesh has driven the picture too, which flatters what it"
  " drove; r is that of the opening of the lips, within clips.",
)
_SECOND_NOTES = ("The same by a network that has driven nothing.",)
_SYNC_NOTES = (
  "How often lips are nearer to their own sound than to the clip's elsewhere,"
  " or to another clip's at the same place; 0.5 is guessing.",
)
_CROSS_NOTES = (
  "R2 of the head's turn since the first frame to the driver's; 68 points are"
  " the second network's, with the face's own depth.",
)
_EMOTION_NOTES = (
  "Five emotions, two seconds of speech, a still head, one of seven names by a"
  " public network; it names 13 of 15 clips of actors right. Of neutral"
  " photographs: of those that it takes for neutral as they are.",
)
_SPEED_NOTES = (
  "The first clip, at the size of the frames; reading and writing files is not"
  " in it, compiling is in the first frame.",
)
