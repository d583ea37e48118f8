"""Flags of `generate` that users of other tools know, beside its own.

An alias gives what its own name gives: `--source_image` is `--identity`. What
is said twice, by an alias and by its own name, is refused.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from data_pipelines.media.container import check_file
from speak_jax.common import outputs
from speak_jax.inference.curve import number
from speak_jax.inference.head import ANGLES, MOST_DEGREES, Idle, Pose, Sweep

# Alias: own name.
SAME = {
  "source_image": "identity",
  "driven_audio": "audio",
  "ref_pose": "pose",
  "expression_scale": "mouth",
}
STILL, RESULTS = "still", "result_dir"
SWEEP = {f"input_{angle}": angle for angle in ANGLES}


def define(values: flags.FlagValues) -> None:
  """Defines the aliases; their own names are there already."""
  for alias, own in SAME.items():
    flags.DEFINE_alias(alias, own, values)
  flags.DEFINE_bool(STILL, False, "The same as --pose still.", values)
  flags.DEFINE_string(
    RESULTS,
    None,
    "Folder of the mp4, made if it is not there, in place of --output; the mp4"
    " is named after picture and sound.",
    values,
  )
  flags.register_multi_flags_validator(
    ["output", RESULTS, "batch"],
    lambda given: sum(x is not None for x in given.values()) == 1,
    f"give --output, the mp4, or --{RESULTS}, its folder, or --batch, a table"
    " of them, and one of these alone",
    values,
  )
  for alias, angle in SWEEP.items():
    flags.DEFINE_list(
      alias,
      None,
      f"Degrees of {angle} through which the head goes, at an even speed, over"
      " the whole video, in place of --pose.",
      values,
    )


def translated(argv: Sequence[str]) -> list[str]:
  """A command's words with lists of degrees as absl takes them.

  Args:
    argv: Degrees may be words of their own, as in `--input_yaw -20 30 10`.
  """
  words: list[str] = []
  in_list = False  # whether the next degree belongs to the word before
  for i, word in enumerate(argv):
    if word == "--":
      return [*words, *argv[i:]]
    if in_list and _are_numbers(word):
      words[-1] += ("" if words[-1].endswith("=") else ",") + word
      continue
    name, equals, _ = word.lstrip("-").partition("=")
    in_list = word.startswith("-") and name in SWEEP
    word += "=" if in_list and not equals else ""
    words.append(word)
  return words


def refuse_conflicts(values: flags.FlagValues) -> None:
  """Refuses what is said twice.

  Raises:
    ValueError: one line that names both flags.
  """
  for alias, own in SAME.items():
    # Each alias that is given counts as its own name too.
    if values[own].present > values[alias].present > 0:
      raise ValueError(f"--{own} and --{alias} are the same; give one")
  turns = [name for name in ("pose", STILL, *SWEEP) if values[name].value]
  if turns[1:] and (turns[0] == "pose" or STILL in turns):
    first = "ref_pose" if values["ref_pose"].present else turns[0]
    first = first if turns[0] == "pose" else turns[0]
    raise ValueError(f"--{first} and --{turns[1]} both turn the head; give one")


def pose(values: flags.FlagValues) -> Pose:
  """What the head follows, by whichever flag.

  Raises:
    ValueError: an angle is none; one line.
  """
  if values[STILL].value:
    return Idle.STILL.value
  lists = {
    angle: tuple(
      number(text, f"--{alias}", -MOST_DEGREES, MOST_DEGREES)
      for text in values[alias].value or ()
    )
    for alias, angle in SWEEP.items()
  }
  return Sweep(**lists) if any(lists.values()) else values["pose"].value


def output(
  values: flags.FlagValues, inputs: Sequence[str | os.PathLike]
) -> str:
  """The mp4 that is to be written; its folder is made if it is the alias's.

  Args:
    values: Either flag is given.
    inputs: Files that are read.

  Raises:
    FileError: an input is no file, or there can be no such folder; one line.
  """
  if values["output"].value:
    return values["output"].value
  for path in inputs:
    check_file(path)
  folder = Path(str(values[RESULTS].value))
  outputs.check_folder(folder, inputs)
  folder.mkdir(parents=True, exist_ok=True)
  stems = [Path(str(values[x].value)).stem for x in ("identity", "audio")]
  return str(folder / f"{'--'.join(stems)}.mp4")


def _are_numbers(word: str) -> bool:
  try:
    return bool([float(text) for text in word.split(",")])
  except ValueError:
    return False
