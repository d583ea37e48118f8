"""Visits the product as a new user does, with every file of some folders.

  python -m tests.visit --folder DATA [DATA ...] --out SHEETS \
    [--doors command,python,page,server] [--resume]

Each file is given as picture, as sound, as head motion and as emotion, also
where its kind does not fit: a sound as a picture, a text as a video. What else
a video needs is the package's example, two seconds of it. At each door the
file works or is refused with one line that names it; anything else is a fault,
and so is what one door does otherwise than another: another verdict or line,
other warnings, other frames.

In SHEETS: `summary.md` (counts, lines, faults), `table.tsv` (a row a visit),
contact sheets (the file as a plain viewer shows it, the first frame that was
made, and the head in the one that differs most from it and in the last), and
`visits.jsonl`, from which `--resume` goes on; with `--doors ""` it only writes
the rest anew. The exit code is 0 if there was no fault.

The command runs in this process, by its own `main`, with the model that
Python's call has; `--processes` of the cases run as the process that a user
starts, too. Page and server are processes that are asked by HTTP. Needs the
extras app and serve, for these two.
"""

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import speak_jax
from speak_jax.common.progress import Progress
from tests.visit import report, sheets
from tests.visit.cases import ROLES, Case, every, spread, write_plain
from tests.visit.doors import Door, visited
from tests.visit.inside import Command, Process, Python
from tests.visit.outcome import FAULT, REFUSED, Log
from tests.visit.over_http import Page, Server

DOORS = ("command", "python", "page", "server")
GRACE_S = 5.0  # after which what a door has left behind counts


def main(argv: Sequence[str] | None = None) -> int:
  """Runs the visit; 1 if anything was at fault."""
  args = _parsed(argv)
  out: Path = args.out.resolve()
  strips, work = out / "strips", out / "work"
  for folder in (strips, work):
    folder.mkdir(parents=True, exist_ok=True)
  # Of all doors, so that what they leave behind is found.
  scratch = Path(tempfile.mkdtemp(prefix="visit-"))
  os.environ["TMPDIR"] = tempfile.tempdir = str(scratch)
  plain = write_plain(out, args.seconds)
  try:
    cases, folders = every(args.folder, plain, args.only)
  except ValueError as error:
    print(f"visit: {error}", file=sys.stderr)
    return 2
  log = Log(out / "visits.jsonl", args.resume)
  apart = report.disagreements(log.outcomes.values()) if args.apart else None
  processes = ["process"] * bool(args.doors and args.processes)
  for name in (*args.doors, *processes):
    chosen = cases if name != "process" else spread(cases, args.processes)
    todo = [
      x
      for x in chosen
      if args.again or not log.knows((x.name, x.role, name), x.stamp)
    ]
    if apart is not None:
      todo = [x for x in chosen if (x.name, x.role) in apart]
    if todo:
      _through(args, out, name, todo, log)
  outcomes = [
    log.outcomes[key]
    for case in cases
    for name in (*DOORS, "process")
    if (key := (case.name, case.role, name)) in log.outcomes
  ]
  text = report.summary(outcomes, folders)
  left = _left(scratch)
  if left:
    text += f"\n## Left in the temporary folder\n\n{', '.join(left)}\n"
  (out / "summary.md").write_text(text, encoding="utf-8")
  (out / "table.tsv").write_text(report.table(outcomes), encoding="utf-8")
  _sheets(out, strips, cases, log)
  faults = sum(x.verdict == FAULT for x in outcomes)
  apart = len(report.disagreements(outcomes))
  print(
    f"visit: {len(outcomes)} visits, {faults} faults, {apart} cases that doors"
    f" do not agree on, {len(left)} things left behind; {out / 'summary.md'}"
  )
  return int(bool(faults or apart or left))


