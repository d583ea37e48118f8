"""Serves videos and streams over HTTP, to this machine or to who has a token.

  python -m speak_jax.serve [--host 127.0.0.1] [--port 8000] [--model BUNDLE]

POST /generate makes a video of a picture and a sound, WebSocket /stream makes
frames while sound comes; docs/serving.md has all addresses, limits, and a
client. Any other host than this machine needs a token: a file that --token-file
names, or $SPEAK_SERVE_TOKEN. It asks nothing of the network.
"""

if __name__ == "__main__":  # what follows takes seconds to load
  from speak_jax.common import stopping

  stopping.install("serve")

import functools
import os
import warnings
from pathlib import Path

from absl import app, flags

import speak_jax
from data_pipelines.faces.nets import MissingModelError
from data_pipelines.media.error import MediaWarning
from speak_jax.common import command_line, files, loopback, packaged
from speak_jax.common.files import FileError

FLAGS = flags.FLAGS
TOKEN = "SPEAK_SERVE_TOKEN"
LEAST_TOKEN = 16  # characters
MISSING = "needs packages: pip install 'speak_jax[serve]'"


def main(argv: list[str]) -> int:
  """Runs the server until it is stopped."""
  if len(argv) > 1:
    return command_line.fail("serve", f"{argv[1]}: unexpected argument")
  try:
    import uvicorn

    from speak_jax.serving import app as serving
    from speak_jax.serving import guard
  except ImportError as error:
    return command_line.fail("serve", f"{MISSING} ({error.name})")
  from speak_jax.inference.model import load

  warnings.simplefilter("ignore", MediaWarning)  # clients are told
  try:
    token = _token(FLAGS.get_flag_value("token-file", None))
  except (OSError, ValueError) as error:
    return command_line.fail("serve", f"--token-file: {error}")
  if not loopback.is_loopback(FLAGS.host) and not token:
    line = f"--host {FLAGS.host}: needs --token-file or ${TOKEN}"
    return command_line.fail("serve", line)
  model = os.path.abspath(packaged.model(FLAGS.model))
  with files.temporary_folder("speak-serve-") as folder:
    os.chdir(folder)  # where no word of a request is the name of a file
    jobs = folder / "jobs"
    jobs.mkdir(mode=0o700)
    try:
      loads = functools.partial(load, model, cache=True)
      server = serving.Server(loads, jobs, token=token)
    except (FileError, MissingModelError) as error:
      return command_line.fail("serve", str(error))
    limits = server.limits
    uvicorn.run(
      serving.make(server, speak_jax.__version__),
      host=FLAGS.host,
      port=FLAGS.port,
      http=guard.protocol(limits),
      ws="websockets-sansio",
      ws_max_size=limits.picture_bytes,
      limit_concurrency=limits.connections,
      timeout_keep_alive=5,
      timeout_graceful_shutdown=5,
      proxy_headers=False,
      server_header=False,
      log_level="warning",
    )
    os.chdir("/")
  return 0


def _token(path: str | None) -> str:
  """The token that a request needs; "": none.

  Raises:
    OSError, ValueError: the file cannot be read, or holds a short one.
  """
  if path is None:
    token = os.environ.get(TOKEN, "").strip()
  else:
    token = Path(path).read_text(encoding="utf-8").strip()
    if not token:
      raise ValueError(f"{path}: empty")
  if token and len(token) < LEAST_TOKEN:
    raise ValueError(f"the token has fewer than {LEAST_TOKEN} characters")
  return token


def _define_flags() -> None:
  """Not at import: other commands have flags of these names too."""
  flags.DEFINE_string("host", "127.0.0.1", "Address to listen at.")
  flags.DEFINE_integer("port", 8000, "Its port.", 1, 65_535)
  flags.DEFINE_string(
    "model", str(packaged.PHOTOGRAPH), "Bundle, or photograph or reference."
  )
  flags.DEFINE_string(
    "token-file", None, f"File with the token that requests need (${TOKEN})."
  )


if __name__ == "__main__":
  _define_flags()
  app.run(main, flags_parser=command_line.parser("serve"))
