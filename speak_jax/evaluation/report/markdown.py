"""From figures and pictures to report.md and PNG sheets."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from data_pipelines.media import lettering
from speak_jax.evaluation.ledger import Figure, text
from speak_jax.evaluation.methods import STATIC, TRUE, Entry, ignored
from speak_jax.evaluation.reenactment import self_driven
from speak_jax.evaluation.reenactment.self_driven import Line
from speak_jax.evaluation.report import tables

CELL_PX = 128  # least side of a picture on a sheet
_BAR_PX = 18  # of captions
_MARGIN_PX = 86  # for the rows' names


class Metric(NamedTuple):
  """A figure of every line."""

  key: str
  title: str
  unit: str
  digits: int
  best: str  # "up", "down", or the value that is best

  @property
  def note(self) -> str:
    """Unit, and whether more is better."""
    goal = {"up": "more is better", "down": "less is better"}.get(
      self.best, f"best: {self.best}"
    )
    return ", ".join(x for x in (self.unit, goal) if x)


_ALIGNED = "px of the aligned 128 crop (ours)"
_NETWORK = "features of the reader's identity, ours"
SPEAKING = (
  Metric("psnr", "PSNR", "dB", 2, "up"),
  Metric("ssim", "SSIM", "", 3, "up"),
  Metric("gaussian_ssim", "SSIM, Gaussian window", "", 3, "up"),
  Metric("aligned_psnr", "PSNR, aligned", "dB, 128 px crop (ours)", 2, "up"),
  Metric("aligned_ssim", "SSIM, aligned", "128 px crop (ours)", 3, "up"),
  Metric("f_lmd", "F-LMD", "px", 2, "down"),
  Metric("m_lmd", "M-LMD", "px", 2, "down"),
  Metric("f_lmd_eyes", "F-LMD", "eye distances", 3, "down"),
  Metric("m_lmd_eyes", "M-LMD", "eye distances", 3, "down"),
  Metric("aligned_f_lmd", "F-LMD, aligned", _ALIGNED, 2, "down"),
  Metric("aligned_m_lmd", "M-LMD, aligned", _ALIGNED, 2, "down"),
  Metric("mouth_r", "mouth opening r", "", 2, "up"),
  Metric("silent_opening", "mouth opening in silence", "", 3, "real"),
  Metric("mouth_box_psnr", "mouth-box PSNR", "dB", 2, "up"),
  Metric("gradient_energy", "gradient energy / real", "", 2, "1"),
  Metric("mouth_gradient_energy", "the same in the mouth box", "", 2, "1"),
  Metric("sharpness", "log of a frame's gradient energy / real", "", 2, "0"),
  Metric("sharpness_slope", "its slope over time", "1/s", 3, "0"),
  Metric("flicker", "flicker", "of 510", 2, "real"),
  Metric("jitter", "landmark jitter", "eye distances/s^2", 1, "real"),
  Metric("head_speed", "landmark speed", "eye distances/s", 2, "real"),
  Metric("lip_speed", "lip speed", "eye distances/s", 2, "real"),
  Metric("pose_error", "pose error", "deg", 2, "down"),
  Metric("pose_r", "pose r", "mean of the angles", 2, "up"),
  Metric("pose_r2", "pose R2", "", 2, "up"),
  Metric("identity_cosine", "identity cosine to first frame", "", 2, "up"),
  Metric("frechet_identity", "Frechet distance", _NETWORK, 3, "down"),
  Metric("lpips", "LPIPS", "", 3, "down"),
  Metric("fid", "FID", "", 1, "down"),
  Metric("emotion", "emotion read right", "of frames", 2, "up"),
  Metric("emotion_balanced", "the same, mean over emotions", "", 2, "up"),
  Metric("sync_c", "Sync-C", "official SyncNet v2", 2, "up"),
  Metric("sync_d", "Sync-D", "official SyncNet v2", 2, "down"),
  Metric("sync_confidence", "Sync confidence", "our own SyncNet", 3, "up"),
  Metric("sync_distance", "Sync distance", "our own SyncNet", 3, "down"),
  Metric("sync_offset", "Sync offset", "frames, by the same network", 1, "0"),
  Metric("two_way", "two-way", "our own SyncNet", 3, "real"),
  Metric("undetected", "share of frames without a face found", "", 3, "down"),
)
_BETWEEN = (
  ("psnr_over_static", "PSNR, model over static", "dB", 2),
  ("mouth_box_over_static", "mouth box, model over static", "dB", 2),
  (
    "mouth_box_over_shuffled",
    "mouth box, own over other speech",
    "dB",
    3,
  ),
  (
    "silent_opening_over_true",
    "mouth opening in silence, model over truth",
    "",
    3,
  ),
  ("shuffled_driving_r", "other speech: r to the speech heard", "", 2),
  ("shuffled_true_r", "other speech: r to the clip's own", "", 2),
  ("shuffled_driving_minus_true", "the difference of the two", "", 2),
)
_IRFD = (
  ("irfd/psnr", "reconstruction PSNR", "dB", 2, None),
  ("irfd/ssim", "reconstruction SSIM", "", 3, None),
  ("irfd/codes_only_psnr", "codes alone, without maps: PSNR", "dB", 2, None),
  ("irfd/codes_only_ssim", "codes alone, without maps: SSIM", "", 3, None),
  ("irfd/gradient_energy", "gradient energy / real", "", 2, None),
  ("irfd/pose_moved", "pose moved by a pose swap", "", 2, None),
  ("irfd/pose_moved_no_swap", "the same without a swap", "", 2, None),
  (
    "irfd/pose_r2_donor_pose_swap",
    "R2 of pose to the donor, pose swap",
    "",
    2,
    "irfd/judge/pose_r2",
  ),
  (
    "irfd/identity_swap_margin",
    "identity swap: cosine to donor - source",
    "",
    2,
    None,
  ),
  (
    "irfd/emotion_accuracy",
    "emotion from f_E by C_m (chance .125)",
    "",
    2,
    "irfd/judge/emotion",
  ),
)
_CODES = ("identity", "pose", "emotion", "mouth")
_SWAPS = (
  ("no_swap", "nothing"),
  ("identity_swap", "identity"),
  ("emotion_swap", "emotion"),
  ("pose_swap", "pose"),
  ("mouth_swap", "mouth"),
)


def markdown(
  figures: Mapping[str, Figure],
  facts: Mapping[str, str],
  words: Sequence[str],
  pictures: Mapping[str, str],
  entries: Sequence[Entry],
  sections: Sequence[str] = (),
) -> str:
  """The report's text.

  Args:
    figures: What was measured; tables without any figure are left out.
    facts: How it was measured, a line each.
    words: Paragraphs to begin with.
    pictures: {file: caption}.
    entries: The systems that speak.
    sections: What else there is to say, before the pictures.
  """
  parts = ["# Evaluation", *words, _facts(facts)]
  if entries:
    parts += [
      tables.markdown(honest(figures, entries)),
      "## The whole system",
      "Self-driven: the clip's first frame is the identity picture (and left"
      " out of every figure), pose and emotion come from the clip. Other"
      " speech: the same with another person's; its Sync figures are against"
      " the speech heard. What the ground truth scores is the reader's own"
      " error. In brackets: 95 % bootstrap interval over clips.",
      _speaking(figures, entries),
      *(_lines(figures, entry.name) for entry in entries),
    ]
  if "syncnet/two_way" in figures:
    parts += [
      "## SyncNet",
      "Two-way accuracy of our own SyncNet on real held-out clips, against"
      " other sounds of the same clip (chance .5):"
      f" {text(figures['syncnet/two_way'], 3)}.",
    ]
  if "irfd/psnr" in figures:
    parts += [
      "## IRFD",
      "The identity picture comes from another clip of the person where there"
      " is one. Donors are other people. With identity maps, PSNR says nothing"
      " about the codes: read the swaps.",
      _irfd(figures),
      _matrix(figures),
    ]
  parts += sections
  for file, caption in pictures.items():
    parts += [f"![{caption}]({file})", f"*{caption}*"]
  return "\n\n".join(part for part in parts if part) + "\n"


def honest(
  figures: Mapping[str, Figure], entries: Sequence[Entry]
) -> tables.Table:
  """The systems among the rows without which their figures say nothing."""
  blind = [
    f"{entry.name} cannot use {' and '.join(unused)}, which were there."
    for entry in entries
    if (unused := ignored(entry.method))
  ]
  return tables.Table(
    title="Every row",
    columns=tables.HONEST,
    rows=self_driven.table_rows(figures, entries),
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


def sheet(
  cells: UInt8[np.ndarray, "r c h w 3"],
  rows: Sequence[str],
  columns: Sequence[str] = (),
) -> UInt8[np.ndarray, "y x 3"]:
  """A sheet of pictures with names of rows, and of columns if given."""
  _, count, side = cells.shape[:3]
  scale = max(1, -(-CELL_PX // side))
  cells = cells.repeat(scale, 2).repeat(scale, 3)
  lines = []
  for row, label in zip(cells, rows, strict=True):
    name = np.full((row.shape[1], _MARGIN_PX, 3), 255, np.uint8)
    lettering.write(name, label, (4, row.shape[1] // 2))
    lines.append(np.concatenate([name, *row], 1))
  if columns:
    bar = np.full((_BAR_PX, lines[0].shape[1], 3), 255, np.uint8)
    for i, label in enumerate(columns[:count]):
      lettering.write(bar, label, (_MARGIN_PX + i * side * scale + 4, 13))
    lines.insert(0, bar)
  return np.concatenate(lines)


def _facts(facts: Mapping[str, str]) -> str:
  lines = [f"| {key} | {value} |" for key, value in facts.items()]
  return "\n".join(["| | |", "|---|---|", *lines])


def _speaking(figures: Mapping[str, Figure], entries: Sequence[Entry]) -> str:
  columns = [
    *(Line(entry, "own") for entry in entries),
    Line(STATIC, "reference"),
    *(Line(entry, "shuffled") for entry in entries),
    Line(TRUE, "reference"),
  ]
  head = " | ".join(line.title for line in columns)
  clips = [figures.get(self_driven.name(line, "psnr")) for line in columns]
  lines = [
    f"| | {head} |",
    "|---|" + "---|" * len(columns),
    f"| clips | {' | '.join(str(x.clips) if x else '-' for x in clips)} |",
  ]
  for metric in SPEAKING:
    found = [
      figures.get(self_driven.name(line, metric.key)) for line in columns
    ]
    cells = [text(figure, metric.digits) for figure in found]
    if set(cells) != {"-"}:
      cells.insert(0, f"{metric.title} ({metric.note})")
      lines.append(f"| {' | '.join(cells)} |")
  return "\n".join(lines)


def _lines(figures: Mapping[str, Figure], name: str) -> str:
  lines = [f"| {name}: between rows | | clips |", "|---|---|---|"]
  for metric, title, unit, digits in _BETWEEN:
    figure = figures.get(f"{name}/{metric}")
    if figure:
      cell = text(figure, digits)
      lines.append(f"| {title} | {cell} {unit} | {figure.clips} |")
  return "\n".join(lines)


def _irfd(figures: Mapping[str, Figure]) -> str:
  lines = [
    "| | IRFD | the reader on real frames |",
    "|---|---|---|",
  ]
  for key, title, unit, digits, own in _IRFD:
    if key in figures:
      beside = text(figures.get(own), digits) if own else "-"
      lines.append(
        f"| {title} | {text(figures[key], digits)} {unit} | {beside} |"
      )
  for code in _CODES:
    key = f"irfd/code_std/{code}"
    if key in figures:
      value = text(figures[key], 3)
      lines.append(f"| standard deviation of the {code} code | {value} | - |")
  return "\n".join(lines)


def _matrix(figures: Mapping[str, Figure]) -> str:
  lines = [
    "| swapped | identity cosine source / donor | pose moved | R2 of pose to"
    " source (pose swap: donor) | emotion = source / donor | mouth r to source"
    " / donor |",
    "|---|---|---|---|---|---|",
  ]

  def value(key):
    return text(_bare(figures.get(f"irfd/{key}")), 2)

  for key, title in _SWAPS:
    moved = {"no_swap": "pose_moved_no_swap", "pose_swap": "pose_moved"}.get(
      key, f"pose_moved_{key}"
    )
    goal = "donor" if key == "pose_swap" else "source"
    lines.append(
      f"| {title} | {value(f'identity_source_{key}')} /"
      f" {value(f'identity_donor_{key}')} | {value(moved)} |"
      f" {value(f'pose_r2_{goal}_{key}')} |"
      f" {value(f'emotion_source_{key}')} / {value(f'emotion_donor_{key}')} |"
      f" {value(f'mouth_r_source_{key}')} / {value(f'mouth_r_donor_{key}')} |"
    )
  lines.append(
    f"| *the reader on real frames* | {value('judge/identity_same')} /"
    f" {value('judge/identity_other')} | - | {value('judge/pose_r2')} |"
    f" {value('judge/emotion')} / - | {value('judge/mouth_r')} / - |"
  )
  return "\n".join(lines)


def _bare(figure: Figure | None) -> Figure | None:
  """Without the interval: a matrix must stay readable."""
  if figure is None:
    return None
  return Figure(figure.value, float("nan"), float("nan"))
