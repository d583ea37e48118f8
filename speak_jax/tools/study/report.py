"""The table of a study: mean marks, intervals, agreement of the raters."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from speak_jax.evaluation.metric_table import MetricValue, exact, text
from speak_jax.evaluation.report import published, tables
from speak_jax.metrics import sums
from speak_jax.tools.study.answers import Answers, scores
from speak_jax.tools.study.design import QUESTIONS, Key


def alpha(ratings: Float[np.ndarray, "raters units"]) -> float:
  """Krippendorff's alpha for ordinal marks; NaN where it is not defined.

  1 is full agreement, 0 that of chance. Units with fewer than two marks tell
  nothing. NaN: nobody shares a unit, or all marks are the same.

  Source: K. Krippendorff, Computing Krippendorff's Alpha-Reliability (2011),
  sections C to E.

  Args:
    ratings: Marks of any ordered numbers, NaN where there is none.
  """
  levels = np.unique(ratings[np.isfinite(ratings)])
  # counts[u, k]: how many raters gave unit u the k-th mark.
  counts = (ratings[..., None] == levels).sum(0).astype(float)
  counts = counts[counts.sum(1) >= 2]
  if not counts.size:
    return float("nan")
  per_unit = counts.sum(1)
  pairs = counts[:, :, None] * counts[:, None, :]
  pairs -= counts[:, :, None] * np.eye(len(levels))
  observed = (pairs / (per_unit - 1)[:, None, None]).sum(0)
  total = observed.sum(0)
  expected = np.outer(total, total) - np.diag(total)
  # Ranks are the middles of equal marks: their distance counts what lies
  # between two marks, each end half.
  ranks = np.cumsum(total) - total / 2
  distance = (ranks[:, None] - ranks) ** 2
  wrong = (expected * distance).sum()
  if not wrong:
    return float("nan")
  return float(1 - (total.sum() - 1) * (observed * distance).sum() / wrong)


def table(answers: Sequence[Answers], key: Key, seed: int) -> str:
  """Means with intervals over raters, and how far raters agree; Markdown.

  The paper's own means stand below, marked as published.

  Args:
    answers: One or more raters', each rater once.
    key: The study's.
    seed: Seed of the bootstrap, which draws raters.
  """
  marks = scores(answers, key)
  methods = list(dict.fromkeys(item.method for item in key.items))
  rows = []
  for method in sorted(methods):
    own = marks[:, [item.method == method for item in key.items]]
    cells = [_mean(own[..., q], seed) for q in range(len(QUESTIONS))]
    rows.append([_plain(method), *cells, f"{np.isfinite(own[..., 0]).sum()}"])
  for row in published.STUDY:
    name = f"{row.method}, {row.data} (published)"
    rows.append([name, *(f"{mark:.2f}" for mark in row.marks), "-"])
  agreement = [_shown(alpha(marks[..., q])) for q in range(len(QUESTIONS))]
  rows.append(["*raters' agreement*", *agreement, ""])
  head = ["method", *(question.title for question in QUESTIONS), "ratings"]
  lines = [
    "# User study",
    "",
    f"{len(answers)} raters, {len({item.clip for item in key.items})} clips,"
    f" {len(key.items)} videos of {len(methods)} methods;"
    f" {int(np.isfinite(marks[..., 0]).sum())} videos rated in all. Marks are 1"
    " (bad) to 5 (excellent). In brackets: 95 % bootstrap interval over"
    " raters; it says nothing of other clips.",
    "",
    tables.pipe_table(head, rows),
    "",
    "Agreement is Krippendorff's alpha for ordinal marks: 1 full, 0 chance;"
    " below .667 it carries no more than tentative conclusions.",
    "",
    published.STUDY_NOTE,
  ]
  return "\n".join(lines) + "\n"


def _mean(marks: Float[np.ndarray, "raters items"], seed: int) -> str:
  rows = np.stack([np.nansum(marks, 1), np.isfinite(marks).sum(1)], 1)
  mean = MetricValue(*sums.interval(rows, sums.mean, seed))
  # One rater says nothing of others.
  return text(mean if len(rows) > 1 else exact(mean.value), 2)


def _shown(value: float) -> str:
  return f"{value:.3f}" if np.isfinite(value) else "-"


def _plain(name: str) -> str:
  """A foreign name that cannot break out of its cell."""
  return " ".join(name.replace("|", "/").replace("<", "(").split())
