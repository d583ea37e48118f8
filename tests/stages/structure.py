"""docs/structure.md, generated from the code and from what tests assert.

  python -m tests.stages.structure

writes it anew. test_structure.py compares the two, and holds the sizes to the
published ones; test_gradients.py holds the losses to their modules.
"""

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.extend import core

from configs import atvg as atvg_presets
from configs import eamm as eamm_presets
from configs import speak as presets
from configs import thpad as thpad_presets
from configs import wav2lip as wav2lip_presets
from speak_jax.models import wav2lip as lip_nets
from speak_jax.models.build import build
from speak_jax.models.fomm import Keypoints
from speak_jax.models.generator import Generator
from speak_jax.models.wav2vec import Wav2vec
from speak_jax.nn.resnet import ResNet
from speak_jax.spec import LEVEL, Pair, donor_side
from speak_jax.stages import (
  atvg,
  eamm_emotion,
  eamm_motion,
  fomm,
  thpad_prior,
  wav2lip_paint,
  wav2lip_sync,
)
from speak_jax.supervision import flops
from tests.nn.unfolded import unfolded
from tests.stages import test_gradients

PAGE = Path(__file__).parents[2] / "docs" / "structure.md"


class Size(NamedTuple):
  """How large a network is, alone or beside a published one."""

  name: str
  params: float  # millions
  gmac: float  # billions of multiply-accumulates, one example
  published: tuple[float, float] | None = None  # the same two
  why: str = ""  # it differs; "" = it is the same within 1 %

  def agrees(self) -> bool:
    """Within 1 % of what is published, in both."""
    assert self.published is not None
    ours = (self.params, self.gmac)
    pairs = zip(ours, self.published, strict=True)
    return all(abs(a - b) <= 0.01 * b for a, b in pairs)


# Published sizes of what base256 is made of: millions of parameters, GMAC. The
# ResNet takes 256 px, HuBERT a second of sound.
PUBLISHED = {
  "ResNet-50: each of E_i, E_p, E_e": (23.5, 5.34),
  "VGG-19 to relu5_1": (12.9, 23.7),
  "StyleGAN2's synthesis, half width": (24.5, 14.9),
  "PatchGAN, 3 scales": (8.3, 4.37),
  "HuBERT (base)": (94.3, 6.91),
}
WHY = {
  "StyleGAN2's synthesis, half width": "the published count has a mapping "
  "network, whose place the codes' MLP and the editing module take",
  "PatchGAN, 3 scales": "3x3 after the halvings, not 4x4: maps keep their size",
}

# The same of other methods' networks, at their published sizes.
OTHERS = {
  "ATVG: AT-net": (30.07, 0.32),
  "ATVG: VG-net, a clip of one frame": (58.36, 4.52),
  "ATVG: critic, a frame": None,
  "FOMM: keypoint detector": (14.22, 1.28),
  "FOMM: dense motion and generator, a source with a frame": (45.58, 53.69),
  "EAMM: sound to keypoints, a frame": (35.29, 0.53),
  "EAMM: emotion, a frame": (27.89, 1.63),
  "Wav2Lip: generator": (36.298, 3.97),
  "Wav2Lip: sync expert, five frames": (16.435, 1.21),
  "Wav2Lip: critic, a frame": (14.114, 1.26),
  "TH-PAD: E_v and E_a, a frame": None,
  "TH-PAD: E_id and G, a picture with a frame": None,
  "TH-PAD: prior, a step of a window of 100 frames": None,
}
WHY_OTHERS = {
  "ATVG: VG-net, a clip of one frame": "the published count leaves out the "
  "landmarks of the identity picture",
  "FOMM: keypoint detector": "the published count leaves out what makes the "
  "picture small",
  "EAMM: sound to keypoints, a frame": "the published count leaves out the "
  "head that reads keypoints",
}


