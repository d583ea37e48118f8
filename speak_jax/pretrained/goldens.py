"""Proof that converted weights give PyTorch's numbers.

Goes in: a folder of goldens. meta.json describes each one; NAME.npz holds its
inputs `in.*` and true outputs `out.*`; the weights are NAME.safetensors,
NAME.pth or both, or made up from the names and shapes in meta.json. Comes out:
the error of every output.
"""

import hashlib
import json
import math
import os
import re
import zipfile
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from einops import repeat
from jaxtyping import Float32, UInt8

from speak_jax.models.wav2vec import Wav2vec
from speak_jax.pretrained import files
from speak_jax.pretrained.layouts import LAYOUTS, Layout
from speak_jax.pretrained.tensors import Converted, Tensors, WeightsError

TOLERANCE = 2e-5  # max|a - b| / max|b| in float32 on a CPU

# Layout of a golden by the beginning of its name.
KINDS = {
  "resnet50": LAYOUTS["resnet"],
  "vgg19": LAYOUTS["vgg"],
  "hubert": LAYOUTS["speech"],
  "wav2vec2": LAYOUTS["speech"],
  "syncnet_v2": LAYOUTS["syncnet"],
  "lpips": LAYOUTS["lpips"],
  "inception": LAYOUTS["inception"],
  "atvg_at": LAYOUTS["atvg_at"],
  "atvg_vg": LAYOUTS["atvg_vg"],
  "atvg_critic": LAYOUTS["atvg_critic"],
  "wav2lip_generator": LAYOUTS["wav2lip_generator"],
  "wav2lip_expert": LAYOUTS["wav2lip_expert"],
  "wav2lip_critic": LAYOUTS["wav2lip_critic"],
  "fomm_keypoints": LAYOUTS["fomm_keypoints"],
  "fomm_generator": LAYOUTS["fomm_generator"],
  "eamm_hearing": LAYOUTS["eamm_hearing"],
  "eamm_feeling": LAYOUTS["eamm_feeling"],
}
# What Hugging Face means where a configuration is silent.
_SILENT = {"num_attention_heads": 12, "do_stable_layer_norm": False}
_ENDINGS = (".safetensors", ".pth")
# How meta.json asks for pictures and sounds that are too large to store.
_RECIPE = re.compile(
  r"recipe (image|audio)\(\s*'([\w.]+)',"
  r"\s*[(\[]([\d,\s]+)[)\]],\s*seed\s*\)"
)
_SPELLINGS = {
  "parametrizations.weight.original0": "weight_g",
  "parametrizations.weight.original1": "weight_v",
}
_UNIT_GAIN = (
  "q_proj",
  "k_proj",
  "v_proj",
  "out_proj",
  "projection",
  "weight_v",
)


class Result(NamedTuple):
  """One output of one golden, or why there is none."""

  name: str  # of the golden, with the ending of a second file of weights
  output: str  # "-" where the golden failed as a whole
  error: float  # max|a - b| / max|b|; not a number where there is none
  reason: str  # of a failure that is no number

  @property
  def passed(self) -> bool:
    """Whether the output is equal, within TOLERANCE."""
    return not self.reason and self.error <= TOLERANCE


def verify(
  folder: str | os.PathLike, names: Collection[str] = ()
) -> Iterator[Result]:
  """Runs every golden of a folder with each of its weight files.

  What cannot be run is a result with a reason, never left out.

  Args:
    folder: Where meta.json is.
    names: The goldens to run; all of them when empty.

  Raises:
    WeightsError: no meta.json, or one that names nothing.
  """
  folder = Path(folder)
  meta = _meta(folder / "meta.json")
  there = dict.fromkeys([*meta, *(p.stem for p in folder.glob("*.npz"))])
  for name in names or there:
    for label, weights in _weight_files(folder, name):
      try:
        yield from _run(folder, name, label, weights, meta.get(name))
      # Whatever is wrong with one golden is its result; the others still run.
      except Exception as error:
        line = str(error) or type(error).__name__
        yield Result(label, "-", math.nan, str(WeightsError(line)))


