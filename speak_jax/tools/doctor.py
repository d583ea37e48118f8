"""Says what this machine has, what is missing, and the command that mends it.

  python -m speak_jax.tools.doctor

Python and the packages, devices, the face model files, reading and writing
of video, the models that come along, memory, disk. Nothing is changed, nothing
is fetched. Exit code 0: nothing is missing; warnings do not count. 1: something
is, and its line says what cannot be done without it.
"""

import contextlib
import importlib.metadata
import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import speak_jax

OK, WARNING, MISSING = "ok", "warning", "missing"
PYTHONS = ((3, 11), (3, 14))  # the oldest and the newest that is tried
SHOWN = ("jax", "jaxlib", "flax", "numpy", "av", "grain")
_GIB = 1 << 30
MEMORY = 4 * _GIB  # `demo` and a data worker; base256 on CPUs wants more
DISK = 5 * _GIB  # the environment's caches and a run of `demo`
# CUDA 13 has nothing for what is older, and wants this driver.
_TURING, _DRIVER_13 = 7.5, 580
_DEVICES = """
import json, jax
print(json.dumps([[d.platform, d.device_kind] for d in jax.local_devices()]))
"""
_DEVICES_S = 120  # a GPU that another process holds can take long
_ROOT = Path(speak_jax.__file__).parents[1]
_LAUNCH = _ROOT / "launch"
_CHECKOUT = (_LAUNCH / "setup.sh").is_file()


class Finding(NamedTuple):
  """One line: a subject, how it is, and what mends it."""

  state: str  # OK, WARNING, MISSING
  says: str
  mend: str = ""  # a command, or a few words


def python() -> Iterator[Finding]:
  """The interpreter."""
  version = sys.version_info[:2]
  oldest, newest = (f"{a}.{b}" for a, b in PYTHONS)
  says = f"{platform.python_version()}, {platform.system()}"
  says = f"{says} {platform.machine()}, {sys.executable}"
  if PYTHONS[0] <= version <= PYTHONS[1]:
    yield Finding(OK, says)
  else:
    yield Finding(
      MISSING if version < PYTHONS[0] else WARNING,
      f"{says}: not one of {oldest} to {newest}, which are tried",
      "PYTHON=python3.13 and a new environment",
    )


def packages() -> Iterator[Finding]:
  """What setup.py asks for, against what is installed."""
  from packaging.requirements import Requirement

  try:
    requirements = importlib.metadata.requires("speak_jax") or []
  except importlib.metadata.PackageNotFoundError:
    set_up = f"source {shlex.quote(str(_LAUNCH / 'setup.sh'))}"
    yield Finding(MISSING, f"{_ROOT} is not installed", set_up)
    return
  lacking = []
  for line in requirements:
    wanted = Requirement(line)
    if wanted.marker and not wanted.marker.evaluate({"extra": ""}):
      continue
    try:
      have = importlib.metadata.version(wanted.name)
    except importlib.metadata.PackageNotFoundError:
      have = ""
    if not have or not wanted.specifier.contains(have, prereleases=True):
      lacking.append((f"{wanted.name}{wanted.specifier}", have))
  if lacking:
    said = ", ".join(f"{x} (here {have or 'not'})" for x, have in lacking)
    yield Finding(
      MISSING,
      said,
      _pip(*(wanted for wanted, _ in lacking)),
    )
    return
  shown = [f"{x} {importlib.metadata.version(x)}" for x in SHOWN]
  own = f"speak_jax {speak_jax.__version__}"
  yield Finding(OK, ", ".join([own, *shown]))


def devices() -> Iterator[Finding]:
  """What JAX computes on, and what is there and it does not see."""
  done = _run([sys.executable, "-c", _DEVICES], _DEVICES_S)
  if done is None or done.returncode:
    lines = (done.stderr if done else "").strip().splitlines()
    why = lines[-1] if lines else f"no answer within {_DEVICES_S} s"
    yield Finding(MISSING, f"JAX finds no device: {why}", _install(""))
    return
  local_devices = json.loads(done.stdout.splitlines()[-1])
  kinds = {kind: local_devices.count([p, kind]) for p, kind in local_devices}
  says = ", ".join(f"{count} x {kind}" for kind, count in kinds.items())
  platforms = {platform for platform, _ in local_devices}
  gpus = _gpus()
  if gpus and platforms == {"cpu"}:
    yield from _blind(gpus)
  elif os.path.exists("/dev/accel0") and platforms == {"cpu"}:
    yield Finding(MISSING, "a TPU that JAX does not see", _install("tpu"))
  else:
    yield Finding(OK, f"{says}; {os.cpu_count()} CPU cores")


