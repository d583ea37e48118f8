"""Our networks beside their twins: sizes, inputs, and how each is called."""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import torch
from ml_collections import ConfigDict

from configs import atvg as atvg_configs
from configs import eamm as eamm_configs
from configs import speak as speak_configs
from configs import wav2lip as wav2lip_configs
from speak_jax.models.build import build
from speak_jax.models.fomm import Keypoints
from speak_jax.models.irfd import IdentityFeatures
from speak_jax.nn import mel
from speak_jax.nn.resnet import ResNet
from speak_jax.stages import atvg as atvg_stage
from speak_jax.stages import batch_shapes, wav2lip_paint, wav2lip_sync
from speak_jax.stages import fomm as fomm_stage
from tests.benchmarks.peers import (
  atvg,
  fomm,
  generator,
  resnet,
  syncnet,
  wav2lip,
)
from tests.plain_face import plain_face

LANDMARKS = 68


class Goals(NamedTuple):
  """How many times as fast as PyTorch a network is to be."""

  forward: float = 1.3
  step: float = 1.1


SAME = Goals(1.0, 1.0)


class Input(NamedTuple):
  """An argument without its batch; drawn evenly about a middle."""

  shape: tuple[int, ...]
  picture: bool = False  # whose channels PyTorch has first
  middle: Any = 0.0
  reach: float = 1.0


class Peer(NamedTuple):
  """A network of ours, and what makes its twin.

  Attributes:
    name: With the preset behind a colon.
    net: Ours.
    inputs: Of both; the twin has the channels of pictures first.
    call: (net, *inputs, train) -> our outputs; the twin gives the same.
    twin: Makes it, without weights.
    goals: Of its speed.
  """

  name: str
  net: nn.Module
  inputs: tuple[Input, ...]
  call: Callable[..., tuple[Any, ...]]
  twin: Callable[[], torch.nn.Module]
  goals: Goals = Goals()


def picture(*shape: int) -> Input:
  """A map, height, width and channels."""
  return Input(shape, picture=True)


def drawn(inputs: tuple[Input, ...], batch: int) -> tuple[np.ndarray, ...]:
  """Inputs of so many examples, float32."""
  rng = np.random.default_rng(0)
  return tuple(
    (x.middle + x.reach * rng.uniform(-1, 1, (batch, *x.shape))).astype(
      np.float32
    )
    for x in inputs
  )


def fresh(peer: Peer) -> Any:
  """Our weights, none of which is 0.

  Fresh biases, gains and statistics say nothing of whether a twin uses them,
  and layers that begin at 0 nothing of what lies before.
  """
  inputs = drawn(peer.inputs, 2)
  variables = jax.jit(
    lambda key, inputs: peer.net.init(
      key, *inputs, train=False, method=peer.call
    )
  )(jax.random.key(0, impl="unsafe_rbg"), inputs)
  rng = np.random.default_rng(1)

  def moved(x: jax.Array) -> np.ndarray:
    # Variances stay above 0.
    return (x + 0.05 * rng.uniform(0.1, 1, x.shape)).astype(np.float32)

  return jax.tree.map(
    lambda x: moved(x) if x.ndim < 2 or not x.any() else np.asarray(x),
    variables,
  )


def residual(name: str, net: ResNet, side: int) -> Peer:
  """A residual network up to its pooled vector."""
  return Peer(
    name,
    net,
    (picture(side, side, 3),),
    lambda net, frames, train: (net(frames, train).pooled,),
    lambda: resnet.ResNet(net),
  )


def encoder(name: str, config: ConfigDict) -> Peer:
  """E_i of IRFD, without its head; E_p and E_e are shaped as it."""
  model = config.model
  net = ResNet(
    tuple(model.encoder.stages),
    model.encoder.width,
    model.encoder.bottleneck,
    model.encoder.stem,
    model.norm,
  )
  return residual(name, net, model.image)


def speak(name: str, config: ConfigDict) -> Peer:
  """G_g: an encoded picture, codes and an edited latent to a frame."""
  model = config.model
  nets = build(model)
  shape = jax.ShapeDtypeStruct
  side = model.image
  frames = shape((1, side, side, 3), jnp.float32)
  points = shape((1, LANDMARKS, 2), jnp.float32)
  encoders = nets.encoders
  features, _ = jax.eval_shape(
    lambda key, *args: encoders.init_with_output(
      key, *args, method=encoders.portrait
    ),
    jax.random.key(0),
    frames,
    points,
  )
  codes = model.codes
  widths = codes.identity, codes.pose, codes.emotion, model.audio.out
  maps = {x.shape[1]: x.shape[-1] for x in features.maps}
  net = nets.speak.bind({}).generator.clone(parent=None, name=None)

  def call(net: Any, *arrays: Any, train: bool) -> tuple[Any, ...]:
    del train  # it makes no difference
    identity, pose, emotion, points, *told = arrays[:9]
    features = IdentityFeatures(identity, pose, arrays[9:], points, emotion)
    return (net(features, *told).frames,)

  numbers = [(codes.identity,), (codes.pose,), (codes.emotion,)]
  told = [*numbers[1:], (model.audio.out,), (model.latent,)]
  told.append((len(net.channels), model.latent))
  return Peer(
    name,
    net,
    (
      *map(Input, numbers),
      Input((LANDMARKS, 2), middle=2 * plain_face() - 1, reach=0.02),
      *map(Input, told),
      *(picture(size, size, count) for size, count in maps.items()),
    ),
    call,
    lambda: generator.Generator(net, widths, maps),
  )


