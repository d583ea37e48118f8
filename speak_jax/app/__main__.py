"""The page in a browser: a picture and a voice become a video.

  speak app [--port 7860]

It prints the address to open. It is for this machine alone; for another
address (--host) a password is needed, which the first line of a file holds:

  speak app --host 0.0.0.0 --password-file FILE     the name is "speak"

Whatever visitors give and get lies in a folder of the page's own, goes after
an hour, and all of it when the page ends. Nothing is sent anywhere, and
nothing is asked of other hosts. One video is made at a time, one visitor may
wait. Needs Gradio: pip install "speak_jax[app]", or SPEAK_EXTRAS=app for
launch/setup.sh.
"""

if __name__ == "__main__":  # what follows takes seconds to load
  from speak_jax.common import stopping

  stopping.install("app")

import importlib.util
import ipaddress
import os
import socket
import warnings
from pathlib import Path

from absl import app, flags

from data_pipelines.media.error import MediaWarning
from speak_jax.common import command_line, files, loopback, packaged
from speak_jax.common.files import FileError

FLAGS = flags.FLAGS
PORT = 7860  # Gradio's own
SHORTEST = 8  # characters of a password
MISSING = (
  'Gradio is not installed; pip install "speak_jax[app]", or SPEAK_EXTRAS=app'
  " source launch/setup.sh"
)


def main(argv: list[str]) -> int:
  """Serves the page until it is stopped; 1 with one line if it cannot."""
  if len(argv) > 1:
    return command_line.fail("error", f"{argv[1]}: unexpected argument")
  warnings.simplefilter("ignore", MediaWarning)  # visitors see them
  if importlib.util.find_spec("gradio") is None:
    return command_line.fail("error", MISSING)
  try:
    local = is_local(FLAGS.host)
    password = _password(local)
    with (
      listening(FLAGS.host, FLAGS.port) as listener,
      files.temporary_folder("speak-app-") as folder,
    ):
      from speak_jax.app import server  # Gradio, which takes seconds to load

      server.serve(
        folder,
        listener,
        host=FLAGS.host,
        model=FLAGS.model,
        local=local,
        password=password,
        sound_s=FLAGS.get_flag_value("most-seconds", None),
        upload_mb=FLAGS.get_flag_value("most-megabytes", None),
        job_s=60.0 * FLAGS.get_flag_value("most-minutes", None),
      )
  except (ValueError, OSError) as error:
    return command_line.fail("error", str(error))
  return 0


def is_local(host: str) -> bool:
  """Whether an address is of this machine alone.

  Raises:
    ValueError: it is neither an IP address nor localhost; one line.
  """
  try:
    if host != "localhost":
      ipaddress.ip_address(host)
  except ValueError:
    raise ValueError(
      f"--host {host}: is neither an IP address nor localhost"
    ) from None
  return loopback.is_loopback(host)


def listening(host: str, port: int) -> socket.socket:
  """Opens a socket; port 0 is any.

  Raises:
    ValueError: it is taken, or the address is not this machine's; one line.
  """
  family = socket.AF_INET6 if ":" in host else socket.AF_INET
  try:
    return socket.create_server((host, port), family=family)
  except OSError as error:
    raise ValueError(
      f"--port {port}: cannot listen at {host} ({error.strerror})"
    ) from None


def _password(local: bool) -> str | None:
  """The password, if there is one; it must be where others can come."""
  path = FLAGS.get_flag_value("password-file", None)
  if path is None:
    if local:
      return None
    raise ValueError(
      f"--host {FLAGS.host}: others can reach it, so it needs"
      " --password-file FILE"
    )
  try:
    lines = Path(path).read_text(encoding="utf-8").splitlines()
  except (OSError, UnicodeError) as error:
    raise FileError(path, f"cannot be read ({error})") from None
  found = lines[0].strip() if lines else ""
  if len(found) < SHORTEST:
    raise FileError(
      path, f"its first line is no password of {SHORTEST} characters or more"
    )
  return found


def _define_flags() -> None:
  """Not at import: other commands have flags of these names too."""
  text, whole = flags.DEFINE_string, flags.DEFINE_integer
  text("host", "127.0.0.1", "Address to listen at.")
  whole("port", PORT, "Port to listen at; 0: any free one.", 0, 65535)
  text("password-file", None, "File whose first line is the password.")
  text(
    "model",
    os.fspath(packaged.PHOTOGRAPH),
    "Bundle, made by speak_jax.export; or photograph, or reference.",
  )
  whole("most-seconds", 120, "The longest voice.", 1)
  whole("most-megabytes", 200, "The largest file of a visitor.", 1)
  whole("most-minutes", 10, "The longest that one video may take.", 1)


if __name__ == "__main__":
  _define_flags()
  app.run(main, flags_parser=command_line.parser("app"))
