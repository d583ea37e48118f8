"""The table of a visit, what doors do not agree on, and counts."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from tests.visit.outcome import FAULT, REFUSED, WORKS, Outcome

HEAD = ("file", "role", "door", "verdict", "seconds", "line")


def table(outcomes: Iterable[Outcome]) -> str:
  """A row a visit, with tabs between."""
  rows = ["\t".join(HEAD)]
  for x in outcomes:
    line = x.line or "; ".join(x.warnings)
    row = (x.file, x.role, x.door, x.verdict, f"{x.seconds:.2f}", line)
    rows.append("\t".join(text.replace("\t", " ") for text in row))
  return "\n".join(rows) + "\n"


def disagreements(
  outcomes: Iterable[Outcome],
) -> dict[tuple[str, str], str]:
  """Cases (file, role) that end otherwise at one door than at another: how."""
  cases: dict[tuple[str, str], list[Outcome]] = defaultdict(list)
  for x in outcomes:
    cases[x.file, x.role].append(x)
  out = {}
  for (file, role), doors in cases.items():
    for what, of in (
      ("verdict and line", lambda x: (x.verdict, x.line)),
      ("warnings", lambda x: x.warnings),
      ("frames", lambda x: (x.frames, x.width, x.height, x.digest[:8])),
    ):
      said = {x.door: of(x) for x in doors}
      if len(set(said.values())) > 1:
        each = "; ".join(f"{door}: {text}" for door, text in said.items())
        out[file, role] = f"{file} as {role}, {what}: {each}"
        break
  return out


def summary(outcomes: Sequence[Outcome], folders: Sequence[str]) -> str:
  """Markdown: counts, lines of refusals, faults, what doors disagree on."""
  minutes = sum(x.seconds for x in outcomes) / 60
  doors = list(dict.fromkeys(x.door for x in outcomes))
  counts = Counter(
    (x.file.split("/")[0], x.role, x.door, x.verdict) for x in outcomes
  )
  out = [
    f"{len(outcomes)} visits, {minutes:.1f} minutes of waiting. Works / refused"
    " / fault:",
    "",
    f"| folder | role | {' | '.join(doors)} |",
    f"| --- | --- |{' --- |' * len(doors)}",
  ]
  roles = list(dict.fromkeys(x.role for x in outcomes))
  for folder in folders:
    for role in roles:
      cells = [
        " / ".join(
          str(counts[folder, role, door, verdict])
          for verdict in (WORKS, REFUSED, FAULT)
        )
        for door in doors
      ]
      out.append(f"| {folder} | {role} | {' | '.join(cells)} |")
  faults = [x for x in outcomes if x.verdict == FAULT]
  out += ["", f"## Faults: {len(faults)}", ""]
  out += [f"- {x.file} as {x.role} at {x.door}: {x.line}" for x in faults]
  apart = disagreements(outcomes)
  out += ["", f"## Doors that do not agree: {len(apart)}", ""]
  out += [f"- {line}" for line in apart.values()]
  for title, lines in (
    ("Refusals", [(x.line, x) for x in outcomes if x.verdict == REFUSED]),
    ("Warnings", [(w, x) for x in outcomes for w in x.warnings]),
  ):
    files: dict[str, dict[str, None]] = defaultdict(dict)
    for line, x in lines:
      files[line][f"{x.file} ({x.role})"] = None
    out += ["", f"## {title}", "", "| line | cases | such as |", "|-|-|-|"]
    for line, names in sorted(files.items(), key=lambda x: -len(x[1])):
      out.append(f"| {line} | {len(names)} | {', '.join([*names][:3])} |")
  slow = sorted(outcomes, key=lambda x: -x.seconds)[:8]
  out += ["", "## Slowest", ""]
  out += [f"- {x.seconds:.1f} s: {x.file} as {x.role}, {x.door}" for x in slow]
  return "\n".join(out) + "\n"
