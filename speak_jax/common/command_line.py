"""What all commands do with their words: one line on what is wrong with them.

And what libraries log: warnings, or what --verbosity asks for.
"""

import codecs
import io
import logging as python_logging
import math
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from absl import flags, logging
from ml_collections import ConfigDict

from speak_jax.common import packaged
from speak_jax.common.exit_codes import BAD_CONFIG
from speak_jax.common.names import printable

EMPTY = "{} is empty; is a variable of the shell not set?"
# What Orbax warns of in each save, and stacks of what a command says in a line.
NORMAL = (
  "Skipping merge of OCDBT checkpoints",
  "_SignalingThread.run() raised an exception",
)


def parser(
  command: str,
  translate: Callable[[Sequence[str]], list[str]] = list,
) -> Callable[[Sequence[str]], list[str]]:
  """What `app.run` asks for as flags_parser.

  It ends the process with BAD_CONFIG after one line on stderr if a flag is
  wrong, a key of the config unknown or its file unreadable, if a word that was
  given is empty or a number no finite one, or if a folder or file is a URL:
  locks, signs of life and whole renames need a file system. `--no-NAME` is
  `--noNAME`, absl's own.
  From then on no name of a file is one that cannot be printed.

  Args:
    command: Whose line it is.
    translate: Puts words of today in the place of older ones.
  """

  def parse(argv: Sequence[str]) -> list[str]:
    print_all()
    try:
      rest = flags.FLAGS(packaged.named(negated(translate(argv))))
      if "config" in flags.FLAGS:
        # ml_collections says at the first use only that there is no such file.
        config: Any = flags.FLAGS["config"].value
        config.lock()
      for name, value in _texts(flags.FLAGS):
        refuse_url(name, value)
      for flag in _given(flags.FLAGS):
        _refuse_empty(flag)
      for word in rest[1:]:
        if not word.strip():
          raise ValueError(EMPTY.format("a word"))
        if not word.startswith("-"):  # what Beam gets may be a URL
          refuse_url("", word)
      log_warnings()
      return rest
    except AttributeError as error:  # of a KeyError, which quotes its words
      cause = error.args[0]
      said = cause.args[0] if isinstance(cause, KeyError) else cause
      line = f"the config has no {said}"
    except (flags.Error, OSError, TypeError, ValueError) as error:
      # Above the last line is where it was looked for, or a stack.
      line = [*filter(None, map(str.strip, str(error).splitlines()))][-1]
    sys.exit(fail(command, line, BAD_CONFIG))

  return parse


def negated(
  argv: Sequence[str], values: flags.FlagValues = flags.FLAGS
) -> list[str]:
  """Writes `--no-blink` as absl has it: `--noblink`.

  Args:
    argv: A command's words.
    values: Its flags.
  """
  words = list(argv)
  for i, word in enumerate(argv):
    if word == "--":
      break
    name = re.sub("^--?no-", "", word)
    if name != word and name in values and values[name].boolean:
      words[i] = f"--no{name}"
  return words


def fail(who: str, line: str, code: int = 1) -> int:
  """Prints why a command ends, in one line on stderr.

  Args:
    who: The command, or "error", before the colon.
    line: The reason; line breaks become spaces.
    code: Exit code of the process.

  Returns:
    `code`.
  """
  text = printable(" ".join(line.split()))
  print(f"{who}: {text}", file=sys.stderr, flush=True)
  return code


def print_all() -> None:
  r"""What a terminal or pipe cannot take is printed as \xe9, \u4e2d."""
  codecs.register_error("shown", _shown)
  for stream in (sys.stdout, sys.stderr):
    if isinstance(stream, io.TextIOWrapper):  # not where tests listen
      stream.reconfigure(errors="shown")


def _shown(error: UnicodeError) -> tuple[str | bytes, int]:
  """Python's backslashes, but for bytes of names, which show as they are."""
  if not isinstance(error, UnicodeEncodeError):
    raise error
  text = printable(error.object[error.start : error.end])
  return text.encode("ascii", "backslashreplace").decode(), error.end


def refuse_url(name: str, value: str) -> None:
  """Refuses a folder or file that is no path.

  Args:
    name: Of the flag or config key; "": it is an argument.
    value: A path, or several in one text.

  Raises:
    ValueError: there is a "://" in it.
  """
  if "://" in value:
    raise ValueError(
      f"{name}{' ' * bool(name)}{value}: URLs are no folders; mount the bucket"
      " or volume and give its path (docs/launch.md)"
    )


def _refuse_empty(flag: flags.Flag) -> None:
  """Refuses a flag that was given without a word, or with no finite number.

  Raises:
    ValueError: naming it.
  """
  value = flag.value
  if isinstance(value, float) and not math.isfinite(value):
    raise ValueError(f"--{flag.name}={value} is not a finite number")
  words = value if isinstance(value, list) else [value]
  if not words or any(isinstance(x, str) and not x.strip() for x in words):
    raise ValueError(EMPTY.format(f"--{flag.name}"))


def _given(values: flags.FlagValues) -> Iterator[flags.Flag]:
  """Those of our flags that were given, but for keys of a config."""
  for flag in _ours(values):
    if flag.present and not flag.name.startswith("config"):
      yield flag


def _ours(values: flags.FlagValues) -> Iterator[flags.Flag]:
  """All flags that our modules have defined."""
  ours = ("speak_jax", "data_pipelines", "__main__", sys.argv[0])
  for module, defined in values.flags_by_module_dict().items():
    if module.startswith(ours):
      yield from defined


def _texts(values: flags.FlagValues) -> Iterator[tuple[str, str]]:
  """(name, text) of our flags, and of a config's keys."""
  for flag in _ours(values):
    yield from _leaves(f"--{flag.name}", flag.value)


def _leaves(name: str, value: Any) -> Iterator[tuple[str, str]]:
  if isinstance(value, ConfigDict):
    for key, item in value.items():
      yield from _leaves(f"{name}.{key}", item)
  elif isinstance(value, (list, tuple)):
    for item in value:
      yield from _leaves(name, item)
  elif isinstance(value, str):
    yield name, value


def log_warnings() -> None:
  """Shows warnings but what is NORMAL; with --verbosity what it asks for."""
  if not flags.FLAGS["verbosity"].using_default_value:
    return
  logging.set_verbosity(logging.WARNING)
  logging.get_absl_handler().addFilter(_is_news)


def _is_news(record: python_logging.LogRecord) -> bool:
  """Whether a record is none that Orbax writes in every run."""
  return "orbax" not in record.pathname or not any(
    text in record.getMessage() for text in NORMAL
  )
