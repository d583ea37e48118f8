"""Parses the flags of commands that take --config; errors are one line."""

import sys
from collections.abc import Callable, Sequence
from typing import Any

from absl import flags

from speak_jax.exit_codes import BAD_CONFIG


def parser(command: str) -> Callable[[Sequence[str]], list[str]]:
  """What `app.run` asks for as flags_parser.

  It ends the process with BAD_CONFIG after one line on stderr if a flag is
  wrong, a key of the config unknown or its file unreadable.

  Args:
    command: Whose line it is.
  """

  def parse(argv: Sequence[str]) -> list[str]:
    try:
      rest = flags.FLAGS(list(argv))
      # ml_collections says at the first use only that there is no such file.
      config: Any = flags.FLAGS["config"].value
      config.lock()
      return rest
    except AttributeError as error:  # of a KeyError, which quotes its words
      cause = error.args[0]
      said = cause.args[0] if isinstance(cause, KeyError) else cause
      line = f"the config has no {said}"
    except (flags.Error, OSError, ValueError) as error:
      # Above the last line is where it was looked for, or a stack.
      line = [*filter(None, map(str.strip, str(error).splitlines()))][-1]
    print(f"{command}: {' '.join(line.split())}", file=sys.stderr, flush=True)
    sys.exit(BAD_CONFIG)

  return parse
