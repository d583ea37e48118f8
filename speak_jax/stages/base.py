"""What a stage is: groups of parameters, optimizers, phases of pure losses.

A group without an optimizer that names it is frozen. One loop
(`training/loop.py`) serves every stage described this way.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, Int16, PRNGKeyArray, UInt8
from ml_collections import ConfigDict

from speak_jax import spec
from speak_jax.losses import disentangle, flow
from speak_jax.models.build import Networks, build
from speak_jax.models.geometry import Shape
from speak_jax.nn import precision, treat
from speak_jax.nn.align import align_face

FEW = 4  # examples; a deviation over fewer does not tell a dead code
RESNETS = ("identity_net", "pose_net", "emotion_net")  # E_i, E_p, E_e

Groups = dict[str, Any]  # {group: tree of arrays}
Metrics = dict[str, Float[Array, ""]]


class LossOut(NamedTuple):
  """What a phase's loss returns."""

  loss: Float[Array, ""]
  metrics: Metrics  # unweighted terms and what else is worth a curve
  # Changed mutable collections, {group: {collection: tree}}: an update keeps
  # their mean over its microbatches.
  vars: Groups


@runtime_checkable
class LossFn(Protocol):
  """A pure loss: no I/O, no globals, no randomness but `key`.

  Its batch is a microbatch.
  """

  def __call__(
    self,
    params: Groups,
    vars: Groups,
    batch: Any,
    step: Int[Array, ""],
    key: PRNGKeyArray,
    /,
  ) -> LossOut:
    """Loss of one batch; differentiated by the optimizer's groups alone."""
    ...


class Optim(NamedTuple):
  """An optimizer and the groups that it alone trains."""

  trains: tuple[str, ...]
  tx: optax.GradientTransformation
  # {name in the log: schedule}, each a function of the updates done so far.
  rates: Mapping[str, optax.Schedule] = {}


class Phase(NamedTuple):
  """One update: which loss, by which optimizer, how often, from when on."""

  name: str
  optim: str
  loss: LossFn
  every: int = 1  # steps
  start: int = 0  # updates of the stage before its first

  def due(self, step: int) -> bool:
    """Whether it runs in the update that follows `step` others."""
    return step >= self.start and step % self.every == 0


class Scaling(NamedTuple):
  """Of losses, where networks compute in float16; `training/scaling.py`."""

  initial: float  # first factor
  growth: int  # good updates until it doubles


class Stage(NamedTuple):
  """One training stage."""

  name: str
  # (seed, earlier groups {group: (params, vars)}) -> (params, vars); a group
  # of `takes` that is not given is initialised like the others.
  init: Callable[[int, Mapping[str, tuple[Any, Any]]], tuple[Groups, Groups]]
  takes: dict[str, str]  # {group: the earlier stage that trained it}
  optims: dict[str, Optim]
  phases: tuple[Phase, ...]
  averaged: tuple[str, ...]  # groups with an EMA
  decay: float  # of that EMA
  batch: Any  # a batch as jax.ShapeDtypeStructs
  # Examples that a loss sees, and may compare; a device holds so many at once.
  microbatch: int
  # (params, vars, batch) -> {name: uint8 (rows, columns, h, w, 3)}
  inspect: Callable[[Groups, Groups, Any], dict[str, Array]]
  public: tuple[str, ...] = ()  # of config.pretrained, what it can start from
  together: int = 1  # a microbatch is a multiple of it; 2: examples swap
  scaling: Scaling | None = None  # None: losses are differentiated as they are
  notes: tuple[str, ...] = ()  # said once at the start


def scaling(config: ConfigDict) -> Scaling | None:
  """How losses are scaled: in float16 alone."""
  settings = Scaling(**config.train.loss_scale)
  half = precision.resolve(config.model.dtype) == "float16"
  return settings if half else None


def flows(config: ConfigDict) -> bool:
  """Whether the generators warp identity maps, and so have a flow."""
  model = config.model
  return bool(model.flow and model.maps and model.ablate != "identity")


def unsupervised(config: ConfigDict) -> dict[str, float]:
  """Weights of 0 for the losses on a geometry that the config has not."""
  if not flows(config):
    return {"flow": 0.0, "expression": 0.0}
  return {} if config.model.landmarks else {"expression": 0.0}


def misplaced(
  shape: Shape,
  source: Float[Array, "b 68 2"],
  target: Float[Array, "b 68 2"],
  size: int,
) -> Float[Array, "b"]:
  """How far a generator's geometry misses the landmarks; see `losses.flow`.

  Args:
    shape: Its predicted landmarks are asked, or its flow where it has none.
    source: Landmarks of the identity picture in pixels.
    target: Of the frame to be made.
    size: Side of both pictures.
  """
  if isinstance(shape.landmarks, tuple):
    return flow.landmark_flow(shape.flow, source, target, size)
  return flow.landmark_error(shape.landmarks, target, size)


