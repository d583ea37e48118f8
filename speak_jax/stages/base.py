"""What a stage is: groups of parameters, optimizers, phases of pure losses.

A group without an optimizer that names it is frozen. One loop
(`training/loop.py`) serves every stage described this way; `registry.py` lists
the stages that there are.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray
from ml_collections import ConfigDict

from speak_jax.losses import disentangle
from speak_jax.nn import precision
from speak_jax.stages.rules import Rule

FEW = 4  # examples; a deviation over fewer does not tell a dead code

Groups = dict[str, Any]  # {group: tree of arrays}
Group = tuple[Any, Any]  # its parameters and its other collections
Metrics = dict[str, Float[Array, ""]]
# {name: function of nothing giving per-example values or a scalar}.
Terms = dict[str, Callable[[], Any]]


class LossOut(NamedTuple):
  """What a phase's loss returns."""

  loss: Float[Array, ""]
  metrics: Metrics  # unweighted terms and what else is worth a curve
  # Changed mutable collections, {group: {collection: tree}}: an update keeps
  # their mean over its microbatches.
  collections: Groups


@runtime_checkable
class LossFn(Protocol):
  """A pure loss: no I/O, no globals, no randomness but `key`.

  Its batch is a microbatch.
  """

  def __call__(
    self,
    params: Groups,
    collections: Groups,
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
    """Says whether it runs in the update that follows `step` others."""
    return step >= self.start and step % self.every == 0


class Scaling(NamedTuple):
  """Of losses, where networks compute in float16; `training/scaling.py`."""

  initial: float  # first factor
  growth: int  # good updates until it doubles


class Sampler(NamedTuple):
  """Names the sampler of a stage's batches, in `data_pipelines/sampling`."""

  name: str  # of a file there, as "clips": `sample_clips` in clips.py
  # Its arguments but for the data, the seed and how pictures are augmented.
  options: Mapping[str, Any]


class Stage(NamedTuple):
  """One training stage."""

  name: str
  # (seed, earlier groups {group: (params, collections)}) -> (params,
  # collections); a group of `pretrained_from` that is not among them is
  # initialised like the others.
  init: Callable[[int, Mapping[str, Group]], tuple[Groups, Groups]]
  pretrained_from: Mapping[str, str]  # {group: the stage that trained it}
  optims: dict[str, Optim]
  phases: tuple[Phase, ...]
  ema_groups: tuple[str, ...]  # groups with an EMA
  ema_decay: float
  batch: Any  # a batch as jax.ShapeDtypeStructs
  # Examples that a loss sees, and may compare; a device holds so many at once.
  microbatch: int
  # (params, collections, batch) -> {name: uint8 (rows, columns, h, w, 3)}
  sample_grids: Callable[[Groups, Groups, Any], dict[str, Array]]
  # {group: what makes it of the landmarks of all training clips}, before the
  # first step; such a group is frozen.
  from_landmarks: Mapping[str, Callable[[Sequence[np.ndarray]], Group]] = {}
  public: tuple[str, ...] = ()  # of config.pretrained, what it can start from
  together: int = 1  # a microbatch is a multiple of it; 2: examples swap
  scaling: Scaling | None = None  # None: losses are differentiated as they are
  weights: Mapping[str, float] = {}  # of the losses as they are used, by term
  notes: tuple[str, ...] = ()  # said once at the start


class Row(NamedTuple):
  """What is known of a stage before a config is."""

  make: Callable[[ConfigDict], Stage]
  groups: tuple[str, ...]  # what of its networks is of use once it is trained
  sampler: Callable[[ConfigDict], Sampler]  # what makes its batches
  # Whether it trains the speech encoder of config.model.audio, which begins as
  # a public one, or becomes a mel front end where there is none.
  hears: bool = False


class Training(NamedTuple):
  """How a method is trained: what `stages/NAME.py` says of it."""

  stages: Mapping[str, Row]  # in the order in which they train
  # Rules of keys that are the method's own, or that it means otherwise than
  # the others: (dotted key with * for any one name, rule).
  rules: tuple[tuple[str, Rule], ...] = ()
  # Keys of its config that came later, and what its runs did before.
  later: Mapping[str, Any] = {}
  # {key of config.model: the one stage whose networks have it}: until that
  # stage is trained, a run may go on with another value.
  model_of: Mapping[str, str] = {}


def dtype(config: ConfigDict) -> Any:
  """The type that a config's networks compute in."""
  return jnp.dtype(precision.resolve(config.model.dtype))


def scaling(config: ConfigDict) -> Scaling | None:
  """Says how losses are scaled: in float16 alone."""
  settings = Scaling(**config.train.loss_scale)
  half = precision.resolve(config.model.dtype) == "float16"
  return settings if half else None


def apply(
  module: nn.Module,
  group: str,
  params: Groups,
  collections: Groups,
  *args: Any,
  **kwargs: Any,
) -> Any:
  """Runs a network on its group of parameters; see `nn.Module.apply`.

  Args:
    module: The network.
    group: Name of its parameters among `params` and `collections`.
    params: {group: parameters}.
    collections: {group: {collection: tree}}, batch statistics and the like.
    *args: Of the network.
    **kwargs: Of `nn.Module.apply` (method, mutable, rngs) and of the network.
  """
  variables = {"params": params[group], **collections[group]}
  return module.apply(variables, *args, **kwargs)


# --- loss weights ----------------------------------------------------------


def warps_maps(config: ConfigDict) -> bool:
  """Says whether the generators warp identity maps, and so have a geometry."""
  model = config.model
  return bool(model.flow and model.maps and model.ablate != "identity")


def disabled_terms(config: ConfigDict, microbatch: int) -> dict[str, str]:
  """Finds the terms that IRFD and SPEAK share and a config leaves no use for.

  Args:
    config: The run's.
    microbatch: Examples that a loss compares.

  Returns:
    {term: why it is off}.
  """
  reasons = {}
  if not warps_maps(config):
    for term in ("flow", "expression"):
      reasons[term] = "the generator warps no identity maps"
  elif not config.model.landmarks:
    reasons["expression"] = "the generator predicts no landmarks"
  if microbatch < disentangle.ENOUGH:
    reasons["covariance"] = (
      f"{microbatch} examples are compared at once, fewer than"
      f" {disentangle.ENOUGH} give noise"
    )
  return reasons


def resolve_weights(
  asked: Mapping[str, float], disabled: Mapping[str, str]
) -> tuple[dict[str, float], tuple[str, ...]]:
  """Sets the weights of disabled terms to 0, and says which those are.

  Args:
    asked: {term: weight} of the config.
    disabled: {term: why it is off}; terms that nobody asked for are ignored.

  Returns:
    The weights as they are used, and lines for the log.
  """
  used = {
    term: 0.0 if term in disabled else weight for term, weight in asked.items()
  }
  notes = [
    "loss weights: "
    + ", ".join(f"{term} {weight:g}" for term, weight in used.items() if weight)
  ]
  notes += [
    f"{term} is off: {disabled[term]}; its weight {weight:g} counts as 0"
    for term, weight in asked.items()
    if weight and term in disabled
  ]
  return used, tuple(notes)


def weighted_sum(
  terms: Terms,
  weights: Mapping[str, float],
  ramps: Mapping[str, Float[Array, ""]] | None = None,
) -> tuple[Float[Array, ""], Metrics]:
  """Adds up the terms' means by weight; a term of weight 0 is never called.

  Args:
    terms: The losses.
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
  """Rises from 0 before a span of steps to 1 after it, straight between."""
  start, stop = span
  return jnp.clip((step - start + 1) / max(stop - start, 1), 0.0, 1.0)


# --- health of codes -------------------------------------------------------


def code_std(code: Float[Array, "... d"]) -> Float[Array, ""]:
  """Mean over the width of a code's std over all the rest: 0 = collapsed."""
  flat = code.astype(jnp.float32).reshape(-1, code.shape[-1])
  return jax.lax.stop_gradient(flat.std(0).mean())


def code_metrics(codes: Mapping[str, Array]) -> Metrics:
  """Measures each code's `code_std`, under a name that says what hangs on it.

  "std/NAME" of `FEW` examples or more: training ends if it comes near 0.
  "spread/NAME" of fewer, which is for the curve alone: over the frames of one
  clip a healthy code hardly varies.

  Args:
    codes: The first axis is a microbatch's examples, which are independent;
      what follows it belongs to one of them.
  """
  return {
    f"{'std' if len(code) >= FEW else 'spread'}/{name}": code_std(code)
    for name, code in codes.items()
  }
