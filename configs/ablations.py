"""Ablations of configs/speak.py: what each row changes, and what it asks.

  python -m speak_jax.tools.ablate --config configs/speak.py:demo \
    --data D --out DIR

Data alone. The rows of "3" (Table III of v3) and of "losses" (v1) are the
paper's and bear the names of `evaluation/report/published.py`, where the
published signs come from: no_identity is without E_i there and without
L_identity here.
"ours" asks what the paper does not. A row that changes nothing of a preset is
left out when that preset is ablated, and named in the table.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from speak_jax.configs.speak import RECIPES


class Row(NamedTuple):
  """One row: the config, but for this."""

  overrides: Mapping[str, Any]  # by dotted key
  stages: tuple[str, ...]  # trained anew; the others are those of FULL
  asks: str
  # {figure of evaluate's metrics.json: the sign of what the row changes},
  # beside what is published of a row of the paper.
  expects: Mapping[str, int] = {}
  source: str = ""  # who says so


_SPEAK = ("speak",)
_IRFD = ("irfd", "speak")  # SPEAK starts from IRFD's networks

FULL = Row({}, ("syncnet", *_IRFD), "the config as it is")

_POSE = "irfd/pose_moved"  # by a pose swap, as a share of the way
_EMOTION = "irfd/emotion_donor_emotion_swap"
_IDENTITY = "irfd/identity_swap_margin"

_SWAPS = ("swap_pose", "swap_emotion", "swap_identity")
# Their step costs double: a second image, encoded again.
_CYCLE = {f"irfd.weights.{name}": 0.1 for name in _SWAPS}
_NO_CYCLE = {**dict.fromkeys(_CYCLE, 0.0), "irfd.weights.gan": 0.0}

# What `paper` says of stage 2, at our network and with our optimizer.
_PAPER_IRFD = {
  key: value
  for key, value in RECIPES["paper"].items()
  if key.startswith("irfd.")
  and not key.startswith(("irfd.optim.", "irfd.discriminator."))
}


def _without(code: str, symbol: str, asks: str) -> Row:
  return Row({"model.ablate": code}, _IRFD, f"without {symbol}: {asks}")


def _off(stages: tuple[str, ...], keys: tuple[str, ...], asks: str) -> Row:
  return Row(dict.fromkeys(keys, 0.0), stages, asks)


def _pairs(kind: str, asks: str, expects: Mapping[str, int], by: str) -> Row:
  """One kind of training pair alone."""
  return Row({"irfd.pairs": kind, **_NO_CYCLE}, _IRFD, asks, expects, by)


GROUPS: Mapping[str, Mapping[str, Row]] = {
  "3": {
    "no_identity": _without(
      "identity", "E_i", "who is it then? Its identity maps go with it"
    ),
    "no_pose": _without("pose", "E_p", "does the head keep its place?"),
    "no_emotion": _without("emotion", "E_e", "do lips and brows suffer?"),
  },
  "losses": {
    "no_identity": _off(
      _IRFD, ("irfd.weights.swap_identity",), "without L_identity, Eq. 1"
    ),
    "no_cls": _off(_IRFD, ("irfd.weights.classify",), "without L_cls, Eq. 2"),
    "no_pose": _off(
      _IRFD, ("irfd.weights.swap_pose",), "without L_pose, Eq. 3"
    ),
    "no_emotion": _off(
      _IRFD, ("irfd.weights.swap_emotion",), "without L_emotion, Eq. 4"
    ),
    "no_self": _off(
      _IRFD,
      ("irfd.weights.self", "irfd.weights.pixel"),
      "without L_self, Eq. 5 to 7, and without the pixel loss in its place",
    ),
    "no_irfd": Row(
      {"speak.encoders": "fresh"},
      _SPEAK,
      "without IRFD: encoders that learn in stage 3 alone",
    ),
    "no_gan": _off(
      _SPEAK,
      ("speak.weights.gan", "speak.weights.features"),
      "without L_GAN, Eq. 10",
    ),
    "no_vgg": _off(
      _SPEAK,
      ("speak.weights.perceptual", "speak.weights.perceptual_encoders"),
      "without L_vgg",
    ),
    "no_sync": _off(
      _SPEAK, ("speak.weights.sync",), "without L_sync, Eq. 11 and 12"
    ),
  },
  "ours": {
    "paper_losses": Row(
      _PAPER_IRFD,
      _IRFD,
      "the paper's losses and its swaps without a ground truth in stage"
      " 2, at the same network: are pairs that have one worth their while?",
      {_POSE: -1, _EMOTION: -1},
      "expected before any run: pairs with a ground truth give most",
    ),
    "no_maps": Row(
      # A flow has nothing to move, and its two losses nothing to say.
      {"model.maps": (), "model.flow": False, "model.landmarks": False},
      _IRFD,
      "codes alone, as in the paper: what do identity maps give?",
      {"speak/psnr": -1, "speak/ssim": -1},
      "a prototype: maps add about 5 dB to codes alone",
    ),
    "no_structure": _off(
      _IRFD,
      ("irfd.weights.structure", "speak.weights.structure"),
      "without 1 - SSIM, in both stages: does it only flatter the figure?",
    ),
    "no_appearance": Row(
      {"model.appearance": 0},
      _IRFD,
      "f_I stands for no picture: what does that give with identity maps?",
    ),
    "cold_start": Row(
      {"speak.from_scratch": True},
      _SPEAK,
      "G_g does not start from G_d: is IRFD's decoder worth keeping?",
      {"speak/psnr": -1, "speak/ssim": -1},
      "expected before any run",
    ),
    "gan": Row(
      # From the first step: a preset's ramp may be longer than its training.
      {
        "speak.weights.gan": 0.05,
        "speak.weights.features": 0.1,
        "speak.gan_ramp": (0, 0),
      },
      _SPEAK,
      "L_GAN from the first step, at a weight of .05: sharper, or spoiled?",
      {
        "speak/psnr": 1,
        "speak/ssim": 1,
        "speak/f_lmd": -1,
        "speak/m_lmd": -1,
        "speak/sync_confidence": 1,
      },
      "v1's row without L_GAN, turned round",
    ),
    "identity_other_clip": Row(
      {"speak.identity_from": "other_clip"},
      _SPEAK,
      "I always from another clip in stage 3: it can not give its emotion away,"
      " but is farther from the frame",
      {"speak/psnr": -1, "speak/ssim": -1},
      "docs/results/2026-11-27-identity-frame.md",
    ),
    "identity_same_clip": Row(
      {"speak.identity_from": "same_clip"},
      _SPEAK,
      "I from another time of the clip in stage 3, as in the paper",
    ),
    "pairs_same_clip": _pairs(
      "same_clip",
      "identity from another time of the clip, and no other pair",
      {_EMOTION: -1},
      "a prototype: emotion leaks through the maps from such a frame",
    ),
    "pairs_other_clip": _pairs(
      "cross_clip",
      "identity from another clip of the person, and no other pair",
      {_POSE: -1, _IDENTITY: -1},
      "a prototype: without twins swaps are less clean",
    ),
    "pairs_geometry": _pairs(
      "geometry",
      "the target turned, scaled, shifted in every pair",
      {},
      "",
    ),
    "pairs_self": _pairs(
      "self",
      "every donor is the target: plain reconstruction, no swap at all",
      {_POSE: -1, _EMOTION: -1},
      "PAPER.md, D5 and D6",
    ),
    "pairs_swap_cycle": Row(
      {"irfd.pairs": "self", **_CYCLE, "irfd.weights.gan": 0.0},
      _IRFD,
      "swaps with another person, which have no ground truth, in our form"
      " of Eq. 1, 3 and 4, and no other pair",
      {_POSE: -1, _EMOTION: -1},
      "expected before any run: pairs with a ground truth give most",
    ),
    "pairs_twins": _pairs(
      "twins",
      "rendered twins in every pair: exact targets of all swaps",
      {_POSE: 1, _IDENTITY: 1},
      "a prototype: with twins swaps are cleaner",
    ),
    "added_swap_cycle": Row(
      _CYCLE,
      _IRFD,
      "swaps without a ground truth on top of pairs with one: worth twice the"
      " cost?",
    ),
  },
}
