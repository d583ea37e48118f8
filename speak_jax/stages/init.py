"""The networks of a config, and fresh parameters for them."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
from ml_collections import ConfigDict

from speak_jax.models.build import Networks, build
from speak_jax.nn.pixels import with_frames
from speak_jax.stages import base, batch_shapes, emotion_input
from speak_jax.stages.base import Group, Groups

RESNETS = ("identity_net", "pose_net", "emotion_net")  # E_i, E_p, E_e


def networks(config: ConfigDict) -> Networks:
  """Builds the networks of a run's config; they hold no parameters."""
  return build(
    config.model,
    fps=config.data.fps,
    remat=config.train.remat,
    freeze_features=fixed_convolutions(config),
  )


def fixed_convolutions(config: Any) -> bool:
  """Says whether E_a's convolutions over the waveform get no gradient.

  Raises:
    ValueError: an unknown word in config.speak.convolutions.
  """
  word = config.speak.convolutions
  if word not in ("auto", "fixed", "trained"):
    raise ValueError(
      f"config.speak.convolutions {word!r} is not auto, fixed or trained"
    )
  return bool(config.pretrained.speech) if word == "auto" else word == "fixed"


def initialise(
  module: nn.Module, seed: int, group: str, *args: Any, **kwargs: Any
) -> Group:
  """Makes a network's fresh (params, other collections), without running it.

  Initialisers run one by one and the forward pass not at all: a compiled
  `init` costs half a minute for a deep network.

  Args:
    module: The network.
    seed: The run's; the same seed gives the same parameters everywhere.
    group: Name of the group; it picks the random stream.
    *args: Inputs of the network, as jax.ShapeDtypeStructs.
    **kwargs: Static arguments of the network.
  """
  key = jax.random.fold_in(jax.random.key(seed), _number(group))
  streams = ("params", "noise", "dropout")
  keys: Any = dict(zip(streams, jax.random.split(key, 3), strict=True))
  run = lambda bound, *inputs: bound(*inputs, **kwargs)  # noqa: E731
  variables = dict(module.lazy_init(keys, *args, method=run))
  return variables.pop("params", {}), variables


def initialise_encoders(
  config: ConfigDict, nets: Networks, seed: int, earlier: Mapping[str, Group]
) -> tuple[Group, Any, Any]:
  """Takes or makes group "encoders", and traces what it makes of two pairs.

  Args:
    config: The run's.
    nets: Its networks.
    seed: The run's.
    earlier: Groups that were trained before: "encoders" is used as it is,
      "resnet" in place of each ResNet of a fresh one.

  Returns:
    The group, then the shapes of IdentityFeatures and of Codes.
  """
  pair = jax.eval_shape(with_frames, batch_shapes.pairs(config, 2))
  side = emotion_input.side(config)
  pair = pair._replace(emotion=batch_shapes.float32(2, side, side, 3))
  group = earlier.get("encoders")
  if group is None:
    group = initialise(nets.encoders, seed, "encoders", pair, train=False)
    if "resnet" in earlier:
      group = _with_resnets(group, earlier["resnet"])
  params, collections = group
  features, codes = jax.eval_shape(
    lambda *groups: base.apply(nets.encoders, "encoders", *groups),
    {"encoders": params},
    {"encoders": collections},
    pair,
  )
  return group, features, codes


def split_kinds(groups: Mapping[str, Group]) -> tuple[Groups, Groups]:
  """Splits groups into {group: params} and {group: other collections}."""
  return (
    {name: params for name, (params, _) in groups.items()},
    {name: collections for name, (_, collections) in groups.items()},
  )


def _with_resnets(encoders: Group, resnet: Group) -> Group:
  """Group "encoders" with E_i, E_p and E_e on the same public ResNet-50."""
  params, collections = encoders
  nets = {name for name in RESNETS if name in params}
  return (
    params | dict.fromkeys(nets, resnet[0]),
    collections
    | {
      name: collections[name] | dict.fromkeys(nets, tree)
      for name, tree in resnet[1].items()
    },
  )


def _number(name: str) -> int:
  """A number for a name, the same in every process."""
  return int.from_bytes(name.encode(), "big") % (2**31 - 1)
