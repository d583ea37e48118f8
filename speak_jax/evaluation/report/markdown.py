"""report.md: metric values, paragraphs and pictures as Markdown."""

from collections.abc import Mapping, Sequence

from speak_jax.evaluation.disentanglement import probes
from speak_jax.evaluation.metric_table import MetricValue, exact, text
from speak_jax.evaluation.reenactment.lines import (
  STATIC_LINE,
  TRUE_LINE,
  Line,
  metric_name,
  table_rows,
)
from speak_jax.evaluation.report import metrics, tables
from speak_jax.methods.base import Entry, unused_inputs

_SWAPS = (
  ("no_swap", "nothing"),
  ("identity_swap", "identity"),
  ("emotion_swap", "emotion"),
  ("pose_swap", "pose"),
  ("mouth_swap", "mouth"),
)


def markdown(
  values: Mapping[str, MetricValue],
  facts: Mapping[str, str],
  introduction: Sequence[str],
  pictures: Mapping[str, str],
  entries: Sequence[Entry],
  paragraphs: Sequence[str] = (),
) -> str:
  """The report's text.

  Args:
    values: What was measured; tables without any value are left out.
    facts: How it was measured, a line each.
    introduction: Paragraphs to begin with.
    pictures: {file: caption}.
    entries: The systems that speak.
    paragraphs: What else there is to say, before the pictures.
  """
  parts = ["# Evaluation", *introduction]
  parts.append(tables.pipe_table(["", ""], facts.items()))
  if entries:
    parts += [
      tables.markdown(every_row(values, entries)),
      "## The whole system",
      "Self-driven: the clip's first frame is the identity picture (and left"
      " out of every figure), pose and emotion come from the clip. Other"
      " speech: the same with another person's; its Sync figures are against"
      " the speech heard. What the ground truth scores is the reader's own"
      " error. In brackets: 95 % bootstrap interval over clips.",
      _speaking(values, entries),
      *(_gains(values, entry.name) for entry in entries),
    ]
  if "syncnet/two_way" in values:
    parts += [
      "## SyncNet",
      "Two-way accuracy of our own SyncNet on real held-out clips, against"
      " other sounds of the same clip (chance .5):"
      f" {text(values['syncnet/two_way'], 3)}.",
    ]
  if "irfd/psnr" in values:
    parts += [
      "## IRFD",
      "The identity picture comes from another clip of the person where there"
      " is one. Donors are other people. With identity maps, PSNR says nothing"
      " about the codes: read the swaps.",
      _irfd(values),
      _matrix(values),
    ]
  parts += paragraphs
  for file, caption in pictures.items():
    parts += [f"![{caption}]({file})", f"*{caption}*"]
  return "\n\n".join(part for part in parts if part) + "\n"


def every_row(
  values: Mapping[str, MetricValue], entries: Sequence[Entry]
) -> tables.Table:
  """The systems among the references without which they say nothing.

  Args:
    values: What was measured.
    entries: The systems that speak.
  """
  blind = [
    f"{entry.name} cannot use {' and '.join(unused)}, which were there."
    for entry in entries
    if (unused := unused_inputs(entry.method))
  ]
  return tables.Table(
    title="Every row",
    columns=metrics.columns(metrics.EVERY_ROW),
    rows=table_rows(values, entries),
    notes=(
      "Rows that see more of the target are not to be ranked with those that"
      " see less. 100 dB stands for equal frames.",
      "A frame in which no face is found is a failure: its landmarks count as"
      " lying in one place, its aligned crop as black; pose, opening, identity"
      " and emotion are over the other frames. What is late is compared from"
      " its first real frame on.",
      "Aligned 128 (ours): both faces cut by their own nose and eyes to 128 px."
      " Frechet distances are to the ground truth's frames and fall with their"
      " number: compare rows of this table alone.",
      *blind,
    ),
  )


def _speaking(
  values: Mapping[str, MetricValue], entries: Sequence[Entry]
) -> str:
  """Metrics down; models, references and models with other speech across."""
  columns = [
    *(Line(entry, "own") for entry in entries),
    STATIC_LINE,
    *(Line(entry, "shuffled") for entry in entries),
    TRUE_LINE,
  ]
  clips = [values.get(metric_name(line, "psnr")) for line in columns]
  rows = [["clips", *(str(x.clips) if x else "-" for x in clips)]]
  for metric in metrics.SELF_DRIVEN:
    own = [values.get(metric_name(line, metric.name)) for line in columns]
    cells = [text(value, metric.digits) for value in own]
    if set(cells) != {"-"}:
      rows.append([f"{metric.title} ({metric.note})", *cells])
  return tables.pipe_table(["", *(line.title for line in columns)], rows)


def _gains(values: Mapping[str, MetricValue], name: str) -> str:
  """What a model has over other lines."""
  rows = []
  for metric in metrics.GAINS:
    value = values.get(f"{name}/{metric.name}")
    if value:
      cell = f"{text(value, metric.digits)} {metric.unit}"
      rows.append([metric.title, cell, str(value.clips)])
  return tables.pipe_table([f"{name}: between rows", "", "clips"], rows)


def _irfd(values: Mapping[str, MetricValue]) -> str:
  """IRFD's own metrics beside what the reader scores on real frames."""
  rows = []
  for metric in metrics.IRFD:
    if metric.name in values:
      cell = f"{text(values[metric.name], metric.digits)} {metric.unit}"
      reader = values.get(metric.reader)
      rows.append([metric.title, cell, text(reader, metric.digits)])
  for code in probes.SYMBOLS:
    key = f"irfd/code_std/{code}"
    if key in values:
      title = f"standard deviation of the {code} code"
      rows.append([title, text(values[key], 3), "-"])
  return tables.pipe_table(["", "IRFD", "the reader on real frames"], rows)


def _matrix(values: Mapping[str, MetricValue]) -> str:
  """What moves when a code is swapped, without intervals: it must be read."""

  def cell(key: str) -> str:
    value = values.get(f"irfd/{key}")
    return text(None if value is None else exact(value.value), 2)

  rows = []
  for swap, title in _SWAPS:
    moved = {"no_swap": "pose_moved_no_swap", "pose_swap": "pose_moved"}.get(
      swap, f"pose_moved_{swap}"
    )
    goal = "donor" if swap == "pose_swap" else "source"
    rows.append(
      [
        title,
        f"{cell(f'identity_source_{swap}')} / {cell(f'identity_donor_{swap}')}",
        cell(moved),
        cell(f"pose_r2_{goal}_{swap}"),
        f"{cell(f'emotion_source_{swap}')} / {cell(f'emotion_donor_{swap}')}",
        f"{cell(f'mouth_r_source_{swap}')} / {cell(f'mouth_r_donor_{swap}')}",
      ]
    )
  rows.append(
    [
      "*the reader on real frames*",
      f"{cell('judge/identity_same')} / {cell('judge/identity_other')}",
      "-",
      cell("judge/pose_r2"),
      f"{cell('judge/emotion')} / -",
      f"{cell('judge/mouth_r')} / -",
    ]
  )
  head = [
    "swapped",
    "identity cosine source / donor",
    "pose moved",
    "R2 of pose to source (pose swap: donor)",
    "emotion = source / donor",
    "mouth r to source / donor",
  ]
  return tables.pipe_table(head, rows)