def as_frames(pixels: UInt8[Array, "*b h w c"]) -> Float[Array, "*b h w c"]:
  """Bytes, RGB or grey, to float in [-1, 1], on the device."""
  return pixels.astype(jnp.float32) / 127.5 - 1.0


def as_bytes(frames: Float[Array, "*b h w 3"]) -> UInt8[Array, "*b h w 3"]:
  """Float RGB to bytes; what lies outside [-1, 1] is clipped."""
  scaled = jnp.round((frames.astype(jnp.float32) + 1.0) * 127.5)
  return jnp.clip(scaled, 0.0, 255.0).astype(jnp.uint8)


def as_audio(samples: Int16[Array, "*b s"]) -> Float[Array, "*b s"]:
  """16-bit samples to float in [-1, 1), on the device."""
  return samples.astype(jnp.float32) / 32768.0


def total(
  terms: Mapping[str, Callable[[], Float[Array, "..."]]],
  weights: Mapping[str, float],
  ramps: Mapping[str, Float[Array, ""]] | None = None,
) -> tuple[Float[Array, ""], Metrics]:
  """Weighted sum of the terms' means; a term of weight 0 is never called.

  Args:
    terms: {name: function of nothing giving per-example values or a scalar}.
    weights: {name: weight}, the same names.
    ramps: Factors of some weights, in [0, 1].

  Returns:
    The sum, and each term's unweighted mean by name.

  Raises:
    ValueError: the two sets of names differ.
  """
  if set(terms) != set(weights):
    odd = ", ".join(sorted(set(terms) ^ set(weights)))
    raise ValueError(f"terms and weights do not name the same losses: {odd}")
  ramps = ramps or {}
  loss, metrics = jnp.zeros((), jnp.float32), {}
  for name, term in terms.items():
    if weights[name]:
      value = term().astype(jnp.float32).mean()
      loss += weights[name] * ramps.get(name, 1.0) * value
      metrics[name] = value
  return loss, metrics


def ramp(step: Int[Array, ""], span: tuple[int, int]) -> Float[Array, ""]:
  """0 before the span of steps, 1 after it, straight between."""
  start, stop = span
  return jnp.clip((step - start + 1) / max(stop - start, 1), 0.0, 1.0)


def spread(code: Float[Array, "... d"]) -> Float[Array, ""]:
  """Mean over the width of a code's std over all the rest: 0 = collapsed."""
  flat = code.astype(jnp.float32).reshape(-1, code.shape[-1])
  return jax.lax.stop_gradient(flat.std(0).mean())


def spreads(codes: Mapping[str, Array]) -> Metrics:
  """`spread` of each code, under a name that says what hangs on it.

  "std/NAME" of `FEW` examples or more: training ends if it comes near 0.
  "spread/NAME" of fewer, which is for the curve alone: over the frames of one
  clip a healthy code hardly varies.

  Args:
    codes: The first axis is a microbatch's examples, which are independent;
      what follows it belongs to one of them.
  """
  found = {}
  for name, code in codes.items():
    kind = "std" if code.shape[0] >= FEW else "spread"
    found[f"{kind}/{name}"] = spread(code)
  return found


def comparing(
  weights: Mapping[str, float], examples: int
) -> Mapping[str, float]:
  """Weights without `covariance` where too few examples are compared.

  Args:
    weights: Of a loss's terms.
    examples: That it has before it at once, a microbatch.
  """
  few = examples < disentangle.ENOUGH
  return {**weights, "covariance": 0.0} if few else weights


def few_notes(weights: Mapping[str, float], examples: int) -> list[str]:
  """What `comparing` leaves out, to be said at the start."""
  if weights["covariance"] == comparing(weights, examples)["covariance"]:
    return []
  return [
    f"covariance is off: {examples} examples are compared at once, fewer than"
    f" {disentangle.ENOUGH} give noise"
  ]