def _run(
  folder: Path, name: str, label: str, weights: Path | None, entry: Any
) -> Iterator[Result]:
  """All outputs of a golden with one file of weights, or those made up."""
  if not isinstance(entry, dict):
    raise WeightsError("meta.json does not describe it")
  layout = _layout(name)
  config = entry.get("config", {})
  if weights is not None:
    tensors = files.read(weights)
  elif entry.get("stored_weights"):
    raise WeightsError(f"no file {name}{' or '.join(_ENDINGS)}")
  else:
    tensors = Tensors(fill(entry["shapes"], entry["seed"]), name)
  _check_recipe(tensors, entry.get("recipe_check", {}))
  inputs, truth = _arrays(folder / f"{name}.npz")
  for key, text in config.items():
    if recipe := _RECIPE.search(str(text)):
      make = image if recipe[1] == "image" else audio
      shape = tuple(int(n) for n in recipe[3].split(",") if n.strip())
      inputs.setdefault(key, make(recipe[2], shape, entry["seed"]))
  # Speech alone has what no shape tells, as the library's own settings.
  settings = (
    _SILENT | config["cfg"] if isinstance(config.get("cfg"), dict) else {}
  )
  converted = layout.convert(tensors, settings)
  computed = layout.outputs(converted, inputs)
  lengths = _lengths(converted, inputs)
  promised = [key.removeprefix("out.") for key in entry.get("outputs", {})]
  if not promised and not truth:
    raise WeightsError("it has no outputs")
  for output in dict.fromkeys([*promised, *truth]):
    if output not in truth:
      yield Result(label, output, math.nan, "the npz does not hold it")
    elif output not in computed:
      yield Result(label, output, math.nan, "the network has no such output")
    else:
      yield _compare(label, output, computed[output], truth[output], lengths)


def _compare(
  label: str,
  output: str,
  computed: np.ndarray,
  truth: np.ndarray,
  lengths: np.ndarray | None,
) -> Result:
  """The error of an output, of which the truth may be a mean over places."""
  kept = computed.shape[: truth.ndim]
  if kept != truth.shape:
    reason = f"shape {computed.shape}, wanted {truth.shape}"
    return Result(label, output, math.nan, reason)
  computed, truth = computed.astype(np.float64), truth.astype(np.float64)
  if computed.ndim > truth.ndim:
    computed = computed.mean(tuple(range(truth.ndim, computed.ndim)))
  elif lengths is not None and truth.ndim == 3:
    # Padded steps are not specified; time is the last axis of one output.
    axis = 2 if output == "conv_features" else 1
    computed, truth = (
      np.moveaxis(computed, axis, 1),
      np.moveaxis(truth, axis, 1),
    )
    valid = np.arange(truth.shape[1]) < lengths[:, None]
    computed, truth = computed[valid], truth[valid]
  if not np.isfinite(truth).all() or not truth.any():
    return Result(label, output, math.nan, "its truth is zero or not finite")
  error = float(np.abs(computed - truth).max() / np.abs(truth).max())
  reason = (
    "" if math.isfinite(error) else "the network's numbers are not finite"
  )
  return Result(label, output, error, reason)


def _lengths(
  converted: Converted, inputs: dict[str, np.ndarray]
) -> np.ndarray | None:
  """Steps that are sound, of each clip of masked speech."""
  if "attention_mask" not in inputs:
    return None
  samples = inputs["attention_mask"].astype(np.int32).sum(-1)
  return np.asarray(Wav2vec(**converted.sizes).frames_of(jnp.asarray(samples)))


def _layout(name: str) -> Layout:
  kinds = [kind for kind in KINDS if name.startswith(kind)]
  if not kinds:
    raise WeightsError(f"no known kind; they are {', '.join(KINDS)}")
  return KINDS[max(kinds, key=len)]


def _weight_files(folder: Path, name: str) -> list[tuple[str, Path | None]]:
  """(label, file) for each; none where the weights are made up."""
  there = [
    ending for ending in _ENDINGS if (folder / f"{name}{ending}").is_file()
  ]
  if not there:
    return [(name, None)]
  labels = [name, *(f"{name}{ending}" for ending in there[1:])]
  return [
    (label, folder / f"{name}{ending}")
    for label, ending in zip(labels, there, strict=True)
  ]


def _meta(path: Path) -> dict[str, Any]:
  try:
    meta = json.loads(path.read_bytes())
  except (OSError, ValueError) as error:
    raise WeightsError(f"{path}: cannot be read ({error})") from error
  if not isinstance(meta, dict) or not meta:
    raise WeightsError(f"{path}: names no golden")
  odd = [name for name in meta if Path(name).name != name]
  if odd:
    raise WeightsError(f"{path}: {odd[0]!r} is no name of a file")
  return meta


