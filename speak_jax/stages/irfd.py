"""Stage 2: IRFD, a frame taken apart into codes and put together again.

`robust` losses (ours) learn from pairs whose swap has a ground truth, made by
the sampler, and optionally from swaps with another example of the batch that
have none. `paper` losses are Eq. 1-8 on such swaps alone. PAPER.md says where
we differ and why.

Each loss is a method and can be called alone, as in a notebook:

  losses = irfd.IrfdLosses.of(config)
  params, collections = losses.init(0, {})
  out = losses.generator_loss(
    params, collections, batch, step, jax.random.key(0)
  )
  out.metrics["flow"]
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray
from ml_collections import ConfigDict

from speak_jax.losses import adversarial, disentangle, pixel
from speak_jax.models.build import Networks
from speak_jax.nn.face import warp_to_mean_face
from speak_jax.nn.norm import unit
from speak_jax.nn.pixels import as_bytes, with_frames
from speak_jax.stages import (
  base,
  batch_shapes,
  emotion_input,
  gan,
  init,
  optimizers,
  picture_terms,
)
from speak_jax.stages.base import (
  Group,
  Groups,
  LossOut,
  Metrics,
  Phase,
  Sampler,
  Stage,
  Terms,
)
from speak_jax.stages.irfd_forward import (
  EMOTION,
  IDENTITY,
  IrfdForward,
  Outcome,
  Reconstruction,
  partner,
)

# Terms that need a second image, of exchanged codes.
SWAP_TERMS = ("swap_pose", "swap_emotion", "swap_identity", "gan")
# Of a code's standard deviation over a batch, where it is held above one.
STD_FLOORS = {"identity": 0.5, "pose": 0.1, "emotion": 0.5, "mouth": 0.1}
# Terms that say nothing without the code.
TERMS_OF = {
  "identity": ("swap_identity",),
  "pose": ("swap_pose", "angles"),
  "emotion": ("swap_emotion", "classify"),
}


@dataclasses.dataclass(frozen=True, eq=False)
class IrfdLosses:
  """The losses of stage 2 and what they need.

  Attributes:
    config: The run's.
    nets: Its networks.
    weights: {term: weight} as used; what a config has no use for is 0.
    notes: What is to be said of them, for the log.
  """

  config: ConfigDict
  nets: Networks
  weights: Mapping[str, float]
  notes: tuple[str, ...] = ()

  @classmethod
  def of(cls, config: ConfigDict) -> "IrfdLosses":
    """Builds them from a run's config.

    Raises:
      ValueError: an unknown word in config.irfd or config.model.
    """
    _check(config)
    nets = init.networks(config)
    ablated = config.model.ablate
    disabled = base.disabled_terms(config, config.irfd.microbatch)
    for term in TERMS_OF.get(ablated, ()):
      disabled[term] = f"the {ablated} code is ablated"
    if not nets.decoder.appearance:
      disabled["appearance"] = "f_I stands for no picture"
    weights, notes = base.resolve_weights(
      config.irfd.weights.to_dict(), disabled
    )
    return cls(config, nets, weights, notes)

  @property
  def settings(self) -> Any:
    """config.irfd."""
    return self.config.irfd

  @property
  def robust(self) -> bool:
    """Whether losses are ours, and not the paper's to the letter."""
    return self.settings.losses == "robust"

  @property
  def uses_swaps(self) -> bool:
    """Whether a term needs a second image, of exchanged codes."""
    return any(self.weights[name] for name in SWAP_TERMS)

  @property
  def forward(self) -> IrfdForward:
    """What runs the networks."""
    return IrfdForward(self.config, self.nets)

  @property
  def adversarial(self) -> bool:
    """Whether a discriminator learns to tell swaps' outcomes from frames."""
    return self.weights["gan"] > 0

  @property
  def adversary(self) -> gan.Adversary:
    """The discriminator; without parameters unless `adversarial`."""
    return gan.Adversary(self.nets.discriminator, self.settings)

  def init(
    self, seed: int, earlier: Mapping[str, Group]
  ) -> tuple[Groups, Groups]:
    """Takes or makes "encoders", "decoder" and "discriminator"."""
    encoders, features, codes = init.initialise_encoders(
      self.config, self.nets, seed, earlier
    )
    groups = {"encoders": encoders}
    groups["decoder"] = earlier.get("decoder") or init.initialise(
      self.nets.decoder, seed, "decoder", features, codes
    )
    if self.adversarial:
      side = self.config.model.image
      groups[gan.GROUP] = self.adversary.initialise(seed, side)
    return init.split_kinds(groups)

  # --- phases --------------------------------------------------------------

  def generator_loss(
    self,
    params: Groups,
    collections: Groups,
    batch: batch_shapes.Pair,
    step: Int[Array, ""],
    key: PRNGKeyArray,
  ) -> LossOut:
    """Eq. 8 with our terms beside it: what trains encoders and decoder."""
    drop_key, swap_key, augment_key = jax.random.split(key, 3)
    forward = self.forward
    made = forward.reconstruct(
      params, collections, batch, drop_key, augment_key
    )
    outcome = None
    if self.uses_swaps:
      outcome = forward.swap(params, collections, made, swap_key)
    terms = (
      self._picture_terms(made)
      | self._code_terms(params, collections, made, outcome)
      | self._swap_terms(params, collections, made, outcome)
      | self._regularizers(made)
    )
    ramps = {"gan": base.ramp(step, self.settings.gan_ramp)}
    loss, means = base.weighted_sum(terms, self.weights, ramps)
    return LossOut(loss, means | self._metrics(made), made.collections)

  def discriminator_loss(
    self,
    params: Groups,
    collections: Groups,
    batch: batch_shapes.Pair,
    step: Int[Array, ""],
    key: PRNGKeyArray,
  ) -> LossOut:
    """Eq. 10's max over D, of targets and of swaps' outcomes; ours."""
    del step
    swap_key, augment_key = jax.random.split(key)
    forward = self.forward
    pair = forward.augment(batch, augment_key)
    encoded, _ = forward.encode(params, collections, pair)
    swap, fake = forward.draw_swap(params, collections, encoded, pair, swap_key)
    return self.adversary.loss(
      params,
      collections,
      real=gan.Shown(pair.target, pair.identity),
      fake=gan.Shown(fake, swap.picture),
    )

  def r1_loss(
    self,
    params: Groups,
    collections: Groups,
    batch: batch_shapes.Pair,
    step: Int[Array, ""],
    key: PRNGKeyArray,
  ) -> LossOut:
    """R1 of the discriminator at the targets; see `gan.Adversary.r1_loss`."""
    del step
    pair = with_frames(batch)
    real = gan.Shown(pair.target, pair.identity)
    return self.adversary.r1_loss(params, collections, real, key)

  def sample_grids(
    self, params: Groups, collections: Groups, batch: batch_shapes.Pair
  ) -> dict[str, Array]:
    """Rows: identity, target, ours; then ours with a neighbour's code."""
    pair = with_frames(batch)
    faces = emotion_input.plain(
      self.config, pair.emotion, pair.emotion_landmarks
    )
    features, codes = base.apply(
      self.nets.encoders,
      "encoders",
      params,
      collections,
      pair._replace(emotion=faces),
    )
    neighbour = lambda x: jnp.roll(x, 1, 0)  # noqa: E731

    def draw(features, codes):
      return self.forward.decode(params, collections, features, codes).frames

    rows = [
      pair.identity,
      pair.target,
      draw(features, codes),
      draw(jax.tree.map(neighbour, features), codes),
      draw(features, codes._replace(pose=neighbour(codes.pose))),
      draw(features, codes._replace(emotion=neighbour(codes.emotion))),
      draw(features, codes._replace(mouth=neighbour(codes.mouth))),
    ]
    return {"swaps": as_bytes(jnp.stack(rows))}

  # --- terms ---------------------------------------------------------------

  def _picture_terms(self, made: Reconstruction) -> Terms:
    """Terms on the drawn target: {name: function of nothing}."""
    pair, drawing = made.pair, made.drawing
    appearance: Any = drawing.appearance  # not None where it has a weight
    target, points = pair.target, pair.target_landmarks
    terms = picture_terms.of(
      drawing.frames,
      drawing.geometry,
      picture_terms.Truth(target, points, pair.identity_landmarks),
      self.settings.region,
    )
    return terms | {
      "appearance": lambda: pixel.pyramid_l1(
        appearance,
        warp_to_mean_face(target, points, self.nets.decoder.appearance),
      ),
      # Eq. 5-7.
      "self": lambda: disentangle.squared_distance(
        drawing.frames, target, self.settings.norms
      ),
    }

  def _code_terms(
    self,
    params: Groups,
    collections: Groups,
    made: Reconstruction,
    outcome: Outcome | None,
  ) -> Terms:
    """Terms on what the codes say: {name: function of nothing}."""
    return {
      # Ours: D2 in PAPER.md.
      "angles": lambda: disentangle.angles(
        self.forward.read_off("angles", params, collections, made.codes.pose),
        made.pair.target_pose,
      ),
      # Eq. 2.
      "classify": lambda: self._classification(made, outcome),
    }

  def _swap_terms(
    self,
    params: Groups,
    collections: Groups,
    made: Reconstruction,
    outcome: Any,  # Outcome; None where no term is called
  ) -> Terms:
    """Terms on the outcome of a swap: {name: function of nothing}."""
    # Eq. 3 and 4; ours holds the code that was fed still.
    cycle = disentangle.cycle if self.robust else disentangle.squared_distance
    norms = self.settings.norms

    def judged() -> Any:
      shown = gan.Shown(outcome.frames, outcome.swap.picture)
      return self.adversary.judge(params, collections, shown)

    return {
      "swap_pose": lambda: cycle(outcome.pose, outcome.swap.codes.pose, norms),
      "swap_emotion": lambda: cycle(
        outcome.emotion, outcome.swap.codes.emotion, norms
      ),
      # Eq. 1.
      "swap_identity": lambda: self._triplet(made, outcome),
      # Eq. 10's min over G; ours here.
      "gan": lambda: adversarial.generator(judged().logits),
    }

  def _regularizers(self, made: Reconstruction) -> Terms:
    """Terms on how codes are spread over the examples; all ours."""
    identity, codes = made.features.identity, made.codes
    correlation = disentangle.cross_correlation
    return {
      "covariance": lambda: (
        correlation(identity, codes.pose)
        + correlation(identity, codes.emotion)
        + correlation(codes.pose, codes.emotion)
      ),
      "variance": lambda: sum(
        disentangle.variance_floor(code, STD_FLOORS[name])
        for name, code in self._named_codes(made).items()
      ),
    }

  def _classification(
    self, made: Reconstruction, outcome: Outcome | None
  ) -> Float[Array, "b"]:
    """Eq. 2 on the codes of the inputs, and of swaps' outcomes if any."""
    label, smoothing = made.pair.emotion_label, self.settings.label_smoothing
    loss = disentangle.classification(made.logits, label, smoothing)
    if outcome is None or not self.weights["swap_emotion"]:
      return loss
    exchanged = outcome.swap.kind == EMOTION
    return loss + disentangle.classification(
      outcome.logits, jnp.where(exchanged, partner(label), label), smoothing
    )

  def _triplet(
    self, made: Reconstruction, outcome: Outcome
  ) -> Float[Array, "b"]:
    """Eq. 1; the images come in pairs."""
    settings, label = self.settings, made.pair.identity_label
    source, generated = made.features.identity, outcome.identity
    if settings.unit_identity:
      source, generated = unit(source), unit(generated)
    exchanged = (outcome.swap.kind == IDENTITY)[:, None]
    like_source = jnp.where(exchanged, partner(generated), generated)
    like_target = jnp.where(exchanged, generated, partner(generated))
    if settings.triplet == "printed":
      return disentangle.identity_printed(
        source, partner(source), like_source, like_target, settings.margin
      )
    return disentangle.identity_triplet(
      source,
      partner(source),
      like_source,
      like_target,
      label == partner(label),
      settings.margin,
    )

  def _named_codes(self, made: Reconstruction) -> dict[str, Array]:
    """The codes that the config has, by name."""
    codes = {
      "identity": made.features.identity,
      "pose": made.codes.pose,
      "emotion": made.codes.emotion,
      "mouth": made.codes.mouth,
    }
    if not self.config.model.codes.mouth:
      del codes["mouth"]
    codes.pop(self.config.model.ablate, None)
    return codes

  def _metrics(self, made: Reconstruction) -> Metrics:
    """What is worth a curve beside the terms."""
    metrics = base.code_metrics(self._named_codes(made))
    if self.config.model.ablate != "emotion":
      label = made.pair.emotion_label
      known = (label >= 0).sum().clip(1)
      metrics["accuracy"] = (made.logits.argmax(-1) == label).sum() / known
    return metrics


