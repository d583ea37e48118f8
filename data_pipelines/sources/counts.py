"""What a source found, as a page of text."""

import os
import sys
from collections import Counter
from collections.abc import Iterable

from data_pipelines.sources.task import Survey
from speak_jax import spec
from speak_jax.common.names import printable

MANY = 100  # identities; more are summed up
_SUFFIXES = 6  # of a kind of file that are named


def page(survey: Survey) -> str:
  """Counts by split, identity, emotion and level, view; gaps; the licence."""
  tasks = survey.tasks
  people = Counter(task.identity for task in tasks)
  rows = [("split", "clips", "people")]
  for split, count in Counter(task.split for task in tasks).items():
    who = {task.identity for task in tasks if task.split == split}
    rows.append((split, str(count), str(len(who))))
  tables = [
    rows,
    _people(people),
    _emotions(Counter((t.labels.emotion, t.labels.level) for t in tasks)),
    [
      ("view", "clips"),
      *(
        (view or "unknown", str(count))
        for view, count in sorted(Counter(t.labels.view for t in tasks).items())
      ),
    ],
  ]
  return "\n\n".join(
    [
      f"{len(tasks)} clips of {len(people)} people",
      *map(_table, tables),
      gaps(survey, len(survey.gaps)),
      *filter(None, [passed(survey, sys.maxsize)]),
      licence(survey),
    ]
  )


def gaps(survey: Survey, most: int) -> str:
  """The first lines of what is missing, and how many there are."""
  more = len(survey.gaps) - most
  return "\n".join(
    [
      f"{len(survey.gaps)} gaps",
      *(f"  {printable(line)}" for line in survey.gaps[:most]),
      *([f"  and {more} more: --dry-run lists them"] if more > 0 else []),
    ]
  )


def passed(survey: Survey, most: int) -> str:
  """What is not used, by kind, and the first names of those with a reason.

  "" where all is used.
  """
  lines = []
  for kind, names in survey.passed:
    noted = [name for name in names if ": " in name]
    ends = Counter(map(_ending, names))
    some = ", ".join(end for end, _ in ends.most_common(_SUFFIXES))
    lines.append(f"{len(names):>9}  {kind}" + ("" if noted else f" ({some})"))
    lines += [f"{'':11}{name}" for name in noted[:most]]
    if len(noted) > most:
      lines.append(f"{'':11}and {len(noted) - most} more: --dry-run lists them")
  return "\n".join(["passed over", *lines]) if lines else ""


def _ending(name: str) -> str:
  """The suffix; the whole last name where there is none."""
  return os.path.splitext(name)[1].lower() or os.path.basename(name)


def licence(survey: Survey) -> str:
  """The terms, in a line or two."""
  name, url, line = survey.licence
  return f"Licence: {name}. {line}" + (f"\nTerms: {url}" if url else "")


def _people(people: Counter) -> list[tuple[str, ...]]:
  counts = sorted(people.values())
  if len(counts) <= MANY:
    rows = ((who, str(people[who])) for who in sorted(people))
    return [("identity", "clips"), *rows]
  ends = f"{counts[0]} to {counts[-1]}, median {counts[len(counts) // 2]}"
  return [("identity", "clips"), (f"{len(counts)} people", ends)]


def _emotions(cells: Counter) -> list[tuple[str, ...]]:
  """Emotion by level; levels that do not occur are no column."""
  levels = sorted({level for _, level in cells})
  heads = ("unknown" if level == 0 else f"level {level}" for level in levels)
  return [
    ("emotion", *heads),
    *(
      (
        "unknown" if emotion == spec.UNKNOWN else spec.EMOTIONS[emotion],
        *(str(cells[emotion, level]) for level in levels),
      )
      for emotion in sorted({emotion for emotion, _ in cells})
    ),
  ]


def _table(rows: Iterable[tuple[str, ...]]) -> str:
  """Columns of even width, numbers to the right."""
  columns = list(zip(*rows, strict=True))
  widths = [max(map(len, column)) for column in columns]
  return "\n".join(
    "  ".join(
      [
        cells[0].ljust(widths[0]),
        *(c.rjust(w) for c, w in zip(cells[1:], widths[1:], strict=True)),
      ]
    ).rstrip()
    for cells in zip(*columns, strict=True)
  )
