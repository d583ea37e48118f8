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

from speak_jax import spec
from speak_jax.common import files
from speak_jax.configs.common import current

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
# Keys of the config that came later, and what runs did before.
LATER: dict[str, Any] = {
  "finetune_from": "",
  "model": {
    "appearance": 0,
    "lips": 0,
    "lips_square": (1.7, 0.72),
    "sync_motion": False,
    "sync_unit": True,
    "audio": {"steps": "frame", "level": "window"},
  },
  "pretrained": {"required": ()},
  "data": {
    "workers": 0,
    "synthetic": {"meshes": False},
    "augment": {
      "pose": False,
      "stretch": 0.0,
      "emotion": False,
      "emotion_clip": 0.0,
    },
  },
  "syncnet": {
    "reach": 0.0,
    "augment": {
      "shift": 0.0,
      "scale": 0.0,
      "stretch": 0.0,
      "shear": 0.0,
      "turn": 0.0,
      "elastic": 0.0,
      "colour": 0.0,
      "mirror": False,
      "blur": 0.0,
      "gamma": 0.0,
      "light": 0.0,
    },
    "hearing": {
      "stretch": 0.0,
      "tilt": 0.0,
      "colour": 0.0,
      "noise": 0.0,
      "noise_level": (-1.2, 0.2),
    },
  },
  "irfd": {
    "same_session": False,
    "norms": "mean",
    "unit_identity": True,
    "gan_lead": 1_000_000,  # from the first step on
  },
  "speak": {
    "same_session": False,
    "gan_lead": 1_000_000,
    "mel": {"width": 256, "layers": 4, "heads": 4},
    "convolutions": "auto",
    "lr_factors": {},
    "speech": {"lr_factor": 1.0, "b1": 0.5},
    "stretch": 0,
  },
  "motion": {
    "steps": 6_000,
    "batch": 16,
    "microbatch": 16,
    "frames": 50,
    "context": 25,
    "width": 128,
    "layers": 2,
    "label_strength": dict.fromkeys(spec.EMOTIONS[1:], 1.0),
    "augment": {
      "stretch": 0.1,
      "tilt": 0.15,
      "colour": 0.08,
      "noise": 0.5,
      "noise_level": (-1.2, 0.2),
    },
    "weights": {"points": 1.0, "lips": 2.0, "speed": 1.0, "gap": 1.0},
    "optim": {
      "lr": 2e-3,
      "warmup": 500,
      "floor": 0.1,
      "b1": 0.9,
      "b2": 0.99,
      "clip": 1.0,
      "ema": 0.999,
    },
  },
  "train": {
    "compilation_cache": True,
    "loss_scale": {"initial": 2.0**15, "growth": 2_000},
  },
}
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
  """A config that was kept as JSON, locked: with LATER keys, without GONE."""
  whole = _completed(_renamed(stored), LATER)
  for name, section in whole.items():
    if isinstance(section, dict) and "parts" in section:
      # A batch was once computed in so many parts.
      parts = section["parts"]
      whole[name] = {k: v for k, v in section.items() if k != "parts"} | {
        "microbatch": section["batch"] // parts
      }
  weights = whole["speak"].get("weights", {})
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
  """Refuses a RUN that has learned a model of other sizes.

  Args:
    config: As it is to be trained.
    run: RUN.
    saved: {stage: step} of its checkpoints.

  Raises:
    ValueError: it has.
  """
  if not binds(run, saved):
    return
  old, new = (
    json.loads(json.dumps(x.model.to_dict())) for x in (read(run), config)
  )
  if "speak" not in saved:  # no earlier stage has a speech encoder
    old.pop("audio", None)
    new.pop("audio", None)
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
