"""Every metric of a report: name, unit, what is best, format, and its tables.

Markdown, LaTeX, HTML and the ablations read this one list. SELF_DRIVEN holds
what each line of the self-driven tables has, GAINS what a model has over other
lines, IRFD what its codes are measured by; PAPER and EVERY_ROW name the columns
of the tables that compare methods, ABLATION has those of the ablations.
"""

from collections.abc import Iterable
from typing import NamedTuple

from speak_jax.evaluation.report.tables import Column


class Metric(NamedTuple):
  """How a metric is printed."""

  name: str  # key of its value, without the line's name
  title: str
  unit: str
  digits: int
  best: str = ""  # "up", "down", the value that is best, or "": not said
  column: str = ""  # title as a column among methods, where it is another
  reader: str = ""  # key of what the face reader scores on real frames

  @property
  def note(self) -> str:
    """Unit, and whether more is better."""
    goal = {"up": "more is better", "down": "less is better"}.get(
      self.best, f"best: {self.best}"
    )
    return ", ".join(x for x in (self.unit, goal) if x)


_ALIGNED = "px of the aligned 128 crop (ours)"
_NETWORK = "features of the reader's identity, ours"
_OFFICIAL, _OWN = "official SyncNet v2", "our own SyncNet"

SELF_DRIVEN = (
  Metric("psnr", "PSNR", "dB", 2, "up"),
  Metric("ssim", "SSIM", "", 3, "up"),
  Metric("gaussian_ssim", "SSIM, Gaussian window", "", 3, "up"),
  Metric(
    "aligned_psnr",
    "PSNR, aligned",
    "dB, 128 px crop (ours)",
    2,
    "up",
    "PSNR, aligned 128 (ours)",
  ),
  Metric(
    "aligned_ssim",
    "SSIM, aligned",
    "128 px crop (ours)",
    3,
    "up",
    "SSIM, aligned 128 (ours)",
  ),
  Metric("f_lmd", "F-LMD", "px", 2, "down"),
  Metric("m_lmd", "M-LMD", "px", 2, "down"),
  Metric("f_lmd_eyes", "F-LMD", "eye distances", 3, "down"),
  Metric("m_lmd_eyes", "M-LMD", "eye distances", 3, "down"),
  Metric("aligned_f_lmd", "F-LMD, aligned", _ALIGNED, 2, "down"),
  Metric(
    "aligned_m_lmd",
    "M-LMD, aligned",
    _ALIGNED,
    2,
    "down",
    "M-LMD, aligned 128 (ours)",
  ),
  Metric("mouth_r", "mouth opening r", "", 2, "up"),
  Metric("silent_opening", "mouth opening in silence", "", 3, "real"),
  Metric("mouth_box_psnr", "mouth-box PSNR", "dB", 2, "up"),
  Metric("gradient_energy", "gradient energy / real", "", 2, "1"),
  Metric(
    "mouth_gradient_energy",
    "the same in the mouth box",
    "",
    2,
    "1",
    "mouth sharpness / real",
  ),
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
  Metric(
    "frechet_identity",
    "Frechet distance",
    _NETWORK,
    3,
    "down",
    "Frechet distance, reader's identity (ours)",
  ),
  Metric("lpips", "LPIPS", "", 3, "down"),
  Metric("fid", "FID", "", 1, "down"),
  Metric("emotion", "emotion read right", "of frames", 2, "up"),
  Metric("emotion_balanced", "the same, mean over emotions", "", 2, "up"),
  Metric("sync_c", "Sync-C", _OFFICIAL, 2, "up", "Sync"),
  Metric("sync_d", "Sync-D", _OFFICIAL, 2, "down"),
  Metric(
    "sync_confidence", "Sync confidence", _OWN, 3, "up", "Sync, own network"
  ),
  Metric("sync_distance", "Sync distance", _OWN, 3, "down"),
  Metric("sync_offset", "Sync offset", "frames, by the same network", 1, "0"),
  Metric("two_way", "two-way", _OWN, 3, "real"),
  Metric("undetected", "share of frames without a face found", "", 3, "down"),
)
GAINS = (
  Metric(
    "psnr_over_static",
    "PSNR, model over static",
    "dB",
    2,
    column="PSNR over static",
  ),
  Metric("mouth_box_over_static", "mouth box, model over static", "dB", 2),
  Metric(
    "mouth_box_over_shuffled",
    "mouth box, own over other speech",
    "dB",
    3,
    column="mouth box, own - other speech",
  ),
  Metric(
    "silent_opening_over_true",
    "mouth opening in silence, model over truth",
    "",
    3,
  ),
  Metric("shuffled_driving_r", "other speech: r to the speech heard", "", 2),
  Metric("shuffled_true_r", "other speech: r to the clip's own", "", 2),
  Metric(
    "shuffled_driving_minus_true",
    "the difference of the two",
    "",
    2,
    column="mouth r, other speech - its own",
  ),
)
IRFD = (
  Metric("irfd/psnr", "reconstruction PSNR", "dB", 2),
  Metric("irfd/ssim", "reconstruction SSIM", "", 3),
  Metric("irfd/codes_only_psnr", "codes alone, without maps: PSNR", "dB", 2),
  Metric("irfd/codes_only_ssim", "codes alone, without maps: SSIM", "", 3),
  Metric("irfd/gradient_energy", "gradient energy / real", "", 2),
  Metric(
    "irfd/pose_moved",
    "pose moved by a pose swap",
    "",
    2,
    column="pose swap: share of the way",
  ),
  Metric("irfd/pose_moved_no_swap", "the same without a swap", "", 2),
  Metric(
    "irfd/pose_r2_donor_pose_swap",
    "R2 of pose to the donor, pose swap",
    "",
    2,
    reader="irfd/judge/pose_r2",
  ),
  Metric(
    "irfd/identity_swap_margin",
    "identity swap: cosine to donor - source",
    "",
    2,
    column="identity swap: donor - source",
  ),
  Metric(
    "irfd/emotion_accuracy",
    "emotion from f_E by C_m (chance .125)",
    "",
    2,
    reader="irfd/judge/emotion",
  ),
)
# Of the swap matrix, which has a table of its own.
_SWAPPED = Metric(
  "irfd/emotion_donor_emotion_swap",
  "emotion of the donor read, emotion swap",
  "",
  2,
  column="emotion swap: donor named",
)
_BY_NAME = {x.name: x for x in (*SELF_DRIVEN, *GAINS, *IRFD, _SWAPPED)}

