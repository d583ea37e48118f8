"""Stage 2: IRFD, a frame taken apart into codes and put together again.

`robust` losses (ours) learn from pairs whose swap has a ground truth, made by
the sampler, and optionally from swaps with another example of the batch that
have none. `paper` losses are Eq. 1-8 on such swaps alone.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int
from ml_collections import ConfigDict

from speak_jax import spec
from speak_jax.losses import adversarial, disentangle, flow, pixel
from speak_jax.models.irfd import Codes, Portrait, hide_maps
from speak_jax.nn import treat
from speak_jax.nn.face import shape_free
from speak_jax.nn.norm import unit
from speak_jax.stages import base, critic
from speak_jax.stages.base import LossOut, Phase, Stage

KINDS = ("identity", "pose", "emotion")  # of codes that a swap exchanges
IDENTITY, POSE, EMOTION = range(3)
# Terms that need a second image, of exchanged codes.
SWAPS = ("swap_pose", "swap_emotion", "swap_identity", "gan")
# Of a code's standard deviation over a batch, where it is held above one.
FLOORS = {"identity": 0.5, "pose": 0.1, "emotion": 0.5, "mouth": 0.1}
# Terms that say nothing without the code.
TERMS = {
  "identity": ("swap_identity",),
  "pose": ("swap_pose", "angles"),
  "emotion": ("swap_emotion", "classify"),
}


class Swap(NamedTuple):
  """Codes with one kind exchanged between example i and i + b/2.

  b is a microbatch, so partners are on one device.
  """

  portrait: Portrait
  codes: Codes
  kind: Int[Array, "b"]  # IDENTITY, POSE or EMOTION, the same for both
  frame: Float[Array, "b h w 3"]  # identity picture of the outcome
  landmarks: Float[Array, "b 68 2"]  # about where the outcome's face is


def make(config: ConfigDict) -> Stage:
  """The stage that trains "encoders" and "decoder" (and a discriminator).

  Raises:
    ValueError: an unknown kind of losses.
  """
  settings, weights = config.irfd, config.irfd.weights.to_dict()
  ablated = config.model.ablate
  weights |= dict.fromkeys(TERMS.get(ablated, ()), 0.0)
  kinds = tuple(i for i, name in enumerate(KINDS) if name != ablated)
  weights |= base.unsupervised(config)
  notes = base.few_notes(weights, settings.microbatch)
  if settings.losses not in ("robust", "paper"):
    raise ValueError(
      f"config.irfd.losses {settings.losses!r} is not robust or paper"
    )
  if settings.norms not in disentangle.NORMS:
    raise ValueError(
      f"config.irfd.norms {settings.norms!r} is not"
      f" {' or '.join(disentangle.NORMS)}"
    )
  swaps = any(weights[name] for name in SWAPS)
  how = config.data.augment
  base.face_side(config)  # refuses an unknown word
  nets, size = base.networks(config), config.model.image
  if not nets.decoder.appearance:
    weights["appearance"] = 0.0
  batch = base.pair_shapes(config, settings.batch)
  adversary = weights["gan"] > 0
  hides = settings.hide_maps > 0 and nets.encoders.maps

  def init(seed, given):
    groups = {}
    groups["encoders"], portrait, codes = base.initialise_encoders(
      config, seed, given
    )
    groups["decoder"] = given.get("decoder") or base.initialise(
      nets.decoder, seed, "decoder", portrait, codes
    )
    if adversary:
      frame = base.struct((2, size, size, 3))
      groups["discriminator"] = base.initialise(
        nets.discriminator, seed, "discriminator", frame, frame
      )
    return (
      {name: params for name, (params, _) in groups.items()},
      {name: extra for name, (_, extra) in groups.items()},
    )

  def treated(batch, key) -> Any:
    """A batch's pictures as floats, treated as config.data.augment has it.

    The sampler has found who lends a mouth.
    """
    pair = base.with_frames(batch)
    pose_key, mouth_key, emotion_key = jax.random.split(key, 3)
    pose = treat.pose(
      pair.pose[:, None],
      # Or of the frame whose very pose a twin has.
      pair.target_landmarks[:, None],
      treat.Lender(pair.donor, pair.donor_landmarks, pair.lends),
      pose_key,
      colours=how.pose,
      most=how.stretch,
    )[:, 0]
    mouth = pair.mouth
    if how.pose:
      mouth = treat.colours(mouth, mouth_key)
    shown = pair.emotion, pair.emotion_landmarks
    emotion = base.faces(config, *shown)
    face = base.treated_faces(config, *shown, emotion_key)
    return pair._replace(
      pose=treat.where(pair.treated, pose, pair.pose),
      mouth=treat.where(pair.treated, mouth, pair.mouth),
      emotion=treat.where(pair.treated, face, emotion),
    )

  def encode(params, vars, pair) -> Any:
    """Codes of a batch, and what changed in the encoders' collections."""
    return nets.encoders.apply(
      {"params": params["encoders"], **vars["encoders"]},
      pair,
      train=True,
      mutable=list(vars["encoders"]),
    )

  def decode(params, portrait, codes, **kwargs) -> Any:
    variables = {"params": params["decoder"]}
    return nets.decoder.apply(variables, portrait, codes, **kwargs)

  def head(params, name, code) -> Any:
    return nets.encoders.apply(
      {"params": params["encoders"]}, code, method=name
    )

  def encode_again(params, vars, frames, landmarks):
    """Identity, pose and emotion codes of generated frames."""
    cut = base.faces(config, frames, landmarks)

    def run(net, frames, cut, landmarks):
      portrait = net.portrait(frames, landmarks, train=True)
      return portrait.identity, portrait.pose, net.emotion(cut, train=True)

    codes, _ = nets.encoders.apply(
      {"params": params["encoders"], **vars["encoders"]},
      frames,
      cut,
      landmarks,
      method=run,
      mutable=list(vars["encoders"]),
    )
    return codes

  def judge(params, vars, frames, condition) -> Any:
    return nets.discriminator.apply(
      {"params": params["discriminator"], **vars["discriminator"]},
      frames,
      condition,
    )

  def g_loss(params, vars, batch, step, key) -> LossOut:
    hide_key, swap_key, treat_key = jax.random.split(key, 3)
    pair = treated(batch, treat_key)
    target, points = pair.target, pair.target_landmarks
    (portrait, codes), changed = encode(params, vars, pair)
    shown = portrait
    if hides:
      hidden = jax.random.bernoulli(
        hide_key, settings.hide_maps, (target.shape[0],)
      )
      shown = hide_maps(portrait, hidden)
    made, seen = decode(params, shown, codes, mutable=["intermediates"])
    weight = pixel.region_weight(points, size, **settings.region)
    logits = head(params, "classify", codes.emotion)
    label = batch.emotion_label
    known = (label >= 0).sum().clip(1)
    there = {
      "identity": portrait.identity,
      "pose": codes.pose,
      "emotion": codes.emotion,
      "mouth": codes.mouth,
    }
    if not config.model.codes.mouth:
      del there["mouth"]
    there.pop(ablated, None)
    metrics = base.spreads(there)
    if ablated != "emotion":
      metrics["accuracy"] = (logits.argmax(-1) == label).sum() / known

    swap: Any = None
    other: Any = None
    again: Any = None
    again_params = params
    if swaps:
      swap = exchange(portrait, codes, pair, swap_key, kinds)
      other = decode(params, swap.portrait, swap.codes)
      if settings.losses == "robust":
        # ours: the encoder that reads the generated frame does not learn to
        # read what the generator hides in it (D4 in PAPER.md).
        again_params = jax.lax.stop_gradient(params)
      again = encode_again(again_params, vars, other, swap.landmarks)

    terms = {
      "pixel": lambda: pixel.pyramid_l1(made, target, weight),
      "gradient": lambda: pixel.gradient_l1(made, target, weight),
      "structure": lambda: pixel.dissimilarity(made, target),
      "flow": lambda: base.misplaced(
        seen["intermediates"]["shape"][0],
        pair.identity_landmarks,
        points,
        size,
      ),
      "expression": lambda: flow.expression_error(
        seen["intermediates"]["shape"][0].landmarks, points, size
      ),
      "appearance": lambda: pixel.pyramid_l1(
        seen["intermediates"]["look"][0],
        shape_free(target, points, nets.decoder.appearance),
      ),
      "mouth_box": lambda: pixel.mouth_box_l1(made, target, points),
      # Eq. 5-7.
      "self": lambda: disentangle.squared_distance(
        made, target, settings.norms
      ),
      "angles": lambda: disentangle.angles(
        head(params, "angles", codes.pose), batch.target_pose
      ),
      "classify": lambda: _classify(logits, again_params, again, swap, label),
      "swap_pose": lambda: _cycle(again[1], swap.codes.pose),
      "swap_emotion": lambda: _cycle(again[2], swap.codes.emotion),
      "swap_identity": lambda: _identity(
        portrait, again[0], swap.kind, batch.identity_label
      ),
      "gan": lambda: adversarial.generator(
        judge(params, vars, other, swap.frame).logits
      ),
      "covariance": lambda: (
        disentangle.cross_correlation(portrait.identity, codes.pose)
        + disentangle.cross_correlation(portrait.identity, codes.emotion)
        + disentangle.cross_correlation(codes.pose, codes.emotion)
      ),
      "variance": lambda: sum(
        disentangle.variance_floor(code, FLOORS[name])
        for name, code in there.items()
      ),
    }
    ramps = {"gan": base.ramp(step, settings.gan_ramp)}
    used = base.comparing(weights, target.shape[0])
    loss, named = base.total(terms, used, ramps)
    return LossOut(loss, named | metrics, {"encoders": dict(changed)})

  def _cycle(again, fed):
    """Eq. 3 and 4; the robust form holds the fed code still."""
    if settings.losses == "robust":
      return disentangle.cycle(again, fed, settings.norms)
    return disentangle.squared_distance(again, fed, settings.norms)

  def _classify(logits, params, again, swap, label):
    """Eq. 2 on the codes of the inputs, and of re-encoded frames if any."""
    loss = disentangle.classification(logits, label, settings.smoothing)
    if again is None or not weights["swap_emotion"]:
      return loss
    moved = jnp.where(swap.kind == EMOTION, _partner(label), label)
    return loss + disentangle.classification(
      head(params, "classify", again[2]), moved, settings.smoothing
    )

  def _identity(portrait, again, kind, label):
    """Eq. 1; the images come in pairs."""
    own = portrait.identity
    if settings.unit_identity:
      own, again = unit(own), unit(again)
    moved = (kind == IDENTITY)[:, None]
    like_own = jnp.where(moved, _partner(again), again)
    like_other = jnp.where(moved, again, _partner(again))
    if settings.printed_triplet:
      return disentangle.identity_printed(
        own, _partner(own), like_own, like_other, settings.margin
      )
    return disentangle.identity_triplet(
      own,
      _partner(own),
      like_own,
      like_other,
      label == _partner(label),
      settings.margin,
    )

  def d_loss(params, vars, batch, step, key) -> LossOut:
    del step
    swap_key, treat_key = jax.random.split(key)
    pair = treated(batch, treat_key)
    (portrait, codes), _ = encode(params, vars, pair)
    swap = exchange(portrait, codes, pair, swap_key, kinds)
    fake = jax.lax.stop_gradient(decode(params, swap.portrait, swap.codes))
    real = judge(params, vars, pair.target, pair.identity)
    fake = judge(params, vars, fake, swap.frame)
    loss = adversarial.discriminator(real.logits, fake.logits).mean()
    return LossOut(loss, {}, {})

  def r1_loss(params, vars, batch, step, key) -> LossOut:
    del step
    pair = base.with_frames(batch)
    wide: Any = nets.discriminator.clone(dtype=jnp.float32)
    penalty = adversarial.r1(
      lambda frames: (
        wide.apply(
          {"params": params["discriminator"], **vars["discriminator"]},
          frames,
          pair.identity,
        ).logits
      ),
      pair.target,
      key,
    ).mean()
    return LossOut(critic.lazy(settings) * penalty, {"r1": penalty}, {})

  def inspect(params, vars, batch):
    """Rows: identity, target, ours; then ours with a neighbour's code."""
    pair = base.with_frames(batch)
    pair = pair._replace(
      emotion=base.faces(config, pair.emotion, pair.emotion_landmarks)
    )
    encoders: Any = nets.encoders
    portrait, codes = encoders.apply(
      {"params": params["encoders"], **vars["encoders"]}, pair
    )
    near = lambda x: jnp.roll(x, 1, 0)  # noqa: E731
    rows = [
      pair.identity,
      pair.target,
      decode(params, portrait, codes),
      decode(params, jax.tree.map(near, portrait), codes),
      decode(params, portrait, codes._replace(pose=near(codes.pose))),
      decode(params, portrait, codes._replace(emotion=near(codes.emotion))),
      decode(params, portrait, codes._replace(mouth=near(codes.mouth))),
    ]
    return {"swaps": base.as_bytes(jnp.stack(rows))}

  phases = [Phase("gen", "gen", g_loss)]
  optims = {
    "gen": base.adam(("encoders", "decoder"), settings.optim, settings.steps)
  }
  if adversary:
    phases = [*critic.phases(settings, d_loss, r1_loss), *phases]
    optims["disc"] = critic.optim(settings)
  return Stage(
    name="irfd",
    init=init,
    takes={},
    optims=optims,
    phases=tuple(phases),
    averaged=("encoders", "decoder"),
    decay=settings.optim.ema,
    batch=batch,
    microbatch=settings.microbatch,
    together=2 if swaps else 1,
    public=("resnet",),
    scaling=base.scaling(config),
    inspect=inspect,
    notes=tuple(notes),
  )