def _through(
  args: argparse.Namespace, out: Path, name: str, todo: list[Case], log: Log
) -> None:
  """All cases through one door."""
  door = _opened(args, out, name)
  try:
    with Progress(f"visit {name}", "visit", len(todo)) as progress:
      faults = 0
      for i, case in enumerate(todo, 1):
        visit = visited(door, case, out / "work", args.limit)
        log.add(visit.outcome)
        path = sheets.strip_path(out / "strips", case.name, case.role)
        if args.again or not path.exists() or visit.film is not None:
          sheets.write_strip(path, case, visit.film)
        faults += visit.outcome.verdict == FAULT
        progress.update(i, f"{faults} faults")
  finally:
    door.close()
  said = door.served.said() if isinstance(door, (Page, Server)) else ""
  if "Traceback" in said or "error" in said.lower():
    print(f"visit: look at {out / f'{name}.log'}", file=sys.stderr)


def _opened(args: argparse.Namespace, out: Path, name: str) -> Door:
  size, limit, text = args.size, args.limit, out / f"{name}.log"
  model = speak_jax.load if name in ("python", "command") else None
  doors: dict[str, Callable[[], Door]] = {
    "command": lambda: Command(model(), size),
    "python": lambda: Python(model(), size),
    "page": lambda: Page(size, limit, text),
    "server": lambda: Server(size, limit, text),
    "process": lambda: Process(size, limit),
  }
  return doors[name]()


def _sheets(out: Path, strips: Path, cases: Sequence[Case], log: Log) -> None:
  """Writes the sheets of each role, and those of refused pictures."""
  for role in ROLES:
    made, refused = [], []
    for case in cases:
      path = sheets.strip_path(strips, case.name, case.role)
      found = [x for x in log.outcomes.values() if x.key[:2] == case[:3:2]]
      if case.role != role or not found or not path.exists():
        continue
      first = found[0]
      if first.verdict == REFUSED:
        refused.append(sheets.Entry(path, (case.name, first.line)))
      else:
        lines = first.line or "; ".join(first.warnings)
        made.append(sheets.Entry(path, (case.name, lines)))
    sheets.write(out, role, made, 4)
    sheets.write(out, f"refused-{role}", refused, 1)


def _left(scratch: Path) -> list[str]:
  """Files that doors have left in their temporary folder, which goes."""
  end = time.monotonic() + GRACE_S
  while (left := _files(scratch)) and time.monotonic() < end:
    time.sleep(0.1)
  shutil.rmtree(scratch)
  return left


def _files(folder: Path) -> list[str]:
  """Gradio makes an empty folder whenever it is imported."""
  found = (x for x in folder.rglob("*") if x.is_file())
  return sorted(x.relative_to(folder).as_posix() for x in found)


def _parsed(argv: Sequence[str] | None) -> argparse.Namespace:
  parser = argparse.ArgumentParser(
    prog="tests.visit",
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  parser.add_argument("--folder", type=Path, nargs="+", required=True)
  parser.add_argument("--out", type=Path, required=True)
  parser.add_argument(
    "--doors",
    type=lambda text: [x for x in text.split(",") if x],
    default=list(DOORS),
    help="of command, python, page, server (all)",
  )
  parser.add_argument(
    "--resume",
    action="store_true",
    help="what is in visits.jsonl is done, but for faults",
  )
  parser.add_argument(
    "--only", default="", help='cases whose "FOLDER/FILE ROLE" holds this'
  )
  parser.add_argument(
    "--again", action="store_true", help="with --resume: --only once more"
  )
  parser.add_argument(
    "--apart",
    action="store_true",
    help="with --resume: only, and once more, what doors did not agree on",
  )
  parser.add_argument("--processes", type=int, default=12)
  parser.add_argument("--size", type=int, default=256, choices=(256, 512))
  parser.add_argument("--seconds", type=float, default=2.0, help="of speech")
  parser.add_argument("--limit", type=float, default=120.0, help="s, of a case")
  args = parser.parse_args(argv)
  wrong = set(args.doors) - set(DOORS)
  if wrong:
    parser.error(f"--doors: {', '.join(sorted(wrong))}: no such door")
  return args


if __name__ == "__main__":
  sys.exit(main())