def make(config: ConfigDict) -> Stage:
  """Makes the stage that trains "encoders", "decoder" (and a discriminator).

  Raises:
    ValueError: an unknown word in config.irfd or config.model.
  """
  settings, losses = config.irfd, IrfdLosses.of(config)
  trains = ("encoders", "decoder")
  stage = Stage(
    name="irfd",
    init=losses.init,
    pretrained_from={},
    optims={"gen": optimizers.adam(trains, settings.optim, settings.steps)},
    phases=(Phase("gen", "gen", losses.generator_loss),),
    ema_groups=trains,
    ema_decay=settings.optim.ema,
    batch=batch_shapes.pairs(config, settings.batch),
    microbatch=settings.microbatch,
    together=2 if losses.uses_swaps else 1,
    public=("resnet",),
    scaling=base.scaling(config),
    sample_grids=losses.sample_grids,
    weights=losses.weights,
    notes=losses.notes,
  )
  if not losses.adversarial:
    return stage
  return losses.adversary.join(stage, losses.discriminator_loss, losses.r1_loss)


def sampler(config: ConfigDict) -> Sampler:
  """Says how its batches are made: pairs of the kinds in config.irfd.pairs."""
  settings, model = config.irfd, config.model
  return Sampler(
    "pairs",
    {
      "size": model.image,
      "mouth_size": model.mouth,
      "mix": settings.pairs,
      "same_session": settings.same_session,
    },
  )


def _check(config: ConfigDict) -> None:
  """Refuses words that mean nothing.

  Raises:
    ValueError: naming the first; one line.
  """
  settings = config.irfd
  if settings.losses not in ("robust", "paper"):
    raise ValueError(
      f"config.irfd.losses {settings.losses!r} is not robust or paper"
    )
  if settings.norms not in disentangle.NORMS:
    raise ValueError(
      f"config.irfd.norms {settings.norms!r} is not"
      f" {' or '.join(disentangle.NORMS)}"
    )
  emotion_input.side(config)