def other_calls() -> dict[str, tuple[nn.Module, tuple[Any, ...]]]:
  """The networks of OTHERS and what one example gives each."""
  config = atvg_presets.get_config()
  model, marks = config.model, shape(68, 2)
  picture = (model.image, model.image, 3)
  parts = (
    (atvg.at_net(config), (shape(model.directions), shape(1, 28, 12))),
    (atvg.vg_net(config), (shape(*picture), marks, shape(1, 68, 2))),
    (atvg.critic(config), (shape(1, *picture), marks)),
    *_eamm_calls(),
    *_lip_calls(),
    *_prior_calls(),
  )
  return dict(zip(OTHERS, parts, strict=True))


def _eamm_calls() -> list[tuple[nn.Module, tuple[Any, ...]]]:
  """The networks of EAMM's stages."""
  config = eamm_presets.get_config()
  model = config.model
  picture = shape(model.image, model.image, 3)
  points: Any = shape(model.keypoints, 2), shape(model.keypoints, 2, 2)
  found = Keypoints(*points)
  return [
    (fomm.detector(config), (picture,)),
    (fomm.generator(config), (picture, found, found)),
    (
      eamm_motion.hearing_net(config),
      (picture, shape(1, 28, 12), shape(1, 6)),
    ),
    (eamm_emotion.feeling_net(config), (picture, found)),
  ]


