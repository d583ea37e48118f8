"""Stage 2's forward passes: a pair is encoded, decoded, and swapped."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray
from ml_collections import ConfigDict

from speak_jax.models.build import Networks
from speak_jax.models.generator import Drawing
from speak_jax.models.irfd import Codes, IdentityFeatures, drop_maps
from speak_jax.nn import treat
from speak_jax.nn.pixels import with_frames
from speak_jax.stages import base, batch_shapes, emotion_input
from speak_jax.stages.base import Groups

KINDS = ("identity", "pose", "emotion")  # of codes that a swap exchanges
IDENTITY, POSE, EMOTION = range(3)


class Reconstruction(NamedTuple):
  """A batch of pairs taken apart and put together again."""

  pair: batch_shapes.Pair  # augmented, pictures in [-1, 1]
  features: IdentityFeatures
  codes: Codes
  drawing: Drawing  # the target, drawn anew
  logits: Float[Array, "b 8"]  # C_m's, of the emotion codes
  collections: Groups  # {"encoders": ...} as the batch has changed them


class Swap(NamedTuple):
  """Codes with one kind exchanged between example i and i + b/2.

  b is a microbatch, so partners are on one device.
  """

  features: IdentityFeatures
  codes: Codes
  kind: Int[Array, "b"]  # IDENTITY, POSE or EMOTION, the same for both
  picture: Float[Array, "b h w 3"]  # identity picture of the outcome
  landmarks: Float[Array, "b 68 2"]  # about where the outcome's face is


class Outcome(NamedTuple):
  """The image of a swap, and what the encoders read in it."""

  swap: Swap
  frames: Float[Array, "b h w 3"]
  identity: Float[Array, "b i"]
  pose: Float[Array, "b p"]
  emotion: Float[Array, "b e"]
  logits: Float[Array, "b 8"]  # C_m's, of the emotion codes


@dataclasses.dataclass(frozen=True, eq=False)
class IrfdForward:
  """Runs the networks of stage 2 on a batch.

  Attributes:
    config: The run's.
    nets: Its networks.
  """

  config: ConfigDict
  nets: Networks

  @property
  def drops_maps(self) -> bool:
    """Whether some examples are drawn from their codes alone."""
    share = self.config.irfd.drop_maps
    return bool(share > 0 and self.nets.encoders.maps)

  @property
  def swapped_kinds(self) -> tuple[int, ...]:
    """Kinds of code that a swap may exchange: all that are not ablated."""
    ablated = self.config.model.ablate
    return tuple(i for i, name in enumerate(KINDS) if name != ablated)

  def augment(
    self, batch: batch_shapes.Pair, key: PRNGKeyArray
  ) -> batch_shapes.Pair:
    """Turns pictures into floats, changed as config.data.augment has it.

    The sampler has found who lends a mouth, and flagged the pairs.
    """
    how = self.config.data.augment
    pair = with_frames(batch)
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
    seen = pair.emotion, pair.emotion_landmarks
    plain = emotion_input.plain(self.config, *seen)
    changed = emotion_input.augmented(self.config, *seen, emotion_key)
    return pair._replace(
      pose=treat.where(pair.treated, pose, pair.pose),
      mouth=treat.where(pair.treated, mouth, pair.mouth),
      emotion=treat.where(pair.treated, changed, plain),
    )

  def encode(
    self, params: Groups, collections: Groups, pair: batch_shapes.Pair
  ) -> tuple[tuple[IdentityFeatures, Codes], Groups]:
    """Encodes a pair's donors, in training.

    Returns:
      What `Encoders` give, and {"encoders": the collections it has changed}.
    """
    encoded, changed = base.apply(
      self.nets.encoders,
      "encoders",
      params,
      collections,
      pair,
      train=True,
      mutable=list(collections["encoders"]),
    )
    return encoded, {"encoders": dict(changed)}

  def decode(
    self,
    params: Groups,
    collections: Groups,
    features: IdentityFeatures,
    codes: Codes,
  ) -> Drawing:
    """Draws what G_d makes of identity features and codes."""
    return base.apply(
      self.nets.decoder, "decoder", params, collections, features, codes
    )

  def read_off(
    self, head: str, params: Groups, collections: Groups, code: Array
  ) -> Array:
    """Reads a code by a head of the encoders: "classify" or "angles"."""
    return base.apply(
      self.nets.encoders, "encoders", params, collections, code, method=head
    )

  def reconstruct(
    self,
    params: Groups,
    collections: Groups,
    batch: batch_shapes.Pair,
    drop_key: PRNGKeyArray,
    augment_key: PRNGKeyArray,
  ) -> Reconstruction:
    """Takes a batch apart and draws its targets anew.

    Args:
      params: Groups "encoders" and "decoder".
      collections: Of the same groups.
      batch: Pairs with pictures in bytes.
      drop_key: Draws whose identity maps are dropped.
      augment_key: Draws how the encoders' pictures are changed.
    """
    pair = self.augment(batch, augment_key)
    (features, codes), changed = self.encode(params, collections, pair)
    shown = features
    if self.drops_maps:
      dropped = jax.random.bernoulli(
        drop_key, self.config.irfd.drop_maps, (len(batch.target),)
      )
      shown = drop_maps(features, dropped)
    return Reconstruction(
      pair=pair,
      features=features,
      codes=codes,
      drawing=self.decode(params, collections, shown, codes),
      logits=self.read_off("classify", params, collections, codes.emotion),
      collections=changed,
    )

  def draw_swap(
    self,
    params: Groups,
    collections: Groups,
    encoded: tuple[IdentityFeatures, Codes],
    pair: batch_shapes.Pair,
    key: PRNGKeyArray,
  ) -> tuple[Swap, Float[Array, "b h w 3"]]:
    """Exchanges codes within a batch and draws the outcome.

    Args:
      params: Groups "encoders" and "decoder".
      collections: Of the same groups.
      encoded: What `encode` made of `pair`.
      pair: The donors.
      key: Draws which kind of code partners exchange.
    """
    swap = exchange(*encoded, pair, key, self.swapped_kinds)
    drawing = self.decode(params, collections, swap.features, swap.codes)
    return swap, drawing.frames

  def swap(
    self,
    params: Groups,
    collections: Groups,
    made: Reconstruction,
    key: PRNGKeyArray,
  ) -> Outcome:
    """Exchanges codes within a batch, draws the outcome, and encodes that."""
    swap, frames = self.draw_swap(
      params, collections, (made.features, made.codes), made.pair, key
    )
    if self.config.irfd.losses == "robust":
      # ours: the encoder that reads the generated frame does not learn to
      # read what the generator hides in it (D4 in PAPER.md).
      params = jax.lax.stop_gradient(params)
    faces = emotion_input.plain(self.config, frames, swap.landmarks)

    def read(net, frames, faces, landmarks):
      features = net.portrait(frames, landmarks, train=True)
      return features.identity, features.pose, net.emotion(faces, train=True)

    (identity, pose, emotion), _ = base.apply(
      self.nets.encoders,
      "encoders",
      params,
      collections,
      frames,
      faces,
      swap.landmarks,
      method=read,
      mutable=list(collections["encoders"]),
    )
    logits = self.read_off("classify", params, collections, emotion)
    return Outcome(swap, frames, identity, pose, emotion, logits)


def exchange(
  features: IdentityFeatures,
  codes: Codes,
  pair: batch_shapes.Pair,
  key: PRNGKeyArray,
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
      return jnp.where(mask, partner(x), x)

    return choose

  person = pick(IDENTITY)
  return Swap(
    features=jax.tree.map(person, features),
    codes=codes._replace(
      pose=pick(POSE)(codes.pose), emotion=pick(EMOTION)(codes.emotion)
    ),
    kind=kind,
    picture=person(pair.identity),
    landmarks=pick(POSE)(pair.target_landmarks),
  )


def partner(x: Array) -> Array:
  """The other half of the batch: i meets i + b/2, and the other way round."""
  return jnp.roll(x, x.shape[0] // 2, 0)
