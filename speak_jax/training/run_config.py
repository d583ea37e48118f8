"""RUN/config.json: the config that a run was trained with, of any version."""

import importlib.metadata
import json
import platform
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from speak_jax.common import files
from speak_jax.configs.common import current
from speak_jax.stages import registry

PACKAGES = (
  "jax",
  "jaxlib",
  "flax",
  "optax",
  "orbax-checkpoint",
  "grain",
  "numpy",
  "ml-collections",
)
# Keys of every method's config that came later, and what runs did before: all
# were SPEAK's. `Training.later` has those of one method's configs.
LATER: dict[str, Any] = {"method": "speak"}
# Keys of the config that are gone: nobody read them.
GONE = {"irfd.discriminator.ema", "speak.discriminator.ema"}


def read(run: str | Path) -> ConfigDict:
  """The config that a run was trained with.

  Raises:
    ValueError: the folder is not a run.
  """
  path = Path(run) / "config.json"
  try:
    stored = json.loads(path.read_text())
  except (OSError, json.JSONDecodeError) as error:
    raise ValueError(f"{path}: not a run ({type(error).__name__})") from error
  return from_json(stored["config"])


def from_json(stored: dict[str, Any]) -> ConfigDict:
  """A config that was kept as JSON, locked: with later keys, without GONE.

  Raises:
    ValueError: it is of a method that this code does not have.
  """
  whole = _completed(_renamed(stored), LATER)
  whole = _completed(whole, dict(registry.training(whole["method"]).later))
  for name, section in whole.items():
    if isinstance(section, dict) and "parts" in section:
      # A batch was once computed in so many parts.
      parts = section["parts"]
      whole[name] = {k: v for k, v in section.items() if k != "parts"} | {
        "microbatch": section["batch"] // parts
      }
  weights = whole.get("speak", {}).get("weights", {})
  if "perceptual" in weights:
    # One weight was once of L_vgg and of its stand-in alike.
    both = {"perceptual_encoders": weights["perceptual"]} | weights
    whole["speak"] |= {"weights": both}
  return ConfigDict(_tuples(whole)).lock()


def _renamed(stored: dict[str, Any], above: str = "") -> dict[str, Any]:
  """A config, or its section `above`, with the keys of today, less GONE."""
  section: dict[str, Any] = {}
  for key, value in stored.items():
    path = f"{above}{key}"
    if path in GONE:
      continue
    if isinstance(value, dict):
      section[key] = _renamed(value, f"{path}.")
    elif new := current(path, value):
      section[new[0].removeprefix(above)] = new[1]
  return section


def _completed(stored: Any, later: dict[str, Any]) -> Any:
  """A section of a config with the keys that came later."""
  if not later:
    return stored
  inner = {
    k: _completed(stored.get(k, {}), v)
    for k, v in later.items()
    if isinstance(v, dict)
  }
  return {**later, **stored, **inner}


def _tuples(value: Any) -> Any:
  """JSON's lists as the tuples that they were."""
  if isinstance(value, dict):
    return {key: _tuples(item) for key, item in value.items()}
  if isinstance(value, list):
    return tuple(_tuples(item) for item in value)
  return value


def write(config: ConfigDict, run: Path) -> None:
  """Writes RUN/config.json; process 0 does so for all."""
  if jax.process_index():
    return
  content = {
    "config": config.to_dict(),
    "python": platform.python_version(),
    "packages": versions(),
    "argv": sys.argv,
  }
  run.mkdir(parents=True, exist_ok=True)
  files.write(run / "config.json", json.dumps(content, indent=1))


def binds(run: Path, saved: Mapping[str, int]) -> bool:
  """Whether a run has learned something with the config that it wrote.

  Args:
    run: RUN.
    saved: {stage: step} of its checkpoints.
  """
  return bool(saved) and (run / "config.json").exists()


def check_model(
  config: ConfigDict, run: Path, saved: Mapping[str, int]
) -> None:
  """Refuses a RUN that has learned another method, or other sizes.

  Args:
    config: As it is to be trained.
    run: RUN.
    saved: {stage: step} of its checkpoints.

  Raises:
    ValueError: it has.
  """
  if not (run / "config.json").exists():
    return
  stored = read(run)
  others = registry.training(stored.method).stages
  if stored.method != config.method and any((run / x).is_dir() for x in others):
    raise ValueError(
      f"{run}: was trained as {stored.method}, this config is of"
      f" {config.method}; choose another workdir"
    )
  if not saved:  # a start that came to no checkpoint binds nobody
    return
  old, new = (
    json.loads(json.dumps(x.model.to_dict())) for x in (stored, config)
  )
  for key, stage in registry.training(config.method).model_of.items():
    if stage not in saved:
      old.pop(key, None)
      new.pop(key, None)
  odd = sorted(k for k in {**old, **new} if old.get(k) != new.get(k))
  if odd:
    raise ValueError(
      f"{run}: was trained with another model.{odd[0]}; choose another workdir"
    )


def versions() -> dict[str, str]:
  """Of the packages that a result depends on."""
  return {name: importlib.metadata.version(name) for name in PACKAGES}


def commit() -> str:
  """The checkout's commit, with + if files differ; "" outside of git.

  An installed package may lie in someone else's checkout, which has no say.
  """
  here = Path(__file__).parent

  def git(*words: str) -> str:
    return subprocess.run(
      ["git", *words], cwd=here, capture_output=True, text=True, check=True
    ).stdout.strip()

  try:
    git("ls-files", "--error-unmatch", Path(__file__).name)
    return git("rev-parse", "HEAD") + ("+" if git("status", "-s") else "")
  except (OSError, subprocess.CalledProcessError):
    return ""
