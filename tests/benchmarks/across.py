"""Whether bundles of one version of JAX make the same frames under another.

  python -m tests.benchmarks.across write DIR     in one environment
  python -m tests.benchmarks.across check DIR     in another

`write` exports two small untrained runs, one of each kind, and keeps them with
the frames that they and the bundles of this package make of the example
portrait and sentence. `check` makes these frames anew from the same bundles,
and prints by how many levels of 255 they differ, and how much was other than
equal; it ends with 1 where a frame is more than one level off.
"""

import argparse
import json
import shutil
import sys
from importlib import metadata
from pathlib import Path

import numpy as np

import speak_jax
from speak_jax.common import packaged
from speak_jax.common.files import FileError

CLOSE = 1  # level of 255
SHIPPED = (packaged.PHOTOGRAPH, packaged.REFERENCE)
STAGES = ("speak", "motion")


def exported(stage: str, folder: Path) -> Path:
  """Exports an untrained run of a stage.

  Args:
    stage: The only one of the run.
    folder: For the run, and the bundle beside it.
  """
  # Here alone: another environment checks without what training needs.
  from speak_jax import export
  from speak_jax.stages import registry
  from speak_jax.training import checkpoint_manager, state
  from tests.stages import small

  run, out = folder / f"{stage}_run", folder / "bundles" / stage
  config = small.config(stages=(stage,), preset="demo", commit="0" * 40)
  fresh = state.init_state(registry.STAGES[stage].make(config), 0, {})
  saved = checkpoint_manager.CheckpointManager(run / stage / "checkpoints")
  saved.save(fresh, {}, {})
  saved.finish()
  (run / "config.json").write_text(json.dumps({"config": config.to_dict()}))
  export.export(run, out, lambda line: None)
  return out


def frames(bundle: Path) -> np.ndarray:
  """Frames of the example, (n h w 3)."""
  model = speak_jax.load(bundle)
  return model.generate(packaged.PORTRAIT, packaged.SENTENCE).frames


def write(folder: Path) -> None:
  """Fills a folder with bundles, and the frames that they make here."""
  for path in SHIPPED:
    shutil.copytree(path, folder / "bundles" / path.name)
  for stage in STAGES:
    exported(stage, folder)
  for path in sorted((folder / "bundles").iterdir()):
    made = frames(path)
    np.save(folder / f"{path.name}.npy", made)
    print(f"{path.name}: {made.shape}, written by {versions()}", flush=True)
  (folder / "versions.txt").write_text(versions())


def check(folder: Path) -> int:
  """Compares with the frames that are there; the largest difference."""
  print(
    f"written by {(folder / 'versions.txt').read_text()}, run by {versions()}"
  )
  worst = 0
  for path in sorted((folder / "bundles").iterdir()):
    try:
      made = frames(path).astype(int)
    except FileError as error:
      print(f"{path.name}: {error}", flush=True)
      worst = 255
      continue
    off = np.abs(made - np.load(folder / f"{path.name}.npy"))
    worst = max(worst, int(off.max()))
    print(
      f"{path.name}: {len(made)} frames, largest difference {off.max()}, of"
      f" {(off > 0).mean():.2%} of the values",
      flush=True,
    )
  return worst


def versions() -> str:
  """Of Python and JAX."""
  python = ".".join(map(str, sys.version_info[:3]))
  return f"Python {python}, jax {metadata.version('jax')}"


def main() -> int:
  """Reads the words; 0 if all frames are those of the other version."""
  parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.across")
  parser.add_argument("what", choices=("write", "check"))
  parser.add_argument("folder", type=Path)
  args = parser.parse_args()
  if args.what == "write":
    write(args.folder)
    return 0
  return int(check(args.folder) > CLOSE)


if __name__ == "__main__":
  sys.exit(main())