def sync(name: str, config: ConfigDict) -> Peer:
  """SyncNet, from a window's pictures and the spectrum of its sound on."""
  net = build(config.model).sync
  window = batch_shapes.window_pictures(config)
  spectrum = batch_shapes.window_samples() // mel.HOP, mel.BINS
  return Peer(
    name,
    net,
    (Input(window), Input(spectrum)),
    lambda net, mouth, spectra, train: (
      net.see(mouth),
      net.sound(spectra[..., None]),
    ),
    lambda: syncnet.SyncNet(net, window, spectrum),
  )


def paint(name: str, config: ConfigDict) -> Peer:
  """Wav2Lip's generator."""
  net = wav2lip_paint.generator(config)
  return Peer(
    name,
    net,
    (picture(net.size, net.size, 6), Input((80, 16))),
    lambda net, faces, mel, train: (net(faces, mel, train),),
    lambda: wav2lip.Generator(net),
    SAME,
  )


def expert(name: str, config: ConfigDict) -> Peer:
  """Wav2Lip's expert, SyncNet_color."""
  net = wav2lip_sync.expert(config)
  return Peer(
    name,
    net,
    (picture(net.size // 2, net.size, 15), Input((80, 16))),
    lambda net, below, mel, train: net(below, mel, train),
    lambda: wav2lip.SyncExpert(net),
    SAME,
  )


def keypoints(name: str, config: ConfigDict) -> Peer:
  """FOMM's keypoint detector."""
  net, side = fomm_stage.detector(config), config.model.image
  return Peer(
    name,
    net,
    (picture(side, side, 3),),
    lambda net, frames, train: tuple(net(frames, train).keypoints),
    lambda: fomm.KeypointDetector(net),
  )


def motion(name: str, config: ConfigDict) -> Peer:
  """FOMM's generator with its dense motion."""
  net, side = fomm_stage.generator(config), config.model.image
  count = config.model.keypoints
  points = Input((count, 2), reach=0.7)
  turns = Input((count, 2, 2), middle=np.eye(2), reach=0.2)

  def call(net: Any, frames: Any, *where: Any, train: bool) -> tuple[Any, ...]:
    source, driving = Keypoints(*where[:2]), Keypoints(*where[2:])
    return (net(frames, source, driving, train).frames,)

  return Peer(
    name,
    net,
    (picture(side, side, 3), points, turns, points, turns),
    call,
    lambda: fomm.Generator(net, count),
  )


def video(name: str, config: ConfigDict) -> Peer:
  """ATVG's VG-net, a clip of frames an example."""
  net, side = atvg_stage.vg_net(config), config.model.image
  where = (LANDMARKS, 2)

  def call(net: Any, *arrays: Any, train: bool) -> tuple[Any, ...]:
    frames = net(*arrays, train=train).frames
    return (frames.reshape(-1, *frames.shape[2:]),)

  return Peer(
    name,
    net,
    (
      picture(side, side, 3),
      Input(where),
      Input((config.model.frames, *where)),
    ),
    call,
    lambda: atvg.VGNet(net, LANDMARKS),
  )


class Kind(NamedTuple):
  """Networks of one shape: what makes them, and which presets are measured."""

  make: Callable[[str, ConfigDict], Peer]
  configs: Callable[[str], ConfigDict]
  presets: tuple[str, ...]


KINDS = {
  "resnet50": Kind(encoder, speak_configs.get_config, ("paper",)),
  "encoder": Kind(encoder, speak_configs.get_config, ("small64", "base256")),
  "generator": Kind(speak, speak_configs.get_config, ("small64", "base256")),
  "syncnet": Kind(sync, speak_configs.get_config, ("small64", "base256")),
  "wav2lip": Kind(paint, wav2lip_configs.get_config, ("small64", "base")),
  "wav2lip_expert": Kind(
    expert, wav2lip_configs.get_config, ("small64", "base")
  ),
  "fomm_keypoints": Kind(
    keypoints, eamm_configs.get_config, ("small64", "base")
  ),
  "fomm_generator": Kind(motion, eamm_configs.get_config, ("small64", "base")),
  "atvg": Kind(video, atvg_configs.get_config, ("small64", "base")),
}
NAMES = tuple(f"{kind}:{x}" for kind in KINDS for x in KINDS[kind].presets)


def peer(name: str) -> Peer:
  """A network by "kind:preset", computed in float32."""
  kind, _, preset = name.partition(":")
  config = KINDS[kind].configs(f"{preset},model.dtype=float32")
  return KINDS[kind].make(name, config)


def chosen(words: str) -> list[str]:
  """Names of what is asked for: kinds, or kinds of one preset.

  Args:
    words: With commas between them; "" for all.

  Raises:
    ValueError: an unknown one.
  """
  asked = words.split(",") if words else list(KINDS)
  if unknown := set(asked) - set(KINDS) - set(NAMES):
    raise ValueError(
      f"no network {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}"
    )
  return [x for x in NAMES if x in asked or x.partition(":")[0] in asked]
