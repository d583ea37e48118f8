"""Makes the requirement files anew: every version and the hash of every file.

  python -m launch.lock [--upgrade]           needs uv (pip install uv)

requirements.txt is for all Pythons from 3.11 on and all systems: lines that
hold for some of them alone have a marker behind the semicolon. The others name
only what an extra of setup.py adds to it; Beam forbids some of our versions, so
requirements-beam.txt is whole. Versions stay as they are where they still fit;
--upgrade takes the newest. No file names where packages come from.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
BASE = Path("launch/requirements.txt")
# Extras that add to BASE.
ADDED = ("align", "app", "dev", "cuda", "cuda12", "peers", "serve", "tpu")
WHOLE = ("beam",)  # extras with versions of their own
PYTHON = "3.11"  # the oldest one
BROWSER = " ; sys_platform != 'emscripten'"  # where no extra is installed
# What extra `app` allows only older releases of; the page is tested with ours.
OVERRIDES = ("pillow",)
# uv does not see that a release forbids later Pythons, or lacks the wheel of a
# system; pip does.
CAPS = (
  "backports.strenum<1.3",  # 1.3 says that it is for less than 3.11
  "c2pa-python<0.38.2",  # 0.38.2 has no wheel for Linux on x86-64
)


def listed(extra: str) -> Path:
  """The file of an extra, from the root."""
  return BASE.with_stem(f"{BASE.stem}-{extra}")


def entries(text: str) -> dict[str, str]:
  """`name==version ; marker` -> the whole entry with its hashes.

  Args:
    text: Of a requirement file; lines that begin with # are left out.
  """
  lines = [x for x in text.splitlines() if x and not x.startswith("#")]
  blocks = re.findall(r"^\S.*(?:\n[ \t].*)*", "\n".join(lines), re.MULTILINE)
  return {re.split(r"\s*\\\n", entry)[0]: entry for entry in blocks}


def version(key: str) -> str:
  """`name==version` of an entry's key, without the marker behind it."""
  return key.partition(" ;")[0]


def resolve(target: Path, extras: tuple[str, ...], more: list[str]) -> str:
  """The lines of a requirement file, by uv.

  Args:
    target: Whose versions are kept where they fit; it need not be there.
    extras: Of setup.py.
    more: Flags for uv.

  Raises:
    SystemExit: uv failed; it has said why.
  """
  kept = target.read_text() if target.is_file() else ""
  command = ["uv", "pip", "compile", "setup.py", "--universal", "--quiet"]
  command += ["--python-version", PYTHON, "--generate-hashes", "--no-header"]
  command += ["--no-annotate", "--no-emit-index-url", "--no-emit-find-links"]
  command += [f"--extra={extra}" for extra in extras]
  command += ["--constraint=-", "-o", str(target), *more]
  try:
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as overrides:
      overrides.write("\n".join(OVERRIDES))
      overrides.flush()
      # Written over, for uv keeps the versions that it finds there.
      subprocess.run(
        [*command, "--override", overrides.name],
        cwd=ROOT,
        check=True,
        text=True,
        input="\n".join(CAPS),
      )
    return target.read_text()
  except subprocess.CalledProcessError as error:
    sys.exit(error.returncode)
  finally:
    target.write_text(kept) if kept else target.unlink(missing_ok=True)


def write(target: Path, about: str, lines: dict[str, str]) -> None:
  """Writes a requirement file and says how long it is."""
  head = f"# {about}\n# Made by `python -m launch.lock`.\n"
  target.write_text(head + "".join(f"{lines[key]}\n" for key in sorted(lines)))
  print(f"{target.name}: {len(lines)} lines")


def main() -> None:
  """Reads the flags."""
  parser = argparse.ArgumentParser(
    prog="python -m launch.lock", description="Makes the requirement files."
  )
  parser.add_argument("--upgrade", action="store_true", help="newest versions")
  more = ["--upgrade"] if parser.parse_args().upgrade else []
  if shutil.which("uv") is None:
    sys.exit("lock: uv is not on PATH; pip install uv")
  base = entries(resolve(ROOT / BASE, ("editable",), more))
  write(ROOT / BASE, f"Python {PYTHON} and later, every system.", base)
  for extra in ADDED:
    target = ROOT / listed(extra)
    fixed = [*more, "--constraint", str(BASE)]
    resolved = entries(resolve(target, ("editable", extra), fixed))
    known = {*base, *(key.removesuffix(BROWSER) for key in base)}
    added = {key: text for key, text in resolved.items() if key not in known}
    # An extra may want a package of the base on more systems, not another one.
    same = {version(key) for key in resolved}
    if missing := [key for key in base if version(key) not in same]:
      sys.exit(f"{target.name}: changes {', '.join(sorted(missing))}")
    write(target, f"What extra `{extra}` adds to {BASE.name}.", added)
  for extra in WHOLE:
    target = ROOT / listed(extra)
    resolved = entries(resolve(target, ("editable", extra), more))
    write(target, f"With extra `{extra}`, instead of {BASE.name}.", resolved)


if __name__ == "__main__":
  main()