def _arrays(
  path: Path,
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
  """Inputs and true outputs by their names without `in.` and `out.`."""
  try:
    with path.open("rb") as stream, np.load(stream) as archive:
      arrays = {key: archive[key] for key in archive}
  except (
    *(OSError, ValueError, EOFError, KeyError),
    *(zipfile.BadZipFile, zlib.error, NotImplementedError),
  ) as error:
    raise WeightsError(f"{path}: cannot be read ({error})") from error
  return (
    {k[3:]: v for k, v in arrays.items() if k.startswith("in.")},
    {k[4:]: v for k, v in arrays.items() if k.startswith("out.")},
  )


def _check_recipe(tensors: Tensors, sums: dict[str, str]) -> None:
  """Compares tensors with the beginnings of their SHA-256."""
  for key, wanted in sums.items():
    raw = np.ascontiguousarray(tensors.peek(key)).tobytes()
    digest = hashlib.sha256(raw).hexdigest()
    if not wanted or not digest.startswith(wanted):
      raise WeightsError(f"{key} is not the weight that meta.json means")


def uniform(
  name: str, shape: tuple[int, ...], seed: int
) -> Float32[np.ndarray, "..."]:
  """Numbers in [-1, 1), the same everywhere: 24 bits of raw PCG64 each."""
  bits = np.random.PCG64([seed, zlib.crc32(name.encode())])
  top = np.asarray(bits.random_raw(math.prod(shape))) >> np.uint64(40)
  return (top.astype(np.float32) / np.float32(2**23) - np.float32(1)).reshape(
    shape
  )


def fill(
  shapes: Mapping[str, Sequence[int]], seed: int
) -> dict[str, np.ndarray]:
  """Made-up weights, scaled by what their names in published files say.

  Newer libraries spell two names otherwise, which changes no number.
  """
  return {
    key: _weight(key, tuple(shape), seed) for key, shape in shapes.items()
  }


def _weight(key: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
  for new, published in _SPELLINGS.items():
    key = key.replace(new, published)
  last = key.split(".")[-1]
  if last == "num_batches_tracked":
    return np.zeros(shape, np.int64)
  centre = 0.0
  if last == "running_var":
    centre, spread = 1.0, 0.5
  elif last == "weight_g":
    centre, spread = 2.0, 0.2
  elif last == "weight" and len(shape) == 1:
    centre, spread = 1.0, 0.2
  elif last == "running_mean" or len(shape) == 1:
    spread = 0.1
  else:
    # Variance 2 / fan-in in front of a ReLU, 1 / fan-in elsewhere; a uniform
    # number has a third.
    gain = 1 if any(part in key for part in _UNIT_GAIN) else 2
    spread = math.sqrt(3 * gain) / math.sqrt(math.prod(shape[1:]))
  return np.float32(centre) + np.float32(spread) * uniform(key, shape, seed)


def image(
  name: str, shape: tuple[int, ...], seed: int
) -> UInt8[np.ndarray, "..."]:
  """Made-up pictures (..., h, w): coloured squares of 8 pixels, and grain."""
  *lead, height, width = shape
  coarse = (*lead, math.ceil(height / 8), math.ceil(width / 8))
  squares = uniform(f"{name}.coarse", coarse, seed)
  squares = repeat(squares, "... h w -> ... (h i) (w j)", i=8, j=8)
  grain = np.float32(36) * uniform(f"{name}.fine", shape, seed)
  light = np.float32(90) * squares[..., :height, :width]
  light = np.float32(127.5) + light + grain
  return light.clip(0, 255).astype(np.uint8)


def audio(
  name: str, shape: tuple[int, ...], seed: int
) -> Float32[np.ndarray, "b s"]:
  """Made-up voices (b, s): pulses and noise, smoothed, without any sine.

  Each is a hundredth as loud as the one before, so that epsilons show; the
  first reaches 2.
  """
  clips, samples = shape
  voices = np.empty(shape, np.float32)
  for i in range(clips):
    x = np.zeros(samples, np.float32)
    x[::127] = 1
    x[::211] -= np.float32(0.7)
    x += np.float32(0.15) * uniform(f"{name}{i}", (samples,), seed)
    for width in (3, 7, 19):
      total = np.cumsum(np.concatenate([np.zeros(width), x]))
      mean = ((total[width:] - total[:-width]) / width).astype(np.float32)
      x = np.float32(0.6) * x + np.float32(2) * mean
    voices[i] = np.float32(100.0**-i) * x
  return voices
