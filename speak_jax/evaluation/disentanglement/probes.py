"""Linear probes: what can a line read off each code of held-out people?

Identity is learned on some clips and asked on other clips of the same people;
pose and emotion are learned on some people and asked on others. Beside each
figure stand its chance level and a control, the same probe on labels that
were shuffled.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from speak_jax import spec
from speak_jax.evaluation.disentanglement.subjects import Subjects
from speak_jax.evaluation.metric_table import (
  MetricValue,
  MetricValues,
  Statistic,
  exact,
)
from speak_jax.evaluation.report import tables
from speak_jax.metrics import codes as code_metrics
from speak_jax.metrics import sums

TARGETS = ("identity", "pose", "emotion")
FOLDS = 5
CONTROLS = 10  # shuffles of the labels
UNITS = {
  "identity": "accuracy on other clips",
  "pose": "R2 on other people",
  "emotion": "accuracy on other people",
}
SYMBOLS = {"identity": "f_I", "pose": "f_P", "emotion": "f_E", "mouth": "f_M"}


class _Task(NamedTuple):
  """What is read off, of the subjects for which it is known."""

  rows: Int[np.ndarray, "n"]  # the subjects
  truth: Float[np.ndarray, "n k"]  # one-hot for labels
  fold: Int[np.ndarray, "n"]
  unit: Int[np.ndarray, "n"]  # what the bootstrap draws
  group: Int[np.ndarray, "n"]  # rows that keep one label when shuffled


def measure(
  codes: Mapping[str, Float[np.ndarray, "n d"]],
  subjects: Subjects,
  *,
  seed: int,
) -> MetricValues:
  """Reads identity, pose and emotion off every code.

  Args:
    codes: Codes of `subjects` (see `matrix.codes_of`), by name.
    subjects: Frames of two or more people, from `subjects.probe_subjects`.
    seed: Seed of the controls and of the bootstrap.

  Returns:
    probe/TARGET_from_CODE, with an interval over clips (identity) or people;
    the same /control, with the 2.5 to 97.5 % range over its shuffles; and
    probe/TARGET/chance. Accuracy for identity and emotion, R2 over all three
    angles for pose. A target that the data cannot ask for is left out:
    identity where nobody has two clips, emotion where no label is known or
    all are one.
  """
  values = {}
  rng = np.random.default_rng(seed)
  for target in TARGETS:
    task = _task(target, subjects)
    if task is None:
      continue
    chance = task.truth.mean(0).max() if target != "pose" else 0.0
    values[f"probe/{target}/chance"] = exact(float(chance))
    truths = [task.truth]
    truths += [
      task.truth[_shuffle(task.group, task.fold, rng)] for _ in range(CONTROLS)
    ]
    for name, code in codes.items():
      predictions = code_metrics.probe(
        code[task.rows], np.stack(truths), task.fold
      )
      (rows, statistic), *controls = (
        _score(target, prediction, truth, task.unit)
        for prediction, truth in zip(predictions, truths, strict=True)
      )
      key = f"probe/{target}_from_{name}"
      values[key] = MetricValue(*sums.interval(rows, statistic, seed))
      scores = [score(control) for control, score in controls]
      low, high = np.quantile(scores, (0.025, 0.975))
      values[f"{key}/control"] = MetricValue(
        float(np.mean(scores)), float(low), float(high)
      )
  return values


def probed(values: Mapping[str, MetricValue]) -> tuple[list[str], list[str]]:
  """Targets and codes that `measure` has values of."""
  targets = [t for t in TARGETS if f"probe/{t}/chance" in values]
  codes = [
    name
    for name in SYMBOLS
    if any(f"probe/{t}_from_{name}" in values for t in targets)
  ]
  return targets, codes


def markdown(values: Mapping[str, MetricValue]) -> str:
  """Table of `measure`: codes in rows; cells: value [interval] (control)."""
  targets, codes = probed(values)
  if not codes:
    return ""
  rows = []
  for code in codes:
    cells = []
    for target in targets:
      key = f"probe/{target}_from_{code}"
      value, low, high = values[key][:3]
      control = values[f"{key}/control"].value
      text = f"{value:.2f} [{low:.2f}, {high:.2f}] ({control:.2f})"
      cells.append(f"**{text}**" if target == code else text)
    rows.append([SYMBOLS[code], *cells])
  chance = [f"{values[f'probe/{t}/chance'].value:.2f}" for t in targets]
  rows.append(["*chance*", *chance])
  head = ["code", *(f"{t}, {UNITS[t]}" for t in targets)]
  note = (
    "In brackets the interval, in parentheses the same probe on shuffled"
    " labels. Bold: what the code is for; all else ought to be at chance."
  )
  return f"{tables.pipe_table(head, rows)}\n\n{note}"


def _task(target: str, subjects: Subjects) -> _Task | None:
  """What a probe learns and predicts; None where the data does not tell it."""
  rows = np.arange(len(subjects.person))
  if target == "pose":
    if len(np.unique(subjects.person)) < 2:
      return None
    fold = code_metrics.folds(subjects.person, FOLDS)
    truth = subjects.pose.astype(np.float64)
    return _Task(rows, truth, fold, subjects.person, rows)
  if target == "emotion":
    rows = rows[subjects.label >= 0]
    people, label = subjects.person[rows], subjects.label[rows]
    if len(np.unique(people)) < 2 or len(np.unique(label)) < 2:
      return None
    fold = code_metrics.folds(people, FOLDS)
    truth = np.eye(len(spec.EMOTIONS))[label]
    return _Task(rows, truth, fold, people, subjects.clip[rows])
  # The first clip of everybody, then the second, and so on.
  turn = np.zeros(len(rows), int)
  for person in np.unique(subjects.person):
    at = subjects.person == person
    turn[at] = np.unique(subjects.clip[at], return_inverse=True)[1]
  rows = rows[np.isin(subjects.person, subjects.person[turn > 0])]
  names, number = np.unique(subjects.person[rows], return_inverse=True)
  if len(names) < 2:
    return None
  clip = subjects.clip[rows]
  return _Task(rows, np.eye(len(names))[number], turn[rows] % FOLDS, clip, clip)


def _shuffle(
  groups: Int[np.ndarray, "n"],
  fold: Int[np.ndarray, "n"],
  rng: np.random.Generator,
) -> Int[np.ndarray, "n"]:
  """A row for every row, so that groups get the label of another group.

  Of their own fold: folds keep their labels, for else what is rare in one is
  common in the others, and a probe that knows nothing is under chance.
  """
  source = np.zeros(len(groups), int)
  for name in np.unique(fold):
    inside = np.flatnonzero(fold == name)
    _, first, number = np.unique(
      groups[inside], return_index=True, return_inverse=True
    )
    source[inside] = inside[first[rng.permutation(len(first))][number]]
  return source


def _score(
  target: str,
  predicted: Float[np.ndarray, "n k"],
  truth: Float[np.ndarray, "n k"],
  unit: Int[np.ndarray, "n"],
) -> tuple[Float[np.ndarray, "u c"], Statistic]:
  """A row of sums for each unit, and the statistic of them."""
  groups = [unit == name for name in np.unique(unit)]
  if target == "pose":
    return np.stack(
      [sums.r2_row(predicted[g], truth[g]) for g in groups]
    ), sums.r2
  right = predicted.argmax(-1) == truth.argmax(-1)
  return np.stack([sums.mean_row(right[g]) for g in groups]), sums.mean
