"""Reads the text of a compiled program: what it holds, moves and calls."""

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import NamedTuple

_BITS = {"pred": 8, "token": 0, "opaque": 0}  # others say their own
_ARRAY = re.compile(r"([a-z]+\d*\w*)\[([\d,]*)\](\{[^}]*\})?")
_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\) -> .*\{$")
_LINE = re.compile(r"^\s+(?:ROOT )?%?([\w.\-]+) = (.*)$")
_OPCODE = re.compile(r"\s*([a-z][\w\-]*)\(")
COLLECTIVES = (
  "all-reduce",
  "all-gather",
  "reduce-scatter",
  "all-to-all",
  "collective-permute",
)
# They hold nothing of their own.
_VIEWS = (
  "parameter",
  "bitcast",
  "get-tuple-element",
  "tuple",
  "constant",
  "while",
  "conditional",
  "call",
)


class Instruction(NamedTuple):
  """One instruction of a program."""

  name: str
  opcode: str
  shape: str  # as it is written, without its layout
  bytes: int  # of what it gives, with what the layout adds
  padding: int  # of these, what the layout adds
  rest: str  # of its line


class Value(NamedTuple):
  """Something large that a program holds between two instructions."""

  bytes: int
  padding: int  # of these, what the layout adds
  shape: str
  opcode: str
  source: str  # file:line of ours that it comes from; "" not known


class Summary(NamedTuple):
  """What stands in a program."""

  cycles: int  # that XLA expects it to take of a TPU; 0: it does not say

  collectives: Mapping[str, tuple[int, int]]  # {kind: (how many, bytes)}
  custom_calls: Mapping[str, int]  # by target
  counts: Mapping[str, int]  # of opcodes, inside fusions too
  largest: tuple[Value, ...]  # the largest first

  def count(self, opcode: str) -> int:
    """How many instructions are of an opcode."""
    return self.counts.get(opcode, 0)


def summary(text: str, values: int = 10) -> Summary:
  """Sums a program up.

  Args:
    text: `Compiled.as_text()`.
    values: How many of the largest are named.
  """
  counts: Counter[str] = Counter()
  calls: Counter[str] = Counter()
  collectives: dict[str, tuple[int, int]] = {}
  large: list[Instruction] = []
  nested = _nested(text)
  for computation, found in instructions(text):
    counts[found.opcode] += 1
    if found.opcode == "custom-call":
      target = re.search(r'custom_call_target="([^"]*)"', found.rest)
      calls[target[1] if target else "?"] += 1
    kind = found.opcode.removesuffix("-start")
    if kind in COLLECTIVES:
      many, size = collectives.get(kind, (0, 0))
      collectives[kind] = many + 1, size + found.bytes
    held = not found.opcode.endswith("-start")  # counted where it is done
    if held and computation not in nested and found.opcode not in _VIEWS:
      large.append(found)
  large.sort(key=lambda x: -x.bytes)
  source_of = sources(text)
  return Summary(
    cycles=cycles(text),
    collectives=collectives,
    custom_calls=dict(calls),
    counts=dict(counts),
    largest=tuple(
      Value(x.bytes, x.padding, x.shape, x.opcode, source_of(x.rest))
      for x in large[:values]
    ),
  )


def cycles(text: str) -> int:
  """Cycles that XLA's cost model gives a program for a TPU; 0 for others.

  What is exchanged between devices has none. A loop counts as often as the
  bound in its condition says, once where there is none.
  """
  own: Counter[str] = Counter()
  called: dict[str, list[tuple[str, str]]] = {}  # (condition or "", body)
  bounds: dict[str, list[int]] = {}
  for computation, found in instructions(text):
    if cost := re.search(r'"estimated_cycles":"(\d+)"', found.rest):
      own[computation] += int(cost[1])
    if found.opcode == "constant" and found.shape == "s32[]":
      value = re.search(r"constant\((\d+)\)", found.rest)
      bounds.setdefault(computation, []).append(int(value[1]) if value else 1)
    if found.opcode != "fusion":  # its own cost holds what it calls
      condition = re.search(r"condition=%?([\w.\-]+)", found.rest)
      for name in re.findall(r"(?:body|calls)=%?([\w.\-]+)", found.rest):
        called.setdefault(computation, []).append(
          (condition[1] if condition else "", name)
        )

  def total(computation: str) -> int:
    return own[computation] + sum(
      max(bounds.get(condition, [1])) * total(name)
      for condition, name in called.get(computation, [])
    )

  entry = re.search(r"^ENTRY %?([\w.\-]+)", text, re.MULTILINE)
  return total(entry[1]) if entry else 0


def instructions(text: str) -> Iterator[tuple[str, Instruction]]:
  """(computation, instruction), all of them in order."""
  computation = ""
  for line in text.splitlines():
    if head := _COMPUTATION.match(line):
      computation = head[2]
    elif (match := _LINE.match(line)) and (
      parsed := _parsed(match[1], match[2])
    ):
      yield computation, parsed


def sources(text: str):
  """A function that finds the line of ours behind an instruction's `rest`.

  XLA writes frames of the Python stack in tables at the program's head.
  """
  tables: dict[str, dict[int, str]] = {}
  current: dict[int, str] = {}
  for line in text.splitlines():
    if re.fullmatch(r"[A-Z]\w+", line):
      current = tables.setdefault(line, {})
    elif entry := re.match(r"(\d+) (.*)$", line):
      current[int(entry[1])] = entry[2]
    elif line.startswith(("%", "ENTRY")):
      break

  def field(entry: str, name: str) -> int:
    found = re.search(rf"{name}=(\d+)", entry)
    return int(found[1]) if found else 0

  def source_of(rest: str) -> str:
    direct = re.search(r'source_file="([^"]*)" source_line=(\d+)', rest)
    if direct:
      return _ours(direct[1], direct[2])
    frame = field(rest, "stack_frame_id")
    frames = tables.get("StackFrames", {})
    while frame in frames:
      entry = tables["FileLocations"].get(
        field(frames[frame], "file_location_id"), ""
      )
      path = tables["FileNames"].get(field(entry, "file_name_id"), "")
      if found := _ours(path.strip('"'), str(field(entry, "line"))):
        return found
      parent = field(frames[frame], "parent_frame_id")
      if parent == frame:
        break
      frame = parent
    return ""

  return source_of


def _ours(path: str, line: str) -> str:
  found = re.search(r"(?:^|/)(speak_jax/.*\.py)$", path)
  return f"{found[1]}:{line}" if found else ""


def _parsed(name: str, text: str) -> Instruction | None:
  """An instruction: its type, opcode and the rest."""
  if text.startswith("("):
    end = _closing(text)
    kind, rest = text[:end], text[end:]
  else:
    kind, _, rest = text.partition(" ")
  opcode = _OPCODE.match(rest)
  if opcode is None:
    return None
  arrays = _ARRAY.findall(kind)
  plain = sum(_bytes(x, dims) for x, dims, _ in arrays)
  whole = sum(_bytes(x, _tiled(dims, layout)) for x, dims, layout in arrays)
  shape = ", ".join(f"{x}[{dims}]" for x, dims, _ in arrays)
  return Instruction(name, opcode[1], shape, whole, whole - plain, rest)


def _closing(text: str) -> int:
  """Where the bracket that a text begins with is closed, and that passed."""
  depth = 0
  for i, letter in enumerate(text):
    depth += (letter == "(") - (letter == ")")
    if not depth:
      return i + 1
  return len(text)


def _bytes(kind: str, dims: str) -> int:
  bits = _BITS.get(kind)
  if bits is None:
    number = re.match(r"[a-z]+(\d+)", kind)
    bits = int(number[1]) if number else 0
  sizes = [int(x) for x in dims.split(",") if x]
  return math.prod(sizes) * bits // 8


def _tiled(dims: str, layout: str) -> str:
  """The sizes that an array takes in its layout: whole tiles of a TPU."""
  tile = re.search(r"T\(([\d,]+)\)", layout)
  order = re.match(r"\{([\d,]+)", layout)
  sizes = [int(x) for x in dims.split(",") if x]
  if tile is None or order is None:
    return dims
  minor = [int(x) for x in order[1].split(",")]
  parts = [int(x) for x in tile[1].split(",")][::-1]
  for axis, part in zip(minor, parts, strict=False):
    sizes[axis] = -(-sizes[axis] // part) * part
  return ",".join(map(str, sizes))


def _nested(text: str) -> set[str]:
  """Computations whose values never lie in memory, as those of fusions."""
  names = set(re.findall(r"to_apply=%?([\w.\-]+)", text))
  for line in text.splitlines():
    if " fusion(" in line:
      names |= set(re.findall(r"calls=%?([\w.\-]+)", line))
  return names
