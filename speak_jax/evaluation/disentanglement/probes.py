"""Linear probes: what can a line read off each code of held-out people?

Identity is learned on some clips and asked on other clips of the same people;
pose and emotion are learned on some people and asked on others. Beside each
figure stand its chance level and a control, the same probe on labels that
were dealt out anew.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt8

from speak_jax import spec
from speak_jax.evaluation import ledger
from speak_jax.evaluation.disentanglement.swaps import Subjects
from speak_jax.evaluation.readers.reading import Take
from speak_jax.metrics import codes as code_metrics
from speak_jax.metrics import sums

TARGETS = ("identity", "pose", "emotion")
FOLDS = 5
CONTROLS = 10  # deals of the labels
UNITS = {
  "identity": "accuracy on other clips",
  "pose": "R2 on other people",
  "emotion": "accuracy on other people",
}
SYMBOLS = {"identity": "f_I", "pose": "f_P", "emotion": "f_E", "mouth": "f_M"}

# A frame and its landmarks to what E_e and the mouth encoder are shown of it.
Cut = Callable[
  [UInt8[np.ndarray, "h w 3"], Float[np.ndarray, "68 2"]],
  tuple[UInt8[np.ndarray, "f f 3"], UInt8[np.ndarray, "m m 3"]],
]


class _Task(NamedTuple):
  """What is read off, of the rows that can be asked."""

  rows: Int[np.ndarray, "n"]
  truth: Float[np.ndarray, "n k"]  # one-hot for labels
  fold: Int[np.ndarray, "n"]
  unit: Int[np.ndarray, "n"]  # what the bootstrap draws
  dealt: Int[np.ndarray, "n"]  # rows that keep one label when dealt anew


def subjects(takes: Sequence[Take], cut: Cut, count: int = 4) -> Subjects:
  """Subjects whose every code is read off one and the same frame.

  Args:
    takes: Held-out clips.
    cut: How emotion pictures and mouth patches are made of a frame.
    count: Frames of each clip, evenly spaced from the first to the last.
  """
  people = sorted({take.person for take in takes})
  rows = []
  for number, take in enumerate(takes):
    times = np.linspace(0, len(take.frames) - 1, count).round().astype(int)
    for t in times:
      frame, points = take.frames[t], take.landmarks[t]
      emotion, mouth = cut(frame, points)
      rows.append(
        Subjects(
          target=frame,
          identity=frame,
          identity_landmarks=points,
          emotion=emotion,
          mouth=mouth,
          pose=take.pose[t],
          opening=take.opening[t],
          label=np.array(take.emotion),
          person=np.array(people.index(take.person)),
          clip=np.array(number),
        )
      )
  return Subjects(*map(np.stack, zip(*rows, strict=True)))


def measure(
  codes: Mapping[str, Float[np.ndarray, "n d"]],
  asked: Subjects,
  *,
  seed: int,
) -> ledger.Figures:
  """Reads identity, pose and emotion off every code.

  Args:
    codes: Of `asked` (see `disentangle.codes_held`), by name.
    asked: Frames of two or more people, best as `subjects` makes them.
    seed: Of the controls and of the bootstrap.

  Returns:
    probe/TARGET_from_CODE, with an interval over clips (identity) or people;
    the same /control, with the 2.5 to 97.5 % range of its deals; and
    probe/TARGET/chance. Accuracy for identity and emotion, R2 over all three
    angles for pose. A target that the data cannot ask for is left out:
    identity where nobody has two clips, emotion where no label is known or
    all are one.
  """
  found = {}
  rng = np.random.default_rng(seed)
  for target in TARGETS:
    task = _task(target, asked)
    if task is None:
      continue
    share = task.truth.mean(0).max() if target != "pose" else 0.0
    found[f"probe/{target}/chance"] = ledger.Figure(
      float(share), float("nan"), float("nan")
    )
    truths = [task.truth]
    truths += [
      task.truth[_deal(task.dealt, task.fold, rng)] for _ in range(CONTROLS)
    ]
    for name, code in codes.items():
      said = code_metrics.probe(code[task.rows], np.stack(truths), task.fold)
      scores = [
        _score(target, a, b, task.unit)
        for a, b in zip(said, truths, strict=True)
      ]
      (rows, statistic), *controls = scores
      key = f"probe/{target}_from_{name}"
      found[key] = ledger.Figure(*sums.interval(rows, statistic, seed))
      values = [score(table) for table, score in controls]
      low, high = np.quantile(values, (0.025, 0.975))
      found[f"{key}/control"] = ledger.Figure(
        float(np.mean(values)), float(low), float(high)
      )
  return found


def markdown(found: Mapping[str, ledger.Figure]) -> str:
  """Table of `measure`: codes in rows; cells: figure [interval] (control)."""
  asked = [t for t in TARGETS if f"probe/{t}/chance" in found]
  names = [
    name
    for name in SYMBOLS
    if any(f"probe/{t}_from_{name}" in found for t in asked)
  ]
  if not names:
    return ""
  lines = [
    "| code | " + " | ".join(f"{t}, {UNITS[t]}" for t in asked) + " |",
    "|---|" + "---|" * len(asked),
  ]
  for name in names:
    cells = []
    for target in asked:
      key = f"probe/{target}_from_{name}"
      value, low, high = found[key][:3]
      control = found[f"{key}/control"].value
      text = f"{value:.2f} [{low:.2f}, {high:.2f}] ({control:.2f})"
      cells.append(f"**{text}**" if target == name else text)
    lines.append(f"| {SYMBOLS[name]} | {' | '.join(cells)} |")
  chance = [f"{found[f'probe/{t}/chance'].value:.2f}" for t in asked]
  lines.append(f"| *chance* | {' | '.join(chance)} |")
  note = (
    "In brackets the interval, in parentheses the same probe on shuffled"
    " labels. Bold: what the code is for; all else ought to be at chance."
  )
  return "\n".join(lines) + "\n\n" + note


def _task(target: str, asked: Subjects) -> _Task | None:
  """What a probe learns and is asked; None where the data has none of it."""
  rows = np.arange(len(asked.person))
  if target == "pose":
    if len(np.unique(asked.person)) < 2:
      return None
    fold = code_metrics.folds(asked.person, FOLDS)
    truth = asked.pose.astype(np.float64)
    return _Task(rows, truth, fold, asked.person, rows)
  if target == "emotion":
    rows = rows[asked.label >= 0]
    people, label = asked.person[rows], asked.label[rows]
    if len(np.unique(people)) < 2 or len(np.unique(label)) < 2:
      return None
    fold = code_metrics.folds(people, FOLDS)
    truth = np.eye(len(spec.EMOTIONS))[label]
    return _Task(rows, truth, fold, people, asked.clip[rows])
  # The first clip of everybody, then the second, and so on.
  turn = np.zeros(len(rows), int)
  for person in np.unique(asked.person):
    at = asked.person == person
    turn[at] = np.unique(asked.clip[at], return_inverse=True)[1]
  rows = rows[np.isin(asked.person, asked.person[turn > 0])]
  names, number = np.unique(asked.person[rows], return_inverse=True)
  if len(names) < 2:
    return None
  clip = asked.clip[rows]
  return _Task(rows, np.eye(len(names))[number], turn[rows] % FOLDS, clip, clip)


def _deal(
  groups: Int[np.ndarray, "n"],
  fold: Int[np.ndarray, "n"],
  rng: np.random.Generator,
) -> Int[np.ndarray, "n"]:
  """A row for every row, so that groups get the label of another group.

  Of their own fold: folds keep their labels, for else what is rare in one is
  common in the others, and a probe that knows nothing is under chance.
  """
  out = np.zeros(len(groups), int)
  for name in np.unique(fold):
    at = np.flatnonzero(fold == name)
    _, first, number = np.unique(
      groups[at], return_index=True, return_inverse=True
    )
    out[at] = at[first[rng.permutation(len(first))][number]]
  return out


def _score(
  target: str,
  said: Float[np.ndarray, "n k"],
  truth: Float[np.ndarray, "n k"],
  unit: Int[np.ndarray, "n"],
) -> tuple[Float[np.ndarray, "u c"], Callable[[np.ndarray], float]]:
  """A row of sums for each unit, and what to read them with."""
  groups = [unit == name for name in np.unique(unit)]
  if target == "pose":
    return np.stack([sums.r2_row(said[g], truth[g]) for g in groups]), sums.r2
  right = said.argmax(-1) == truth.argmax(-1)
  return np.stack([sums.mean_row(right[g]) for g in groups]), sums.mean
