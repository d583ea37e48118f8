"""Lists every weight that comes along, is fetched, or can be named.

  python -m speak_jax.tools.licences [--json]

What it is, where it is from, what it learned from, its licence and terms: the
content of speak_jax/assets/licences.json. Nothing is fetched. It is no legal
advice.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from absl import app, flags

from speak_jax.common import command_line
from speak_jax.common.exit_codes import BAD_CONFIG, DONE

PATH = Path(__file__).parents[1] / "assets" / "licences.json"
FLAGS = flags.FLAGS


class Entry(NamedTuple):
  """Weights of one origin.

  Attributes:
    files: Their paths from the checkout's root, `*` for all of a folder, or
      the names that a config or flag has for them.
    what: What they are for.
    comes: How a user gets them.
    origin: Who made them.
    data: What they learned from.
    licence: Of the weights, SPDX where it has a name.
    terms: What is asked beside it.
  """

  files: tuple[str, ...]
  what: str
  comes: str
  origin: str
  data: str
  licence: str
  terms: str


def entries(path: Path = PATH) -> list[Entry]:
  """Reads the list."""
  listed = json.loads(path.read_text(encoding="utf-8"))
  return [Entry(**{**each, "files": tuple(each["files"])}) for each in listed]


def main(argv: Sequence[str]) -> int:
  """Runs the command; returns the exit code."""
  if len(argv) > 1:
    line = f"{argv[1]}: unexpected argument"
    return command_line.fail("licences", line, BAD_CONFIG)
  if FLAGS.json:
    print(PATH.read_text(encoding="utf-8"), end="")
    return DONE
  for entry in entries():
    print("\n".join(entry.files))
    for name, value in entry._asdict().items():
      if name != "files":
        print(f"  {name:8} {value}")
    print()
  return DONE


if __name__ == "__main__":
  flags.DEFINE_bool("json", False, "Print the file itself.")
  sys.exit(app.run(main, flags_parser=command_line.parser("licences")))
