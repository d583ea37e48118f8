"""Stage 3's forward pass: a clip's frames are generated anew."""

import dataclasses
from typing import NamedTuple

import jax
from einops import rearrange
from jaxtyping import Array, Float, PRNGKeyArray
from ml_collections import ConfigDict

from speak_jax.models.build import Networks
from speak_jax.models.speak import SpeakOutput
from speak_jax.nn import treat
from speak_jax.nn.pixels import as_audio, as_frames
from speak_jax.stages import base, batch_shapes, emotion_input
from speak_jax.stages.base import Groups


class Generated(NamedTuple):
  """What the networks make of a batch of b clips of t frames; n = b t."""

  output: SpeakOutput
  frames: Float[Array, "n h w 3"]  # of the output, one after the other
  emotion: Float[Array, "b e"]
  identity: Float[Array, "b h w 3"]  # identity pictures
  true: Float[Array, "n h w 3"]  # the clips' own frames
  collections: Groups  # {"encoders": ...} as the batch has changed them


@dataclasses.dataclass(frozen=True, eq=False)
class SpeakForward:
  """Runs the networks of stage 3 on a batch.

  Attributes:
    config: The run's.
    nets: Its networks.
  """

  config: ConfigDict
  nets: Networks

  @property
  def trains_encoders(self) -> bool:
    """Whether the encoders of pictures learn in this stage."""
    return self.config.speak.encoders != "frozen"

  def augment(
    self, batch: batch_shapes.Clip, key: PRNGKeyArray
  ) -> tuple[Float[Array, "n h w 3"], Float[Array, "m s s 3"]]:
    """Changes what E_p and E_e see, as config.data.augment has it.

    The sampler has found who lends a mouth.

    Returns:
      The n = b t driving frames, and the m = b k emotion inputs.
    """
    how = self.config.data.augment
    pose_key, emotion_key = jax.random.split(key)
    driving = treat.pose(
      as_frames(batch.frames),
      batch.landmarks,
      treat.Lender(as_frames(batch.donor), batch.donor_landmarks),
      pose_key,
      colours=how.pose,
      most=how.stretch,
    )
    pictures, landmarks = _emotion_pictures(batch)
    faces = emotion_input.augmented(
      self.config, pictures, landmarks, emotion_key
    )
    return rearrange(driving, "b t ... -> (b t) ..."), faces

  def generate(
    self,
    params: Groups,
    collections: Groups,
    batch: batch_shapes.Clip,
    key: PRNGKeyArray,
    train: bool,
  ) -> Generated:
    """Runs every network but those that judge the frames.

    Args:
      params: Groups "encoders" and "speak".
      collections: Of the same groups.
      batch: Clips with pictures in bytes.
      key: Of all draws; of no use unless `train`.
      train: Change the encoders' pictures and draw noise; False: neither, as
        when a video is generated.
    """
    identity = as_frames(batch.identity)
    true = as_frames(rearrange(batch.frames, "b t ... -> (b t) ..."))
    if train:
      key, augment_key = jax.random.split(key)
      driving, faces = self.augment(batch, augment_key)
    else:
      driving = true
      faces = emotion_input.plain(self.config, *_emotion_pictures(batch))
    learns = self.trains_encoders and train

    def encode(net, identity, landmarks, driving, faces):
      features = net.portrait(identity, landmarks, learns)
      return features, net.pose(driving, learns), net.emotion(faces, learns)

    (features, pose, emotion), changed = base.apply(
      self.nets.encoders,
      "encoders",
      params,
      collections,
      identity,
      batch.identity_landmarks,
      driving,
      faces,
      method=encode,
      mutable=list(collections["encoders"]),
    )
    k = batch.emotion.shape[1]
    emotion = rearrange(emotion, "(b k) d -> b k d", k=k).mean(1)
    output = base.apply(
      self.nets.speak,
      "speak",
      params,
      collections,
      features,
      rearrange(pose, "(b t) d -> b t d", t=self.config.model.frames),
      emotion,
      as_audio(batch.audio),
      batch.level,
      train=train,
      rngs={"noise": key} if train else None,
    )
    changed = {"encoders": dict(changed)} if self.trains_encoders else {}
    return Generated(
      output=output,
      frames=rearrange(output.frames, "b t h w c -> (b t) h w c"),
      emotion=emotion,
      identity=identity,
      true=true,
      collections=changed,
    )


def _emotion_pictures(
  batch: batch_shapes.Clip,
) -> tuple[Float[Array, "m h w 3"], Float[Array, "m 68 2"]]:
  """The m = b k whole frames that E_e is to see, and their landmarks."""
  return (
    as_frames(rearrange(batch.emotion, "b k ... -> (b k) ...")),
    rearrange(batch.emotion_landmarks, "b k ... -> (b k) ..."),
  )