def _gpus() -> list[tuple[str, float, float]]:
  """Name, compute capability and driver of each NVIDIA GPU."""
  query = "name,compute_cap,driver_version"
  done = _run(["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader"])
  if done is None or done.returncode:
    return []
  gpus = []
  for line in done.stdout.splitlines():
    with contextlib.suppress(ValueError):  # a card that does not tell
      name, capability, driver = line.split(", ")
      gpus.append((name, float(capability), float(driver.split(".")[0])))
  return gpus


def _blind(gpus: list[tuple[str, float, float]]) -> Iterator[Finding]:
  """There are GPUs, and JAX uses the CPU."""
  name, capability, driver = min(gpus, key=lambda gpu: gpu[1:])
  says = f"{name} ({capability}, driver {driver:g}) that JAX does not use"
  chosen = os.environ.get("JAX_PLATFORMS", "")
  if chosen and not {"cuda", "gpu"} & set(chosen.split(",")):
    yield Finding(WARNING, f"{says}: JAX_PLATFORMS={chosen}", "unset it")
    return
  old = capability < _TURING or driver < _DRIVER_13
  yield Finding(MISSING, says, _install("cuda12" if old else "cuda"))


def face_models() -> Iterator[Finding]:
  """The files without which no photograph or video is read."""
  from data_pipelines.faces import nets

  folder = nets.models_dir()
  bad = [x for x in nets.MODEL_FILES if not nets.is_right(folder / x)]
  if not bad:
    yield Finding(OK, str(folder))
    return
  yield Finding(
    MISSING,
    f"{folder}: {', '.join(bad)} (only drawn faces can be trained on)",
    f"{_python()} -m data_pipelines.faces.fetch",
  )