def adam(
  trains: tuple[str, ...],
  settings: Any,
  steps: int,
  factors: Mapping[str, float] | None = None,
  momenta: Mapping[str, float] | None = None,
) -> Optim:
  """Adam, clipped, with a linear rise and a cosine fall over `steps`.

  Args:
    trains: Groups to train.
    settings: lr, warmup (steps; never more than a tenth of `steps`), floor,
      b1, b2, clip.
    steps: Updates until the learning rate has come down to `floor`.
    factors: {path prefix: factor of the learning rate}, as in
      {"speak/audio": 0.05}: group, then modules. The longest prefix counts;
      what none fits learns at the full rate.
    momenta: The same with b1 in place of the factor.

  Raises:
    ValueError: a factor below 0.
  """
  factors = dict(factors or {})
  for prefix, factor in factors.items():
    if factor < 0:
      raise ValueError(f"learning rate of {prefix!r} times {factor} < 0")
  warmup = min(settings.warmup, steps // 10)
  lr, floor = settings.lr, settings.floor

  def rate(count):
    rise = jnp.minimum((count + 1) / (warmup + 1), 1.0)
    share = jnp.clip((count - warmup) / max(steps - warmup, 1), 0.0, 1.0)
    fall = floor + (1 - floor) * 0.5 * (1 + jnp.cos(math.pi * share))
    return lr * rise * fall

  clip = settings.clip
  tx = optax.chain(
    optax.clip_by_global_norm(clip) if clip else optax.identity(),
    # The state is that of optax.adam.
    optax.chain(
      _moments(settings, momenta or {}), optax.scale_by_learning_rate(rate)
    ),
  )
  rates = {"lr": rate} | {
    f"lr/{prefix}": lambda count, factor=factor: factor * rate(count)
    for prefix, factor in factors.items()
  }
  return Optim(trains, _scaled(tx, factors), rates)


def _moments(
  settings: Any, momenta: Mapping[str, float]
) -> optax.GradientTransformation:
  """Adam without its learning rate, with another b1 below some paths."""
  adams = {
    b1: optax.scale_by_adam(b1=b1, b2=settings.b2)
    for b1 in {settings.b1, *momenta.values()}
  }
  if len(adams) == 1:
    return adams[settings.b1]

  def choose(params):
    def of(path, _):
      return _value_at(path, momenta, settings.b1)

    return jax.tree_util.tree_map_with_path(of, params)

  return optax.partition(adams, choose)


def _below(path: Any, prefixes: Iterable[str]) -> list[str]:
  """The prefixes that fit a path: group, then modules."""
  name = jax.tree_util.keystr(path, simple=True, separator="/")
  return [p for p in prefixes if f"{name}/".startswith(f"{p}/")]


def _value_at(path: Any, values: Mapping[str, float], default: float) -> float:
  """The value of the longest prefix that fits a path."""
  prefixes = _below(path, values)
  return values[max(prefixes, key=len)] if prefixes else default


def _scaled(
  tx: optax.GradientTransformation, factors: Mapping[str, float]
) -> optax.GradientTransformation:
  """An optimizer with the updates below some paths scaled; the same state.

  Raises:
    ValueError: in `init`, a path that no array of the parameters is below.
  """
  if not factors:
    return tx

  def init(params):
    paths = [path for path, _ in jax.tree_util.tree_leaves_with_path(params)]
    for prefix in factors:
      if not any(_below(path, [prefix]) for path in paths):
        raise ValueError(f"learning rate of {prefix!r}: no such parameters")
    return tx.init(params)

  def update(updates, state, params=None):
    updates, state = tx.update(updates, state, params)

    def scale(path, x):
      return x * _value_at(path, factors, 1.0)

    return jax.tree_util.tree_map_with_path(scale, updates), state

  return optax.GradientTransformation(init, update)


def networks(config: Any) -> Networks:
  """The networks of a run's config."""
  return build(
    config.model,
    fps=config.data.fps,
    remat=config.train.remat,
    freeze_features=fixed_convolutions(config),
  )


def fixed_convolutions(config: Any) -> bool:
  """Whether E_a's convolutions over the waveform get no gradient.

  Raises:
    ValueError: an unknown word in config.speak.convolutions.
  """
  word = config.speak.convolutions
  if word not in ("auto", "fixed", "trained"):
    raise ValueError(
      f"config.speak.convolutions {word!r} is not auto, fixed or trained"
    )
  return bool(config.pretrained.speech) if word == "auto" else word == "fixed"


def struct(shape: tuple[int, ...], dtype: Any = jnp.float32) -> Any:
  """The shape of an array, for what is traced and not run."""
  return jax.ShapeDtypeStruct(shape, dtype)


def pair_shapes(config: ConfigDict, n: int) -> Any:
  """Shapes of n IRFD pairs as the sampler makes them, pictures in bytes."""
  model = config.model
  picture = lambda side: struct((n, side, side, 3), jnp.uint8)  # noqa: E731
  label: Any = struct((n,), jnp.int32)
  flag: Any = struct((n,), jnp.bool_)
  return spec.Pair(
    identity=picture(model.image),
    identity_landmarks=struct((n, 68, 2)),
    pose=picture(model.image),
    emotion=picture(model.image),
    emotion_landmarks=struct((n, 68, 2)),
    mouth=picture(model.mouth),
    target=picture(model.image),
    target_landmarks=struct((n, 68, 2)),
    target_pose=struct((n, 3)),
    emotion_label=label,
    identity_label=label,
    donor=picture(spec.donor_side(model.image)),
    donor_landmarks=struct((n, 68, 2)),
    lends=flag,
    treated=flag,
  )


def face_side(config: Any) -> int:
  """Side in pixels of what E_e sees: aligned faces, or whole frames.

  Raises:
    ValueError: an unknown word in config.model.emotion_input.
  """
  model = config.model
  if model.emotion_input not in ("face", "frame"):
    raise ValueError(
      f"config.model.emotion_input {model.emotion_input!r} is not face or frame"
    )
  return model.image if model.emotion_input == "frame" else model.face


def faces(
  config: Any,
  frames: Float[Array, "b h w 3"],
  landmarks: Float[Array, "b 68 2"],
) -> Float[Array, "b f f 3"]:
  """What E_e sees of frames, when nothing is changed."""
  if config.model.emotion_input == "frame":
    return frames
  return align_face(frames, landmarks, config.model.face)


def treated_faces(
  config: Any,
  frames: Float[Array, "b h w 3"],
  landmarks: Float[Array, "b 68 2"],
  key: PRNGKeyArray,
) -> Float[Array, "b f f 3"]:
  """What E_e sees of frames in training, as config.data.augment has it."""
  how = config.data.augment
  if not how.emotion:
    return faces(config, frames, landmarks)
  whole = config.model.emotion_input == "frame"
  return treat.faces(
    frames,
    None if whole else landmarks,
    face_side(config),
    key,
    most=how.stretch,
  )


def with_frames(batch: Any) -> Any:
  """A batch whose pictures are floats in [-1, 1]; the rest is untouched."""
  return jax.tree.map(
    lambda x: as_frames(x) if x.dtype == jnp.uint8 else x, batch
  )


def initialise_encoders(
  config: ConfigDict, seed: int, given: Mapping[str, tuple[Any, Any]]
) -> tuple[tuple[Any, Any], Any, Any]:
  """Group "encoders", given or fresh, and what they make of two pairs.

  Returns:
    (params, other collections), then the shapes of Portrait and of Codes.
  """
  net = networks(config).encoders
  pair = jax.eval_shape(with_frames, pair_shapes(config, 2))
  side = face_side(config)
  pair = pair._replace(emotion=struct((2, side, side, 3)))
  group = given.get("encoders")
  if group is None:
    group = initialise(net, seed, "encoders", pair, train=False)
    if "resnet" in given:
      group = _with_resnets(group, given["resnet"])
  portrait, codes = jax.eval_shape(
    lambda params, extra, pair: net.apply({"params": params, **extra}, pair),
    *group,
    pair,
  )
  return group, portrait, codes


def _with_resnets(group: tuple[Any, Any], resnet: tuple[Any, Any]) -> Any:
  """Group "encoders" with E_i, E_p and E_e on the same public ResNet-50."""
  params, extra = group
  nets = {name for name in RESNETS if name in params}
  return (
    params | dict.fromkeys(nets, resnet[0]),
    extra
    | {
      k: extra[k] | dict.fromkeys(nets, tree) for k, tree in resnet[1].items()
    },
  )


def initialise(
  module: nn.Module, seed: int, name: str, *args: Any, **kwargs: Any
) -> tuple[Any, Any]:
  """A module's fresh (params, other collections), without running it.

  Initialisers run one by one and the forward pass not at all: a compiled
  `init` costs half a minute for a deep network.

  Args:
    module: The network.
    seed: Of the run.
    name: Of the group; it picks the random stream.
    *args: Its inputs, as jax.ShapeDtypeStructs.
    **kwargs: Static arguments.
  """
  key = jax.random.fold_in(jax.random.key(seed), _number(name))
  streams = ("params", "noise", "dropout")
  keys: Any = dict(zip(streams, jax.random.split(key, 3), strict=True))
  run = lambda bound, *inputs: bound(*inputs, **kwargs)  # noqa: E731
  variables = dict(module.lazy_init(keys, *args, method=run))
  return variables.pop("params", {}), variables


def _number(name: str) -> int:
  """A number for a name, the same in every process."""
  return int.from_bytes(name.encode(), "big") % (2**31 - 1)
