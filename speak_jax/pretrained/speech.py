"""HuBERT and wav2vec 2.0 in Hugging Face's layout, into `Wav2vec`.

Read: HubertModel, Wav2Vec2Model, the CTC models and pretraining checkpoints of
both (prefix "hubert." or "wav2vec2."), base and large style.
"""

import re
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from einops import rearrange

from speak_jax.models.audio import WAVE_FRONTS, AudioEncoder, wave_sizes
from speak_jax.models.wav2vec import Hidden, Wav2vec
from speak_jax.pretrained.tensors import Converted, Tensors, WeightsError

PREFIXES = ("hubert.", "wav2vec2.")
HEAD_WIDTH = 64  # of an attention head, in every public size
# Of the convolutions, in every public size. Their number is not read off the
# file: without the last one it would still be a network.
KERNELS = (10, 3, 3, 3, 3, 2, 2)
STRIDES = (5, 2, 2, 2, 2, 2, 2)
# What the public networks all have and `Wav2vec` therefore has built in.
FIXED = {
  "hidden_act": "gelu",
  "feat_extract_activation": "gelu",
  "layer_norm_eps": 1e-5,
}
# What only pretraining needs; the first is the encoder's, the rest are beside.
MASKED = "masked_spec_embed"
PRETRAINING = ("quantizer.", "project_q.", "project_hid.")
CONVOLUTION = "feature_extractor.conv_layers."
PROJECTION = "feature_projection."
LAYER = "encoder.layers."
POSITION = "encoder.pos_conv_embed.conv."
# Length and direction of the positional kernel, as files spell them.
WEIGHT_NORM = (
  ("weight_g", "weight_v"),
  ("parametrizations.weight.original0", "parametrizations.weight.original1"),
)


def convert(
  tensors: Tensors, config: Mapping[str, Any] | None = None
) -> Converted:
  """A speech checkpoint as `Wav2vec` takes it.

  Args:
    tensors: As published.
    config: The entries of the checkpoint's config.json, of which three are
      read, because no shape tells them: num_attention_heads (else 64 channels
      a head), conv_stride (else that of the public sizes) and
      do_stable_layer_norm (else the style of the convolutions).

  Returns:
    `sizes` are `Wav2vec`'s attributes; `head` is a CTC model's "kernel" and
    "bias", or empty.

  Raises:
    WeightsError: a key is missing, unknown or has the wrong shape; sizes that
      the public networks do not have and `config` does not tell.
  """
  keys = tensors.keys()
  prefix = next(
    (p for p in PREFIXES if any(key.startswith(p) for key in keys)), ""
  )
  file = _File(tensors, prefix)
  sizes = _sizes(file, config or {})
  width, hidden = sizes["width"], sizes["hidden"]
  features = sizes["conv_channels"][-1]
  projection = {
    "projection": file.dense(f"{PROJECTION}projection", features, width)
  }
  if sizes["projection_norm"]:
    projection["layer_norm"] = file.norm(f"{PROJECTION}layer_norm", features)
  encoder = {
    "pos_conv_embed": _position(file, sizes),
    "layer_norm": file.norm("encoder.layer_norm", width),
  }
  for i in range(sizes["layers"]):
    encoder[f"layers_{i}"] = _layer(file, f"{LAYER}{i}", width, hidden)
  params = {
    "feature_extractor": _convolutions(file, sizes),
    "feature_projection": projection,
    "encoder": encoder,
  }
  head = {}
  if any(key.startswith("lm_head.") for key in keys):
    words = _shape(tensors, "lm_head.weight", 2)[0]
    head = _File(tensors, "").dense("lm_head", width, words)
  tensors.drop([prefix + MASKED])
  tensors.drop(key for key in keys if key.startswith(PRETRAINING))
  return Converted({"params": params}, sizes, head, tensors.finish())