def media() -> Iterator[Finding]:
  """A video with sound, written and read back, by PyAV's FFmpeg."""
  import av
  import numpy as np

  from data_pipelines.media import decoder, mp4
  from speak_jax import spec

  frames = 5
  sound = np.zeros(frames * spec.SAMPLE_RATE_HZ // spec.FPS, np.int16)
  with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "film.mp4"
    grey = np.full((64, 64, 3), 128, np.uint8)
    mp4.write_video(path, [grey] * frames, float(spec.FPS), sound)
    decoded = sum(1 for _ in decoder.read_frames(path))
    heard = len(decoder.read_audio(path))
  if decoded == frames and heard:
    lib = ".".join(map(str, av.library_versions["libavcodec"]))
    says = f"mp4 written and read, PyAV {av.__version__}, libavcodec {lib}"
    yield Finding(OK, says)
  else:
    yield Finding(
      MISSING,
      f"of {frames} frames written {decoded} were read, {heard} samples",
      _pip("--force-reinstall", "av"),
    )


def models() -> Iterator[Finding]:
  """The two bundles that come along: `reference` and `photograph`."""
  from speak_jax import bundle
  from speak_jax.common import packaged

  for path in (packaged.REFERENCE, packaged.PHOTOGRAPH):
    try:
      bundle.verify(path)
    except bundle.BundleError as error:
      again = ["git", "-C", str(_ROOT), "checkout", "--", "speak_jax/assets"]
      mend = shlex.join(again) if _CHECKOUT else _install("")
      yield Finding(MISSING, str(error), mend)
    else:
      yield Finding(OK, f"whole, {path}")


def memory() -> Iterator[Finding]:
  """What this process may take."""
  free = _memory()
  says = f"{free / _GIB:.1f} GiB free"
  if free < MEMORY:
    yield Finding(WARNING, f"{says}, under {MEMORY / _GIB:g}", "end others")
  else:
    yield Finding(OK, says)


def _memory() -> int:
  """Bytes that are free, under the limit of a container too."""
  try:
    with open("/proc/meminfo") as file:
      rows = dict(line.split(":") for line in file)
    free = int(rows["MemAvailable"].split()[0]) << 10
  except OSError:  # macOS tells only what there is
    free = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
  group = Path("/sys/fs/cgroup")
  with contextlib.suppress(OSError, ValueError):  # "max": no limit
    most = int((group / "memory.max").read_text())
    used = int((group / "memory.current").read_text())
    free = min(free, max(most - used, 0))
  return free


def disk() -> Iterator[Finding]:
  """Room here, and where temporary files go."""
  for folder in dict.fromkeys([os.getcwd(), tempfile.gettempdir()]):
    free = shutil.disk_usage(folder).free
    says = f"{free / _GIB:.0f} GiB free in {folder}"
    if not os.access(folder, os.W_OK):
      yield Finding(WARNING, f"{folder}: not to be written", "another folder")
    elif free < DISK:
      yield Finding(WARNING, f"{says}, under {DISK / _GIB:g}", "make room")
    else:
      yield Finding(OK, says)


CHECKS: dict[str, Callable[[], Iterator[Finding]]] = {
  "Python": python,
  "packages": packages,
  "devices": devices,
  "face models": face_models,
  "video": media,
  "models": models,
  "memory": memory,
  "disk": disk,
}


def _run(
  words: list[str], limit_s: float = 30.0
) -> subprocess.CompletedProcess | None:
  """A command's end; None if there is none or it does not come to one."""
  try:
    return subprocess.run(
      words, capture_output=True, text=True, timeout=limit_s, check=False
    )
  except (OSError, subprocess.TimeoutExpired):
    return None


def _install(extra: str) -> str:
  """The command that installs what this package needs, or one extra's part."""
  if _CHECKOUT:
    name = f"requirements-{extra}.txt" if extra else "requirements.txt"
    words = ("--no-deps", "--require-hashes", "-r", str(_LAUNCH / name))
    return _pip(*("--force-reinstall",) * (not extra), *words)
  own = importlib.metadata.distribution("speak_jax")
  if not extra:
    direct_url = json.loads(own.read_text("direct_url.json") or "{}")
    return _pip("--force-reinstall", direct_url.get("url", own.name))
  from packaging.requirements import Requirement

  chosen = []
  for requirement in map(Requirement, own.requires or []):
    marker = requirement.marker
    if marker and marker.evaluate({"extra": extra}):
      parts = f"[{','.join(requirement.extras)}]" if requirement.extras else ""
      exact = str(requirement.specifier) or _pinned(requirement.name)
      chosen.append(f"{requirement.name}{parts}{exact}")
  return _pip(*chosen)


def _pinned(name: str) -> str:
  """Of a package that is there already: the same version."""
  return f"=={importlib.metadata.version(name)}"


def _pip(*words: str) -> str:
  return shlex.join([_python(), "-m", "pip", "install", *words])


def _python() -> str:
  """How this interpreter is called: by its name where that is the same."""
  python_path = shutil.which("python")
  same = python_path and os.path.samefile(python_path, sys.executable)
  return "python" if same else sys.executable


def examine(checks: dict[str, Callable[[], Iterator[Finding]]]) -> int:
  """Prints a line for every finding; returns the exit code."""
  missing = 0
  for subject, check in checks.items():
    try:
      findings = list(check())
    except Exception as error:  # whatever is broken is what is asked for
      line = " ".join(f"{type(error).__name__}: {error}".split())
      findings = [Finding(MISSING, line, _install(""))]
    for finding in findings:
      print(f"{finding.state:8} {subject:12} {finding.says}", flush=True)
      if finding.mend:
        print(f"{'':21} mend: {finding.mend}", flush=True)
      missing += finding.state == MISSING
  print("nothing is missing" if not missing else f"missing: {missing}")
  return 1 if missing else 0


def main() -> int:
  """Reads the flags, of which there are none."""
  import argparse

  argparse.ArgumentParser(
    prog="python -m speak_jax.tools.doctor",
    formatter_class=argparse.RawDescriptionHelpFormatter,
    description=__doc__,
  ).parse_args()
  return examine(CHECKS)


if __name__ == "__main__":
  sys.exit(main())