PAPER = ("ssim", "psnr", "f_lmd", "m_lmd", "sync_c", "sync_confidence")
EVERY_ROW = (
  *PAPER,
  "sync_offset",
  "aligned_psnr",
  "aligned_ssim",
  "aligned_m_lmd",
  "mouth_box_psnr",
  "mouth_gradient_energy",
  "silent_opening",
  "lpips",
  "fid",
  "frechet_identity",
)


def columns(names: Iterable[str], prefix: str = "") -> tuple[Column, ...]:
  """Columns of tables that compare methods.

  Args:
    names: Names of metrics.
    prefix: Prefix of the keys under which the tables' rows have their values.
  """
  return tuple(
    Column(f"{prefix}{name}", metric.column or metric.title, metric.digits)
    for name in names
    if (metric := _BY_NAME[name])
  )


# Rows of ablations have their values under the names of metrics.json.
ABLATION = (
  *columns(
    (
      *("psnr", "psnr_over_static", "ssim", "m_lmd", "f_lmd"),
      "sync_confidence",
    ),
    "speak/",
  ),
  # Two digits: it is compared with an interval of tenths of a dB.
  columns(("mouth_box_over_shuffled",), "speak/")[0]._replace(digits=2),
  *columns(
    (
      "irfd/emotion_donor_emotion_swap",
      "irfd/pose_moved",
      "irfd/identity_swap_margin",
    )
  ),
)
