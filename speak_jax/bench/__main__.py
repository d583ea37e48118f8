"""How fast this machine does what the package does, and how well it repeats.

  python -m speak_jax.bench [--subjects photograph,streaming] [--runs 4]
    [--quick] [--json FILE] [--against EARLIER.json]

Measures with what comes with the package: the example portrait and sentence,
drawn people, the two bundles. No network is needed, nothing is left behind.
Every subject is measured in a process of its own, and all of them again for
each run; the table has the median of the runs and, as spread, how far the
highest lies over the lowest. Then it says whether the first half of the runs
and the second agree within 5 %, or which figures do not: on a machine that does
other work at the same time they will not. --against asks the same of an earlier
run's JSON. docs/benchmarks.md says what each figure means.
"""

import signal
import sys
from typing import Any

from absl import app, flags

from speak_jax.bench import machine, report
from speak_jax.bench.plan import QUICK, Plan
from speak_jax.bench.subjects import SUBJECTS
from speak_jax.common import command_line, exit_codes, files, outputs
from speak_jax.configs import speak

FLAGS = flags.FLAGS
TAKES_S = 1, 14_400  # the longest sound that `generate` takes


def main(argv: list[str]) -> int:
  """Runs the command; 0 if all subjects came to their end."""
  if len(argv) > 1:
    line = f"{argv[1]}: unexpected argument; subjects are given by --subjects"
    return command_line.fail("error", line, exit_codes.BAD_CONFIG)
  try:
    if FLAGS.show is not None:
      shown = report.read(FLAGS.show)
      _print(shown, None)
      return exit_codes.DONE
    plan = _plan()
    earlier = None if FLAGS.against is None else report.read(FLAGS.against)
    if FLAGS.json is not None:
      outputs.check_file(FLAGS.json, [FLAGS.against or ""], (".json",))
    made = _measured(plan)
    if FLAGS.json is not None:
      files.write(FLAGS.json, report.to_json(made) + "\n")
  except ValueError as error:
    return command_line.fail("error", str(error))
  except KeyboardInterrupt:
    line = "stopped by SIGINT"
    return command_line.fail("bench", line, exit_codes.INTERRUPTED)
  _print(made, earlier)
  return exit_codes.SOME_FAILED if made.failed else exit_codes.DONE


def _plan() -> Plan:
  """What the flags ask for.

  Raises:
    ValueError: an amount or preset cannot be; one line.
  """
  plan = QUICK if FLAGS.quick else Plan()
  changes: dict[str, Any] = {
    name: FLAGS[name].value
    for name in ("clips", "preset")
    if FLAGS[name].value is not None
  }
  if FLAGS.takes is not None:
    changes["takes"] = _seconds(FLAGS.takes)
  speak.get_config(changes.get("preset", plan.preset))  # or says why not
  return plan._replace(**changes)


def _seconds(texts: list[str]) -> tuple[float, ...]:
  """Lengths of takes.

  Raises:
    ValueError: a text is no number, or too small or large; one line.
  """
  said = f"--takes={','.join(texts)}"
  try:
    values = tuple(map(float, texts))
  except ValueError:
    raise ValueError(f"{said} are no numbers, as in 10,600") from None
  low, high = TAKES_S
  if not all(low <= x <= high for x in values):
    raise ValueError(f"{said} are not from {low} to {high} s")
  return values


def _measured(plan: Plan) -> report.Report:
  before = machine.moment()
  found, failed = report.measured(
    FLAGS.subjects, plan, FLAGS.runs, say=_progress
  )
  return report.Report(
    machine.facts(), before, machine.moment(), plan, found, failed
  )


def _progress(line: str) -> None:
  print(line, file=sys.stderr, flush=True)


def _print(made: report.Report, earlier: report.Report | None) -> None:
  print(report.head(made))
  print()
  print(report.table(made, report.SUMMARY if FLAGS.summary else ()))
  print()
  lines = report.own_agreement(made)
  if earlier is not None:
    lines += report.other_agreement(earlier, made, FLAGS.against)
  for line in [*lines, *(f"failed: {x}" for x in made.failed)]:
    print(line)


def _define_flags() -> None:
  text, number = flags.DEFINE_string, flags.DEFINE_integer
  flags.DEFINE_list(
    "subjects", list(SUBJECTS), f"Some of {','.join(SUBJECTS)} (all)."
  )
  flags.register_validator(
    "subjects",
    lambda names: set(names) <= set(SUBJECTS) and len(names) == len(set(names)),
    f"must be some of {', '.join(SUBJECTS)}, each once",
  )
  number("runs", 4, "Of every subject, each in a new process.", 1)
  flags.DEFINE_bool("quick", False, "Less of everything: minutes, and noise.")
  text("json", None, "Also write all values here.")
  text("against", None, "JSON of an earlier call to compare with.")
  text("show", None, "JSON of an earlier call: print it, measure nothing.")
  flags.DEFINE_bool("summary", False, "Print the few rows that README has.")
  flags.DEFINE_list(
    "takes",
    None,
    f"Seconds of a short and a long take ({_list(Plan().takes)}).",
  )
  number("clips", None, f"Clips that are marked ({Plan().clips}).", 1)
  text("preset", None, f"Whose networks and steps are timed ({Plan().preset}).")


def _list(values: tuple[float, ...]) -> str:
  return ",".join(f"{x:g}" for x in values)


if __name__ == "__main__":
  _define_flags()
  signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
  app.run(main, flags_parser=command_line.parser("bench"))
