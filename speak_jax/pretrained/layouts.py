"""The public layouts that can be read, and which one a file has."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors.numpy
from flax import traverse_util

from speak_jax.common.files import write
from speak_jax.pretrained import (
  atvg,
  eamm,
  files,
  fomm,
  hub,
  inception,
  lpips,
  resnet,
  speech,
  syncnet,
  vgg,
  wav2lip,
)
from speak_jax.pretrained.tensors import Converted, Tensors, WeightsError

FORMAT = "speak_jax"  # in the facts of files that `save` wrote
Outputs = Callable[[Converted, dict[str, np.ndarray]], dict[str, np.ndarray]]


class Layout(NamedTuple):
  """What there is to know about one of them."""

  # How a key ends that it has and no other; a key of each of its files.
  mark: str | tuple[str, ...]
  # From the tensors and what config.json says, which may be nothing.
  convert: Callable[[Tensors, Mapping[str, Any]], Converted]
  outputs: Outputs  # of the network, from and in PyTorch's layout
  shared: bool = False  # whether its files hold other networks beside it


LAYOUTS = {
  # Before ResNet, which it has within.
  "eamm_feeling": Layout(
    eamm.FEELING_MARK,
    lambda tensors, _: eamm.convert_feeling(tensors),
    eamm.feeling_outputs,
  ),
  "resnet": Layout(
    resnet.MARK, lambda tensors, _: resnet.convert(tensors), resnet.outputs
  ),
  # Before VGG, which has AlexNet's first key.
  "lpips": Layout(
    lpips.MARKS, lambda tensors, _: lpips.convert(tensors), lpips.outputs
  ),
  "vgg": Layout(vgg.MARK, lambda tensors, _: vgg.convert(tensors), vgg.outputs),
  "speech": Layout(
    "feature_extractor.conv_layers.0.conv.weight",
    speech.convert,
    speech.outputs,
  ),
  "syncnet": Layout(
    "netcnnlip.0.weight",
    lambda tensors, _: syncnet.convert(tensors),
    syncnet.outputs,
  ),
  "inception": Layout(
    inception.MARK,
    lambda tensors, _: inception.convert(tensors),
    inception.outputs,
  ),
  "atvg_at": Layout(
    atvg.AT_MARK, lambda tensors, _: atvg.convert_at(tensors), atvg.at_outputs
  ),
  "atvg_vg": Layout(
    atvg.VG_MARK, lambda tensors, _: atvg.convert_vg(tensors), atvg.vg_outputs
  ),
  "atvg_critic": Layout(
    atvg.CRITIC_MARK,
    lambda tensors, _: atvg.convert_critic(tensors),
    atvg.critic_outputs,
  ),
  "wav2lip_generator": Layout(
    wav2lip.GENERATOR_MARK,
    lambda tensors, _: wav2lip.convert_generator(tensors),
    wav2lip.generator_outputs,
  ),
  "wav2lip_expert": Layout(
    wav2lip.EXPERT_MARK,
    lambda tensors, _: wav2lip.convert_expert(tensors),
    wav2lip.expert_outputs,
  ),
  "wav2lip_critic": Layout(
    wav2lip.CRITIC_MARK,
    lambda tensors, _: wav2lip.convert_critic(tensors),
    wav2lip.critic_outputs,
  ),
  "fomm_keypoints": Layout(
    fomm.KEYPOINTS_MARK,
    lambda tensors, _: fomm.convert_keypoints(tensors),
    fomm.keypoints_outputs,
    shared=True,
  ),
  "fomm_generator": Layout(
    fomm.GENERATOR_MARK,
    lambda tensors, _: fomm.convert_generator(tensors),
    fomm.generator_outputs,
    shared=True,
  ),
  "eamm_hearing": Layout(
    eamm.HEARING_MARK,
    lambda tensors, _: eamm.convert_hearing(tensors),
    eamm.hearing_outputs,
  ),
}


def layout_of(tensors: Tensors, wanted: str | None = None) -> str:
  """Which of LAYOUTS a file has, by its keys.

  Args:
    tensors: What it holds.
    wanted: The one that is meant where the file holds several networks; None:
      the first.

  Raises:
    WeightsError: none of them.
  """
  held = [
    name
    for name, layout in LAYOUTS.items()
    if any(key.endswith(layout.mark) for key in tensors)
  ]
  if wanted in held and LAYOUTS[wanted].shared:
    return wanted
  if held:
    return held[0]
  first = next(iter(tensors), "nothing")
  raise WeightsError(
    f"{tensors.source}: holds {first} and so on, which is no layout of"
    f" {', '.join(LAYOUTS)}"
  )


class Loaded(NamedTuple):
  """Public weights as one of our networks takes them."""

  layout: str  # in LAYOUTS
  converted: Converted


def load(name: str, layout: str | None = None) -> Loaded:
  """Public weights, found, read and converted.

  Args:
    name: See `hub.find`; a file of `save` goes as well. Where a network is
      published in several files, all of them with commas between. A
      config.json beside the first is heeded.
    layout: In LAYOUTS, for a better message where another one is found; None:
      any.

  Raises:
    WeightsError: not found, damaged, unsafe, of another layout or unknown.
  """
  paths = [hub.find(part) for part in name.split(",")]
  tensors = _read(paths)
  ours = tensors.facts.get("format") == FORMAT
  actual = (
    tensors.facts.get("layout", "") if ours else layout_of(tensors, layout)
  )
  if layout not in (None, actual):
    raise WeightsError(
      f"{tensors.source}: weights of a {actual}, wanted {layout}"
    )
  if ours:
    return Loaded(actual, _ours(tensors))
  config = _config(paths[0].parent / "config.json")
  return Loaded(actual, LAYOUTS[actual].convert(tensors, config))


def save(path: Path, loaded: Loaded) -> None:
  """Writes converted weights for `load`, whole or not at all.

  Keys are such as `params/stem/kernel` and `head/bias`.

  Raises:
    WeightsError: there is such a file already.
  """
  if path.exists():
    raise WeightsError(f"{path}: is there already")
  converted = loaded.converted
  tree = {**converted.variables, "head": converted.head}
  flat = traverse_util.flatten_dict(tree, sep="/")
  facts = {
    "format": FORMAT,
    "layout": loaded.layout,
    "sizes": json.dumps(converted.sizes),
    "unused": json.dumps(converted.unused),
  }
  arrays = {key: np.ascontiguousarray(value) for key, value in flat.items()}
  path.parent.mkdir(parents=True, exist_ok=True)
  write(path, safetensors.numpy.save(arrays, facts))


def _read(paths: Sequence[Path]) -> Tensors:
  """What one file holds, or several together."""
  parts = [files.read(path) for path in paths]
  if len(parts) == 1:
    return parts[0]
  together: dict[str, np.ndarray] = {}
  for part in parts:
    for key in part:
      if key in together:
        raise WeightsError(f"{part.source}: {key} is in a file before it too")
      together[key] = part.peek(key)
  return Tensors(together, ",".join(part.source for part in parts))


def _ours(tensors: Tensors) -> Converted:
  """What `save` wrote."""
  flat = {key: tensors.take(key) for key in tensors}
  try:
    sizes = json.loads(tensors.facts["sizes"])
    unused = tuple(json.loads(tensors.facts["unused"]))
    sizes = {name: _frozen(size) for name, size in sizes.items()}
    tree = traverse_util.unflatten_dict(flat, sep="/")
  except (ValueError, KeyError, TypeError, AttributeError) as error:
    raise WeightsError(f"{tensors.source}: damaged ({error})") from error
  head = tree.pop("head", {})
  return Converted(tree, sizes, head, unused)


def _frozen(value: Any) -> Any:
  """JSON's lists as the tuples that they were."""
  return tuple(map(_frozen, value)) if isinstance(value, list) else value


def _config(path: Path) -> dict[str, Any]:
  """What a model says about itself; nothing if it says nothing."""
  if not path.is_file():
    return {}
  try:
    config = json.loads(path.read_bytes())
  except ValueError as error:
    raise WeightsError(f"{path}: damaged ({error})") from error
  if not isinstance(config, dict):
    raise WeightsError(f"{path}: holds no settings")
  return config
