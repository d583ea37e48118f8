"""Methods side by side: one table, with what each needs, sees and costs.

The static frame and the ground truth are always in it, and the figures that
the paper prints stand beside.
"""

from collections.abc import Mapping, Sequence

from speak_jax.evaluation.metric_table import MetricValue, exact
from speak_jax.evaluation.reenactment.lines import (
  STATIC_LINE,
  TRUE_LINE,
  Line,
  table_row,
)
from speak_jax.evaluation.report import metrics, published, tables
from speak_jax.evaluation.report.tables import Column
from speak_jax.methods.base import RANDOM_KEYS, Entry, unused_inputs

METRICS = (
  *metrics.PAPER,
  "sync_d",
  "sync_offset",
  "aligned_ssim",
  "aligned_psnr",
  "aligned_f_lmd",
  "aligned_m_lmd",
  "mouth_r",
  "emotion",
  "pose_error",
  "pose_r2",
  "identity_cosine",
)
# What a method has over other lines; static and truth have none.
GAINS = ("mouth_box_over_shuffled", "shuffled_driving_minus_true")
SPEED = (
  Column("ms_1", "ms a frame, 1 frame", 2),
  Column("ms_1_whole", "the same, cut and placed", 2),
  Column("ms_64", "ms a frame, 64 frames", 2),
  Column("ms_64_whole", "the same, cut and placed", 2),
)
# Of portraits that other people drive; a method is asked for what comes by its
# inputs: `Method.needs`.
DRIVEN = (
  Column("pose_r2", "pose R2 to the driver", 2),
  Column("mouth_r", "mouth r to the speaker", 2),
  Column("emotion", "emotion of the driver named", 2),
  Column("identity", "cosine to the portrait", 2),
)
_DRIVEN_BY = {"pose_r2": "pose", "emotion": "emotion"}
TRAINING = Column("minutes", "minutes of training", 0)
_ALWAYS = "identity, audio"


def methods_table(
  values: Mapping[str, MetricValue],
  entries: Sequence[Entry],
  speeds: Mapping[str, Mapping[str, float]],
  minutes: Mapping[str, float],
  data: str,
) -> tables.Table:
  """The table of methods.

  Args:
    values: What `self_driven.measure` gives, by name.
    entries: The methods that were measured.
    speeds: {name of an entry: what `speed.measure` gives}; may lack some.
    minutes: {name of an entry: that its steps took to train}; may lack some.
    data: Name of the data set; where published figures are of the same, they
      stand in the same table.
  """
  rows = []
  for entry in entries:
    row = table_row(Line(entry, "own"), values, METRICS, data)
    own = {
      metric: values[f"{entry.name}/{metric}"]
      for metric in GAINS
      if f"{entry.name}/{metric}" in values
    }
    times = {k: exact(x) for k, x in speeds.get(entry.name, {}).items()}
    if entry.name in minutes:
      times[TRAINING.metric] = exact(minutes[entry.name])
    driven = _driven(values, entry, "all")
    rows.append(
      row._replace(
        values={**row.values, **own, **driven, **times},
        needs=", ".join([_ALWAYS, *sorted(entry.method.needs)]),
        ignores=", ".join(unused_inputs(entry.method)),
      )
    )
  rows += [
    table_row(line, values, METRICS, data)._replace(needs=needs)
    for line, needs in ((STATIC_LINE, "identity"), (TRUE_LINE, "target"))
  ]
  # What the reader sees of true frames is the same beside every method.
  real = _driven(values, entries[0], "real")
  rows[-1] = rows[-1]._replace(values={**rows[-1].values, **real})
  drawn = [entry.name for entry in entries if entry.method.samples]
  return tables.Table(
    title="Methods, self-driven",
    columns=(
      *metrics.columns((*METRICS, *GAINS)),
      *(x._replace(metric=f"driven/{x.metric}") for x in DRIVEN),
      *SPEED,
      TRAINING,
    ),
    rows=[*rows, *published.table_1()],
    notes=(
      published.NOTE,
      "Ours: the first frame is the identity picture and left out; in brackets"
      " 95 % bootstrap intervals over clips; 100 dB stands for equal frames.",
      "SSIM, PSNR and landmark distances stand twice: in the canonical crop,"
      " which is fixed by the true clip, and in faces that are cut by their own"
      " nose and eyes to 128 px (ours), where a face in the wrong place costs"
      " nothing.",
      "Methods that see more of the target are not to be ranked with those that"
      " see less. What a method ignores was there, and it cannot use it.",
      "Driver and speaker: pose, emotion and speech come from three other"
      " people; - where a method has no such input.",
      "Milliseconds are medians of three warm runs on this machine, without and"
      " with cutting the inputs and placing the frames. Minutes are those that"
      " a run's steps took where it was trained.",
      *(
        [
          f"Drawn at random: {', '.join(drawn)}, mean over {RANDOM_KEYS} keys"
          " with the standard deviation between them behind +-."
        ]
        if drawn
        else []
      ),
    ),
    published="published, other protocol",
  )


def _driven(
  values: Mapping[str, MetricValue], entry: Entry, row: str
) -> dict[str, MetricValue]:
  """What came over from others in a row of `cross_driven.ROWS`, or "real"."""
  found = {}
  for metric in (column.metric for column in DRIVEN):
    key = f"{entry.name}/driven/{row}/{metric}"
    lacks = row != "real" and _DRIVEN_BY.get(metric, "")
    if key in values and (not lacks or lacks in entry.method.needs):
      found[f"driven/{metric}"] = values[key]
  return found
