"""Public weights from the command line.

  python -m speak_jax.pretrained verify DIR
  python -m speak_jax.pretrained convert SRC DST
  python -m speak_jax.pretrained face-api DIR DST

`verify` runs the goldens of a folder (see `goldens`) on the CPU and prints the
error of each output. `convert` writes a public checkpoint as .safetensors in
our own names and axes, such as `params/stem/kernel`; files of one network have
commas between: SRC is A,B. `face-api` writes the three networks that judge real
faces to a folder, from the `model` folder of the npm package of that name:
those in speak_jax/assets/faces are made so.
"""

from collections.abc import Sequence
from pathlib import Path

import jax
from absl import app

from speak_jax.common import command_line, exit_codes
from speak_jax.pretrained import face_api, goldens, layouts
from speak_jax.pretrained.tensors import WeightsError


def verify(folder: Path) -> int:
  """Prints a line per output; 0 if all are equal, 1 if not."""
  passed = []
  names = set()
  for result in goldens.verify(folder):
    verdict = "ok"
    if not result.passed:
      verdict = result.reason or f"above {goldens.TOLERANCE:g}"
      verdict = f"FAILED: {verdict}"
    print(
      f"{result.name:<28} {result.output:<14} {result.error:.1e}  {verdict}",
      flush=True,
    )
    passed.append(result.passed)
    names.add(result.name)
  print(
    f"{sum(passed)} of {len(passed)} outputs of {len(names)} networks within"
    f" {goldens.TOLERANCE:g}"
  )
  return 0 if all(passed) else 1


def convert(source: str, target: Path) -> int:
  """Writes converted weights whole or not at all."""
  loaded = layouts.load(source)
  layouts.save(target, loaded)
  converted = loaded.converted
  sizes = f", {converted.sizes}" if converted.sizes else ""
  print(f"{target}: weights of a {loaded.layout}{sizes}")
  if converted.unused:
    print(f"not used: {', '.join(converted.unused)}")
  return 0


def convert_faces(folder: Path, target: Path) -> int:
  """Writes the networks that judge real faces; a line each."""
  for path in face_api.convert(folder, target):
    print(f"{path}: {path.stat().st_size / 1e6:.2f} MB")
  return 0


def main(argv: Sequence[str]) -> int:
  """Runs the command; returns the exit code."""
  # The tolerance is a CPU's: others multiply with fewer bits.
  jax.config.update("jax_platforms", "cpu")
  try:
    match argv[1:]:
      case ["verify", folder]:
        return verify(Path(folder))
      case ["convert", source, target]:
        return convert(source, Path(target))
      case ["face-api", folder, target]:
        return convert_faces(Path(folder), Path(target))
  except (WeightsError, OSError) as error:
    return command_line.fail("error", str(error))
  line = "say verify DIR, convert SRC DST or face-api DIR DST"
  return command_line.fail("pretrained", line, exit_codes.BAD_CONFIG)


if __name__ == "__main__":
  app.run(main, flags_parser=command_line.parser("pretrained"))
