"""Prints what the words of `generate` ask for, and makes nothing."""

import sys

from absl import flags

from speak_jax import generate
from speak_jax.common import command_line
from speak_jax.inference import aliases

if __name__ == "__main__":
  generate._define_flags()
  parse = command_line.parser("generate", aliases.translated)
  parse(sys.argv)
  try:
    aliases.refuse_conflicts(flags.FLAGS)
    request = generate._request()
    print(request, aliases.output(flags.FLAGS, request.files))
  except ValueError as error:
    sys.exit(command_line.fail("error", str(error)))