def _lip_calls() -> tuple[tuple[nn.Module, tuple[Any, ...]], ...]:
  """Wav2Lip's networks and what one example gives each."""
  config = wav2lip_presets.get_config()
  side, heard = config.model.image, shape(lip_nets.BANDS, lip_nets.STEPS)
  mouths = shape(side // 2, side, 3 * lip_nets.FRAMES)
  return (
    (wav2lip_paint.generator(config), (shape(side, side, 6), heard)),
    (wav2lip_sync.expert(config), (mouths, heard)),
    (wav2lip_paint.critic(config), (shape(side // 2, side, 3),)),
  )


def _prior_calls() -> tuple[tuple[nn.Module, tuple[Any, ...]], ...]:
  """TH-PAD's networks and what one example gives each."""
  config = thpad_presets.get_config()
  losses, model = thpad_prior.PriorLosses.of(config), config.model
  picture = shape(model.image, model.image, 3)
  heard = shape(lip_nets.BANDS, lip_nets.STEPS)
  encode = losses.senses.init_with_output
  sensed = jax.eval_shape(encode, jax.random.key(0), picture, heard)[0]
  seen, _, sound = sensed
  frames = config.thpad_prior.frames
  window = (
    shape(frames, losses.width),
    jax.ShapeDtypeStruct((1, frames), jnp.bool_),
    shape(frames, model.codes.contrast),
    jax.ShapeDtypeStruct((1,), jnp.bool_),
    jax.ShapeDtypeStruct((1,), jnp.int32),
  )
  return (
    (losses.senses, (picture, heard)),
    (losses.space, (picture, shape(68, 2), seen, sound)),
    (losses.net, window),
  )


def calls() -> dict[str, tuple[nn.Module, tuple[Any, ...]]]:
  """The networks of base256 and what one example gives each."""
  config = presets.get_config("base256")
  model, encoder = config.model, config.model.encoder
  networks = build(model, fps=config.data.fps)
  picture, marks = shape(model.image, model.image, 3), shape(68, 2)
  resnet = ResNet(
    tuple(encoder.stages), encoder.width, encoder.bottleneck, encoder.stem
  )
  synthesis = Generator(networks.decoder.channels)
  latents = shape(len(synthesis.channels), model.latent)
  pair = Pair(
    identity=picture,
    identity_landmarks=marks,
    pose=picture,
    emotion=shape(model.face, model.face, 3),
    emotion_landmarks=marks,
    mouth=shape(model.mouth, model.mouth, 3),
    target=picture,
    target_landmarks=marks,
    target_pose=shape(3),
    emotion_label=shape(),
    identity_label=shape(),
    donor=shape(donor_side(model.image), donor_side(model.image), 3),
    donor_landmarks=marks,
    lends=shape(),
    treated=shape(),
  )
  encode = networks.encoders.init_with_output
  portrait, codes = jax.eval_shape(encode, jax.random.key(0), pair)[0]
  samples = round((1 + 2 * model.context) / config.data.fps * 16_000)
  speech = (
    portrait,
    shape(1, model.codes.pose),
    codes.emotion,
    shape(samples),
    shape(LEVEL),
  )
  lips = shape(5, model.lips, model.lips, 1)
  parts = (
    (resnet, (picture,)),
    (networks.vgg, (picture,)),
    (synthesis, (latents,)),
    (networks.discriminator, (picture, picture)),
    (Wav2vec(), (shape(16_000),)),
  )
  return dict(zip(PUBLISHED, parts, strict=True)) | {
    "encoders, all of them": (networks.encoders, (pair,)),
    "G_d": (networks.decoder, (portrait, codes)),
    f"speech ({samples / 16_000:.2f} s), editing, G_g": (
      networks.speak,
      speech,
    ),
    "SyncNet, ours": (networks.sync, (lips, shape(3200))),
  }


@functools.cache
def programs() -> dict[str, tuple[int, core.Jaxpr]]:
  """Parameters and the traced call of each."""
  return {
    name: trace(module, *args) for name, (module, args) in calls().items()
  }


@functools.cache
def other_sizes() -> list[Size]:
  """The networks of other methods."""
  found = []
  for name, (module, args) in other_calls().items():
    with unfolded():
      params, program = trace(module, *args)
    gmac = flops.count(program) / 1e9
    why = WHY_OTHERS.get(name, "")
    found.append(Size(name, params / 1e6, gmac, OTHERS[name], why))
  return found


def sizes() -> list[Size]:
  """The networks of base256, first those that are published ones."""
  return [
    Size(
      name,
      params / 1e6,
      flops.count(program) / 1e9,
      PUBLISHED.get(name),
      WHY.get(name, ""),
    )
    for name, (params, program) in programs().items()
  ]


def shape(*sizes: int) -> Any:
  """Of one example."""
  return jax.ShapeDtypeStruct((1, *sizes), jnp.float32)


def trace(module: nn.Module, *args: Any) -> tuple[int, core.Jaxpr]:
  """A module's parameters and one call, nothing of which is run."""
  variables = jax.eval_shape(module.init, jax.random.key(0), *args)
  params = sum(x.size for x in jax.tree.leaves(variables["params"]))
  return params, jax.make_jaxpr(module.apply)(variables, *args).jaxpr


def size_table(found: list[Size]) -> str:
  """One row a network."""
  lines = [
    "| network | parameters, M | GMAC | published | |",
    "| --- | ---: | ---: | ---: | --- |",
  ]
  for size in found:
    beside, said = "", ""
    if size.published:
      beside = "{:g} / {:g}".format(*size.published)
      said = f"ours: {size.why}" if size.why else "the same"
    lines.append(
      f"| {size.name} | {size.params:.2f} | {size.gmac:.2f} | {beside} "
      f"| {said} |"
    )
  return "\n".join(lines)


def flow_table(terms: Mapping[str, set[str]]) -> str:
  """One row a module, one column a loss, a dot where a gradient arrives."""
  modules = sorted(set().union(*terms.values()))
  lines = [
    f"| | {' | '.join(terms)} |",
    f"| --- |{' :-: |' * len(terms)}",
  ]
  for module in modules:
    dots = (" • " if module in reached else " " for reached in terms.values())
    lines.append(f"| {module} |{'|'.join(dots)}|")
  return "\n".join(lines)


def page() -> str:
  """The whole file."""
  return f"""# Structure

Generated by `python -m tests.stages.structure`; tests fail when it is stale.

## Sizes

Networks of `base256` for one example, by our own count of convolutions and
matrix products (`speak_jax/supervision/flops.py`). XLA's count is 2 to 3 %
lower, as it leaves out the taps that meet padding. "The same" is within 1 %.

{size_table(sizes())}

Networks of other methods, in the sizes that they were published in:

{size_table(other_sizes())}

## Gradients

Which modules each loss moves (•), and which it must not; every cell is
asserted by `tests/stages/test_gradients.py`. The discriminator's own losses
move the discriminator alone, SyncNet's both of its towers.

Stage IRFD:

{flow_table(test_gradients.IRFD)}

Stage SPEAK, with frozen encoders and SyncNet:

{flow_table(test_gradients.SPEAK)}
"""


if __name__ == "__main__":
  PAGE.write_text(page(), encoding="utf-8")