def outputs(
  converted: Converted, inputs: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
  """What the public network says, in PyTorch's layout.

  Args:
    converted: Of `convert`.
    inputs: "audio" (b, s) float32, taken as it is, and perhaps
      "attention_mask" (b, s), 1 for sound.

  Returns:
    conv_features (b, c, n); hidden1, out of the first layer, and last, both
    (b, n, w); logits (b, n, v) if there is a head.
  """
  net = Wav2vec(**converted.sizes)
  mask = inputs.get("attention_mask")

  @jax.jit
  def run(variables: Any, head: Any, audio: Any, mask: Any) -> dict[str, Any]:
    heard = net.apply(variables, audio, mask)
    assert isinstance(heard, Hidden)
    states = {
      "conv_features": rearrange(heard.conv_features, "b n c -> b c n"),
      "hidden1": heard.states[1],
      "last": heard.last,
    }
    if head:
      states["logits"] = heard.last @ head["kernel"] + head["bias"]
    return states

  with jax.default_matmul_precision("highest"):
    states = run(
      converted.variables,
      converted.head,
      jnp.asarray(inputs["audio"], jnp.float32),
      None if mask is None else jnp.asarray(mask, bool),
    )
  return {name: np.asarray(value) for name, value in states.items()}


def encoder_params(
  converted: Converted, encoder: AudioEncoder, source: str
) -> dict[str, Any]:
  """The parameters that replace those of the same name in an AudioEncoder's.

  Args:
    converted: Of `convert`.
    encoder: Of which the parameters are.
    source: The file, for messages.

  Returns:
    {"front": tree}; "out" stays the encoder's own.

  Raises:
    WeightsError: the network is another one than the encoder's front.
  """
  if encoder.front not in WAVE_FRONTS:
    raise WeightsError(
      f"{source}: a speech network does not fit front {encoder.front!r}"
    )
  sizes = wave_sizes(
    encoder.front, encoder.width, encoder.layers, encoder.heads
  )
  wanted = Wav2vec(**sizes)
  for name, size in converted.sizes.items():
    if getattr(wanted, name) != size:
      raise WeightsError(
        f"{source}: {name} is {size}, the audio encoder's is "
        f"{getattr(wanted, name)}"
      )
  return {"front": converted.variables["params"]}


class _File:
  """Parts of a checkpoint by their key without the prefix."""

  def __init__(self, tensors: Tensors, prefix: str):
    self.tensors = tensors
    self.prefix = prefix
    self.keys = tensors.keys()

  def shape(self, key: str, rank: int) -> tuple[int, ...]:
    return _shape(self.tensors, self.prefix + key, rank)

  def take(self, key: str, shape: tuple[int, ...]) -> np.ndarray:
    return self.tensors.take(self.prefix + key, shape)

  def norm(self, key: str, width: int) -> dict[str, np.ndarray]:
    return {
      "scale": self.take(f"{key}.weight", (width,)),
      "bias": self.take(f"{key}.bias", (width,)),
    }

  def dense(self, key: str, inner: int, outer: int) -> dict[str, np.ndarray]:
    return {
      "kernel": self.take(f"{key}.weight", (outer, inner)).T,
      "bias": self.take(f"{key}.bias", (outer,)),
    }

  def has(self, start: str, end: str = "") -> bool:
    """Whether there is a key with this beginning and end."""
    return any(
      key.startswith(self.prefix + start) and key.endswith(end)
      for key in self.keys
    )

  def count(self, start: str) -> int:
    """How many parts the keys number from 0 after this beginning, or 1."""
    pattern = re.compile(re.escape(self.prefix + start) + r"([0-9]{1,3})\.")
    matches = map(pattern.match, self.keys)
    return 1 + max((int(match[1]) for match in matches if match), default=0)

  def error(self, reason: str) -> WeightsError:
    return WeightsError(f"{self.tensors.source}: {reason}")


def _shape(tensors: Tensors, key: str, rank: int) -> tuple[int, ...]:
  """Shape of a tensor of so many axes, none of them empty."""
  shape = tensors.shape(key)
  if len(shape) != rank or 0 in shape:
    raise WeightsError(
      f"{tensors.source}: {key} has shape {shape}, wanted {rank} axes"
    )
  return shape


def _sizes(file: _File, config: Mapping[str, Any]) -> dict[str, Any]:
  """Attributes of `Wav2vec`."""
  for name, value in FIXED.items():
    if name in config and config[name] != value:
      raise file.error(f"{name} {config[name]!r} is not {value!r}")
  strides = _strides(file, config.get("conv_stride"))
  kernels = [
    file.shape(f"{CONVOLUTION}{i}.conv.weight", 3) for i in range(len(strides))
  ]
  conv_sizes = tuple(shape[2] for shape in kernels)
  if config.get("conv_stride") is None and conv_sizes != KERNELS:
    raise file.error(
      f"kernel sizes {conv_sizes} are not public: conv_stride must be given"
    )
  width = file.shape(f"{PROJECTION}projection.weight", 2)[0]
  inner, position = file.shape(POSITION + _weight_norm(file)[1], 3)[1:]
  if width % inner:
    raise file.error(f"{width} channels are no groups of {inner}")
  by_layer = any(
    file.has(f"{CONVOLUTION}{i}.layer_norm.") for i in range(1, len(kernels))
  )
  stable = config.get("do_stable_layer_norm")
  return dict(
    width=width,
    layers=file.count(LAYER),
    heads=_heads(file, width, config.get("num_attention_heads")),
    hidden=file.shape(f"{LAYER}0.feed_forward.intermediate_dense.weight", 2)[0],
    conv_channels=tuple(shape[0] for shape in kernels),
    conv_sizes=conv_sizes,
    conv_strides=strides,
    conv_bias=file.has(CONVOLUTION, ".conv.bias"),
    conv_norm="layer" if by_layer else "group",
    projection_norm=file.has(f"{PROJECTION}layer_norm."),
    pre_norm=by_layer if stable is None else bool(stable),
    position_size=position,
    position_groups=width // inner,
  )


def _heads(file: _File, width: int, heads: Any) -> int:
  """Attention heads: as told, or of the public width."""
  if heads is None:
    if width % HEAD_WIDTH:
      raise file.error(
        f"width {width} is no public one: num_attention_heads must be given"
      )
    return width // HEAD_WIDTH
  if not isinstance(heads, int) or heads < 1 or width % heads:
    raise file.error(f"num_attention_heads {heads!r} does not divide {width}")
  return heads


def _strides(file: _File, strides: Any) -> tuple[int, ...]:
  """Convolutions' strides: as told, or the public ones."""
  if strides is None:
    return STRIDES
  if (
    not isinstance(strides, list | tuple)
    or not strides
    or not all(isinstance(stride, int) and stride > 0 for stride in strides)
  ):
    raise file.error(f"conv_stride {strides!r} is no list of strides")
  return tuple(strides)


def _convolutions(file: _File, sizes: dict[str, Any]) -> dict[str, Any]:
  """The feature extractor's parameters."""
  layers, inner = {}, 1
  for i, (channels, size) in enumerate(
    zip(sizes["conv_channels"], sizes["conv_sizes"], strict=True)
  ):
    at = f"{CONVOLUTION}{i}"
    kernel = file.take(f"{at}.conv.weight", (channels, inner, size))
    layer = {"conv": {"kernel": rearrange(kernel, "o i k -> k i o")}}
    if sizes["conv_bias"]:
      layer["conv"]["bias"] = file.take(f"{at}.conv.bias", (channels,))
    if sizes["conv_norm"] == "layer" or i == 0:
      layer["layer_norm"] = file.norm(f"{at}.layer_norm", channels)
    layers[f"conv_layers_{i}"] = layer
    inner = channels
  return layers


def _layer(file: _File, at: str, width: int, hidden: int) -> dict[str, Any]:
  """A transformer layer's parameters."""
  feed = f"{at}.feed_forward"
  return {
    "attention": {
      name: file.dense(f"{at}.attention.{name}", width, width)
      for name in ("q_proj", "k_proj", "v_proj", "out_proj")
    },
    "layer_norm": file.norm(f"{at}.layer_norm", width),
    "intermediate": file.dense(f"{feed}.intermediate_dense", width, hidden),
    "output": file.dense(f"{feed}.output_dense", hidden, width),
    "final_layer_norm": file.norm(f"{at}.final_layer_norm", width),
  }


def _weight_norm(file: _File) -> tuple[str, str]:
  """How the file spells length and direction of the positional kernel."""
  for spelling in WEIGHT_NORM:
    if any(file.has(POSITION + name) for name in spelling):
      return spelling
  return WEIGHT_NORM[0]


def _position(file: _File, sizes: dict[str, Any]) -> dict[str, np.ndarray]:
  """The positional convolution with its weight norm folded.

  The kernel at each offset in time has a length of its own: the norm runs over
  output and input channels.
  """
  length, direction = (POSITION + name for name in _weight_norm(file))
  width, size = sizes["width"], sizes["position_size"]
  inner = width // sizes["position_groups"]
  gain = file.take(length, (1, 1, size)).astype(float)
  kernel = file.take(direction, (width, inner, size)).astype(float)
  norm = np.sqrt((kernel**2).sum((0, 1), keepdims=True))
  if not norm.all():
    raise file.error(f"{file.prefix}{direction} has a direction of length 0")
  kernel = (gain / norm * kernel).astype(np.float32)
  return {
    "kernel": rearrange(kernel, "o i k -> k i o"),
    "bias": file.take(f"{POSITION}bias", (width,)),
  }