def exchange(
  portrait: Portrait,
  codes: Codes,
  pair: spec.Pair,
  key: Array,
  kinds: tuple[int, ...] = (IDENTITY, POSE, EMOTION),
) -> Swap:
  """Swaps one kind of code, drawn from `kinds`, between i and i + b/2.

  Source: paper section "IRFD"; the batch's halves are the sources and the
  targets. The mouth code stays with the pose's frame.
  """
  half = pair.target.shape[0] // 2
  kind = jnp.tile(jax.random.choice(key, jnp.asarray(kinds), (half,)), 2)

  def pick(which):
    def choose(x):
      mask = (kind == which).reshape(-1, *[1] * (x.ndim - 1))
      return jnp.where(mask, _partner(x), x)

    return choose

  person = pick(IDENTITY)
  return Swap(
    portrait=jax.tree.map(person, portrait),
    codes=codes._replace(
      pose=pick(POSE)(codes.pose), emotion=pick(EMOTION)(codes.emotion)
    ),
    kind=kind,
    frame=person(pair.identity),
    landmarks=pick(POSE)(pair.target_landmarks),
  )


def _partner(x: Array) -> Array:
  """The other half of the batch: i meets i + b/2, and the other way round."""
  return jnp.roll(x, x.shape[0] // 2, 0)
