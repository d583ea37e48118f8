"""Figures that the paper prints, for the rows beside ours.

SPEAK (arXiv 2405.07257), v1 and v3, 256 px, self-driven, and the user study of
v1. They do not compare with measured ones: neither the crop nor the landmark
detector nor PSNR is defined there, and between the versions Sync moved even
for the ground truth.
"""

from collections.abc import Mapping
from typing import NamedTuple

from speak_jax.evaluation.metric_table import exact
from speak_jax.evaluation.report.tables import PUBLISHED, Row

NOTE = (
  "Published figures (SPEAK, arXiv 2405.07257) are of another protocol and not"
  " comparable: compare the order of rows within each kind, not the digits."
)

# SSIM, PSNR, F-LMD, M-LMD, Sync; None where the paper has a dash.
_METRICS = ("ssim", "psnr", "f_lmd", "m_lmd", "sync_c")
_Five = tuple[float, float | None, float, float, float]

_TABLE_1: dict[str, dict[str, _Five]] = {
  "ATVG": {
    "MEAD": (0.73, 29.33, 3.36, 5.82, 3.81),
    "HDTF": (0.67, 28.13, 3.22, 4.16, 3.93),
  },
  "EAMM": {
    "MEAD": (0.44, 28.54, 5.78, 5.83, 1.54),
    "HDTF": (0.36, 27.66, 6.04, 5.92, 1.72),
  },
  "Wav2Lip, v1": {
    "MEAD": (0.69, 29.01, 3.57, 3.36, 5.83),
    "HDTF": (0.48, 27.98, 4.77, 4.24, 3.76),
  },
  "Wav2Lip, v3": {
    "MEAD": (0.69, 29.01, 3.57, 3.36, 5.13),
    "HDTF": (0.48, 27.98, 4.77, 4.24, 5.73),
  },
  "PC-AVS, v1": {
    "MEAD": (0.61, 29.07, 5.36, 4.41, 3.37),
    "HDTF": (0.53, 27.94, 5.52, 4.67, 3.22),
  },
  "TH-PAD, v3": {
    "MEAD": (0.79, 29.07, 2.26, 3.17, 3.53),
    "HDTF": (0.78, 29.19, 2.35, 2.74, 4.88),
  },
  "SPEAK, v1": {
    "MEAD": (0.81, 29.31, 2.48, 3.25, 3.99),
    "HDTF": (0.83, 29.46, 2.32, 3.02, 3.96),
  },
  "SPEAK, v3": {
    "MEAD": (0.84, 29.41, 2.48, 2.92, 4.99),
    "HDTF": (0.83, 29.46, 2.32, 2.42, 5.76),
  },
  "ground truth, v1": {
    "MEAD": (1.0, None, 0.0, 0.0, 5.41),
    "HDTF": (1.0, None, 0.0, 0.0, 5.23),
  },
  "ground truth, v3": {
    "MEAD": (1.0, None, 0.0, 0.0, 5.26),
    "HDTF": (1.0, None, 0.0, 0.0, 5.83),
  },
}


# Data sets that it has figures of.
DATA = tuple({data: None for sets in _TABLE_1.values() for data in sets})


class Rated(NamedTuple):
  """Published mean marks of a method's clips, 1 to 5."""

  method: str
  data: str
  marks: tuple[float, float, float]  # lip sync, head motion, realness


# Table II of v1; v3 has other numbers, of which no copy was at hand.
STUDY = (
  Rated("SPEAK, v1", "MEAD", (4.12, 3.97, 4.09)),
  Rated("Wav2Lip, v1", "MEAD", (4.03, 1.42, 1.54)),
  Rated("ATVG, v1", "MEAD", (3.89, 3.71, 3.82)),
  Rated("ground truth, v1", "MEAD", (4.76, 4.91, 4.89)),
  Rated("SPEAK, v1", "CREMA-D", (4.23, 3.67, 4.11)),
)
STUDY_NOTE = (
  "Published marks (SPEAK, arXiv 2405.07257v1, 20 people, 30 clips) are of"
  " other clips and other people and not comparable: compare the order of rows"
  " within each kind, not the digits."
)


class Ablation(NamedTuple):
  """A published ablation: what each row leaves out, on MEAD."""

  title: str
  version: str
  rows: Mapping[str, tuple[str, _Five]]  # by the name that a run is given


FULL = "full"
ENCODERS = Ablation(
  "Encoders left out (the paper's Table III)",
  "v3",
  {
    FULL: ("SPEAK", (0.84, 29.41, 2.48, 2.92, 4.99)),
    "no_identity": ("without E_i", (0.53, 23.89, 4.22, 3.84, 4.11)),
    "no_pose": ("without E_p", (0.57, 24.77, 5.15, 3.78, 3.98)),
    "no_emotion": ("without E_e", (0.62, 25.31, 3.17, 4.72, 3.23)),
  },
)
LOSSES = Ablation(
  "Losses left out (v1 of the paper)",
  "v1",
  {
    FULL: ("SPEAK", (0.81, 29.31, 2.48, 3.25, 3.99)),
    "no_identity": ("without L_identity", (0.63, 25.23, 4.26, 3.29, 3.06)),
    "no_cls": ("without L_cls", (0.75, 28.11, 2.78, 3.27, 3.81)),
    "no_pose": ("without L_pose", (0.65, 25.89, 3.39, 3.51, 3.72)),
    "no_emotion": ("without L_emotion", (0.69, 26.74, 3.21, 3.14, 3.29)),
    "no_self": ("without L_self", (0.58, 25.45, 3.87, 3.66, 3.12)),
    "no_irfd": ("without IRFD", (0.55, 24.77, 5.25, 3.88, 2.96)),
    "no_gan": ("without L_GAN", (0.61, 26.69, 4.12, 3.81, 3.14)),
    "no_vgg": ("without L_vgg", (0.72, 27.01, 3.37, 3.76, 3.67)),
    "no_sync": ("without L_sync", (0.72, 28.41, 2.64, 4.14, 3.16)),
  },
)
ABLATED_ON = "MEAD"


def table_1() -> list[Row]:
  """Every published row of Table I, MEAD and HDTF."""
  return [
    _row(method, data, five)
    for method, sets in _TABLE_1.items()
    for data, five in sets.items()
  ]


def ablated(ablation: Ablation) -> list[Row]:
  """Every published row of an ablation."""
  return [
    _row(f"{title}, {ablation.version}", ABLATED_ON, five)
    for title, five in ablation.rows.values()
  ]


def change(ablation: Ablation, name: str) -> dict[str, float]:
  """Ablated minus full as published; {} for a name that is not in it."""
  if name not in ablation.rows:
    return {}
  row, full = (_values(ablation.rows[x][1]) for x in (name, FULL))
  return {metric: row[metric] - full[metric] for metric in row}


def _row(method: str, data: str, five: _Five) -> Row:
  values = {metric: exact(x) for metric, x in _values(five).items()}
  return Row(method, data, PUBLISHED, values)


def _values(five: _Five) -> dict[str, float]:
  pairs = zip(_METRICS, five, strict=True)
  return {metric: value for metric, value in pairs if value is not None}
