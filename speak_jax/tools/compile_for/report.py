"""Programs as tables for people and as plain values for JSON."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from speak_jax.tools.compile_for.chips import Machine
from speak_jax.tools.compile_for.programs import Program, fit

_GB = 1e9
_COUNTED = ("fusion", "while", "gather", "scatter", "convert", "copy")


class Verdict(NamedTuple):
  """A stage on a machine."""

  stage: str
  asked: int  # microbatch of the config, as the devices share it
  programs: Sequence[Program]  # at that microbatch
  # Where they do not fit: programs of the largest microbatch that does; empty:
  # none does, or it was not looked for.
  smaller: Sequence[Program] = ()


def lines(machine: Machine, verdicts: Sequence[Verdict]) -> str:
  """What was found, in Markdown."""
  head = (
    f"## {machine.name}: {len(machine.devices)} x {machine.chip.title},"
    f" {machine.room / _GB:.1f} of {machine.chip.memory / _GB:.1f} GB usable"
  )
  columns = (
    "| stage, phase: program | microbatch | compiled, s | GB: arguments,"
    " outputs | temporaries | peak | GFLOP | GB accessed | Mcycles |"
    " exchanged, MB |"
    " fusions | loops | gathers | scatters | converts | copies |"
    " custom calls |"
  )
  parts = [head, columns + "\n" + "|---" * 17 + "|"]
  for verdict in verdicts:
    for program in (*verdict.programs, *verdict.smaller):
      parts[-1] += "\n" + _row(program)
  parts += [_said(machine, x) for x in verdicts]
  parts += [_largest(x) for verdict in verdicts for x in verdict.programs]
  return "\n\n".join(parts) + "\n"


def values(machine: Machine, verdicts: Sequence[Verdict]) -> dict[str, Any]:
  """The same for JSON; bytes are of one device."""
  return {
    "topology": machine.name,
    "chip": machine.chip.title,
    "devices": len(machine.devices),
    "room": machine.room,
    "stages": {
      verdict.stage: {
        "microbatch": verdict.asked,
        "fits": fit(verdict.programs, machine),
        "largest_microbatch": _largest_microbatch(machine, verdict),
        "programs": [_flat(x) for x in (*verdict.programs, *verdict.smaller)],
      }
      for verdict in verdicts
    },
  }


def _largest_microbatch(machine: Machine, verdict: Verdict) -> int | None:
  """Of those that were compiled and fit; None: none does."""
  if fit(verdict.programs, machine):
    return verdict.asked
  return verdict.smaller[0].microbatch if verdict.smaller else None


def _row(program: Program) -> str:
  summary = program.summary
  exchanged = sum(size for _, size in summary.collectives.values())
  accessed = program.accessed / _GB
  cells = [
    f"{program.stage}, {program.phase}: {program.name}",
    f"{program.turns} x {program.microbatch}",
    f"{program.seconds:.0f}",
    f"{program.arguments / _GB:.2f}, {program.outputs / _GB:.2f}",
    f"{program.temporaries / _GB:.2f}",
    f"{program.peak / _GB:.2f}",
    f"{program.gflop:.0f}",
    f"{accessed:.1f}" if accessed == accessed else "-",
    f"{summary.cycles / 1e6:.1f}" if summary.cycles else "-",
    f"{exchanged / 1e6:.1f}",
    *(str(summary.count(opcode)) for opcode in _COUNTED),
    ", ".join(f"{k} {n}" for k, n in _most(summary.custom_calls)) or "0",
  ]
  return "| " + " | ".join(cells) + " |"


def _most(counts: Mapping[str, int]) -> list[tuple[str, int]]:
  """The three largest."""
  return sorted(counts.items(), key=lambda x: -x[1])[:3]


def _said(machine: Machine, verdict: Verdict) -> str:
  """Whether a stage fits, in a sentence."""
  peak = max(x.peak for x in verdict.programs) / _GB
  room = machine.room / _GB
  if fit(verdict.programs, machine):
    return (
      f"{verdict.stage} fits: {peak:.1f} of {room:.1f} GB, microbatch"
      f" {verdict.asked}."
    )
  line = (
    f"{verdict.stage} does not fit: {peak:.1f} of {room:.1f} GB, microbatch"
    f" {verdict.asked}"
  )
  if not verdict.smaller:
    return f"{line}; no smaller one that fits was found."
  least = max(x.peak for x in verdict.smaller) / _GB
  return (
    f"{line}; the largest that does is {verdict.smaller[0].microbatch}"
    f" ({least:.1f} GB)."
  )


def _largest(program: Program) -> str:
  """What a program holds, the largest first."""
  head = f"{program.stage}, {program.phase}: {program.name} holds"
  rows = [
    f"- {f'{many} x ' if many > 1 else ''}{x.bytes / 1e6:.1f} MB"
    + (f", {x.padding / x.bytes:.0%} of it padding" if x.padding else "")
    + f": {x.opcode} {x.shape[:60]}, {x.source or 'no line of ours'}"
    for x, many in Counter(program.summary.largest).items()
  ]
  return "\n".join([head, "", *rows])


def _flat(program: Program) -> dict[str, Any]:
  flat = program._asdict()
  summary = program.summary
  accessed = program.accessed
  return flat | {
    "peak": program.peak,
    "accessed": accessed if accessed == accessed else None,
    "summary": {
      **summary._asdict(),
      "largest": [x._asdict() for x in summary.largest],
    },
  }
