"""The swap matrix: a code is exchanged, and what else moves?

Rows are codes, columns are what a reader sees: identity, emotion, pose. All
is measured from the same subject made again without a swap, in shares of the
way to the donor:

  toward    what was gone of the way, 0 stayed, 1 arrived; sideways is free
  change    what was gone in any direction, over the way's length
  absolute  the same in its own unit: 1 - cosine, probability moved, degrees

A perfect model has 1 on the diagonal and 0 elsewhere. The reader is not
perfect, so two rows say what it makes of real frames: where the factor is the
donor's, and where it is still the source's.

Twins are rendered frames of somebody else in exactly the pose, or with exactly
the mouth, of a frame: a swap with them has a true picture.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from speak_jax import spec
from speak_jax.evaluation import ledger as figures
from speak_jax.evaluation.disentanglement import swaps
from speak_jax.evaluation.disentanglement.swaps import Irfd, Subjects
from speak_jax.evaluation.readers.reading import Reader, Reading
from speak_jax.metrics import codes as code_metrics
from speak_jax.metrics import identity, image, pose, sums

FACTORS = ("identity", "emotion", "pose")
UNITS = {"identity": "1 - cos", "emotion": "prob.", "pose": "deg"}
# Where the way's two ends come from.
Ends = Literal["truth", "reader"]
_PREFIXES: dict[Ends, str] = {"truth": "swap", "reader": "swap_seen"}
_MEASURES = ("toward", "change", "absolute")


class Matrix(NamedTuple):
  """The figures in place: [code that was swapped, factor that was read].

  NaN where the reader cannot tell.
  """

  toward: Float[np.ndarray, "3 3"]
  change: Float[np.ndarray, "3 3"]
  absolute: Float[np.ndarray, "3 3"]
  share: Float[np.ndarray, "3 3"]  # toward on the diagonal, else change
  low: Float[np.ndarray, "3 3"]  # 95 % bootstrap interval of the share
  high: Float[np.ndarray, "3 3"]
  arrived: Float[np.ndarray, "3"]  # reader, real frames: toward, the donor's
  stayed: Float[np.ndarray, "3"]  # the same: change, nothing was exchanged


class Twins(NamedTuple):
  """n frames that swaps with their twins must make again exactly."""

  # Identity from another clip, emotion from the target's; own pose and mouth.
  subjects: Subjects
  pose: UInt8[np.ndarray, "n h w 3"]  # somebody else in the target's pose
  mouth: UInt8[np.ndarray, "n m m 3"]  # patch of a third one, same mouth


def measure(
  subjects: Subjects, model: Irfd, read: Reader, *, seed: int
) -> figures.Figures:
  """The swap matrix of held-out people.

  Args:
    subjects: Frames of two or more people.
    model: The networks.
    read: Who reads pose, and identity and emotion if it can, off frames.
    seed: Of the donors and of the bootstrap.

  Returns:
    swap/CODE/FACTOR/toward, change and absolute; swap/CODE/found, the share
    of frames with a face; swap/reader/FACTOR/toward and change. There the way
    goes from truth to truth: exact angles (the tracker's on recorded video),
    labels, and the identity that the reader sees in another picture of the
    person. The same under swap_seen/, where it goes between the reader's own
    readings of the real source and donor, so that a reader who says little
    does not shorten every step. What the reader cannot tell is left out.

  Raises:
    ValueError: all subjects are one person.
  """
  lender = swaps.donors(subjects, seed)
  portrait, codes, _ = swaps.encode(model, subjects)
  made = swaps.swaps(model, portrait, codes, lender)
  seen = {swap: read(made[swap]) for swap in ("none", *FACTORS)}
  real, other = read(subjects.target), read(subjects.identity)
  still = _neighbour(subjects.clip)
  ledger = figures.Ledger()
  clips = [np.flatnonzero(subjects.clip == c) for c in np.unique(subjects.clip)]
  for code in FACTORS:
    found = seen[code].found
    for rows in clips:
      ledger.add(f"swap/{code}/found", sums.mean_row(found[rows]))
  for prefix, factor in itertools.product(_PREFIXES.values(), FACTORS):
    now = _value(factor, real)
    goal = _truth(factor, subjects, other) if prefix == "swap" else now
    if now is None or goal is None:
      continue
    way = goal[lender] - goal
    # Equal labels, none, or a face that was not found: nowhere to go.
    far = np.linalg.norm(way, axis=-1) > 1e-6
    before = _value(factor, seen["none"])
    for code in FACTORS:
      after = _value(factor, seen[code])
      ok = far & seen["none"].found & seen[code].found
      name = f"{prefix}/{code}/{factor}"
      _book(ledger, name, factor, before, after, way, clips, ok)
    ok = far & real.found & real.found[lender]
    name, kept = f"{prefix}/reader/{factor}", ("toward",)
    _book(ledger, name, factor, now, now[lender], way, clips, ok, kept)
    if factor != "pose":  # which is never twice the same within a clip
      kept = ("change", "absolute")
      ok = far & real.found & real.found[still] & (still != np.arange(len(ok)))
      _book(ledger, name, factor, now, now[still], way, clips, ok, kept)
  return ledger.figures(seed)


def exact(
  twins: Twins, model: Irfd, read: Reader, *, seed: int
) -> figures.Figures:
  """Swaps whose true picture is known: the codes come from the twins.

  Args:
    twins: Rendered frames and their twins, of two people or more.
    model: The networks.
    read: Who reads pose off frames.
    seed: Of the donors and of the bootstrap.

  Returns:
    twins/psnr/ROW and twins/pose_error/ROW (degrees): own codes, pose twin,
    mouth twin, both, and stranger (the pose of a donor who is no twin: the
    score of a wrong pose); twins/agreement/pose and mouth: see
    `code_metrics.agreement`; swap/reader/pose/change and
    swap_seen/reader/pose/change: what the reader sees move between twins,
    which have one pose.

  Raises:
    ValueError: all are one person.
  """
  subjects = twins.subjects
  lender = swaps.donors(subjects, seed)
  portrait, own, _ = swaps.encode(model, subjects)
  borrowed = subjects._replace(target=twins.pose, mouth=twins.mouth)
  _, lent, _ = swaps.encode(model, borrowed)
  rows = {
    "own": own,
    "pose_twin": own._replace(pose=lent.pose),
    "mouth_twin": own._replace(mouth=lent.mouth),
    "both": own._replace(pose=lent.pose, mouth=lent.mouth),
    "stranger": own._replace(pose=own.pose[lender]),
  }
  ledger = figures.Ledger()
  people = [
    np.flatnonzero(subjects.person == p) for p in np.unique(subjects.person)
  ]

  def book(name, values, ok):
    for at in people:
      ledger.add(name, sums.mean_row(values[at[ok[at]]]))

  for row, codes in rows.items():
    made = swaps.decode(model, portrait, codes)
    seen = read(made)
    all_of_them = np.ones(len(made), bool)
    book(f"twins/psnr/{row}", image.psnr(made, subjects.target), all_of_them)
    wrong = pose.error(seen.pose, subjects.pose)
    book(f"twins/pose_error/{row}", wrong, seen.found)
  for field in ("pose", "mouth"):
    a, b = getattr(own, field), getattr(lent, field)
    if not a.shape[-1]:
      continue
    mean = np.concatenate([a, b]).mean(0, np.float64)
    for at in people:
      ledger.add(
        f"twins/agreement/{field}",
        code_metrics.agreement_row(a[at], b[at], mean),
        code_metrics.agreement,
      )
  real, twin = read(subjects.target), read(twins.pose)
  for prefix, goal in (("swap", subjects.pose), ("swap_seen", real.pose)):
    way = goal[lender] - goal
    ok = real.found & twin.found & (np.linalg.norm(way, axis=-1) > 1e-6)
    kept = ("change", "absolute")
    name = f"{prefix}/reader/pose"
    _book(ledger, name, "pose", real.pose, twin.pose, way, people, ok, kept)
  return ledger.figures(seed)


def codes_held(
  subjects: Subjects, model: Irfd
) -> dict[str, Float[np.ndarray, "n d"]]:
  """Every code of every subject by its name; those of no width are left out."""
  portrait, codes, _ = swaps.encode(model, subjects)
  found = {"identity": portrait.identity, **codes._asdict()}
  return {name: code for name, code in found.items() if code.shape[-1]}


def spread(codes: Mapping[str, Float[np.ndarray, "n d"]]) -> figures.Figures:
  """How much of each code is used.

  Returns:
    code/NAME/rank: effective rank; code/NAME/width: its dimensions;
    code/NAME/variance: mean over dimensions; code/NAME/variance_least and
    variance_most; code/NAME/still: share of dimensions that vary by less
    than a hundredth of the mean. Without intervals.
  """
  found = {}
  for name, code in codes.items():
    variances = code_metrics.variances(code)
    level = variances.mean()
    values = {
      "rank": code_metrics.effective_rank(code),
      "width": float(code.shape[-1]),
      "variance": float(level),
      "variance_least": float(variances.min()),
      "variance_most": float(variances.max()),
      "still": float((variances <= 0.01 * level).mean()),
    }
    for key, value in values.items():
      found[f"code/{name}/{key}"] = figures.Figure(value, math.nan, math.nan)
  return found


def matrix(found: Mapping[str, figures.Figure], ends: Ends = "truth") -> Matrix:
  """Puts the figures of `measure` (and `exact`) into their places.

  Args:
    found: The figures.
    ends: Whether the way is from truth to truth, or as the reader sees it.
  """
  none = figures.Figure(math.nan, math.nan, math.nan)

  def figure(row, factor, measure):
    return found.get(f"{_PREFIXES[ends]}/{row}/{factor}/{measure}", none)

  def table(measure):
    return np.array(
      [[figure(c, f, measure(c, f)).value for f in FACTORS] for c in FACTORS]
    )

  def shown(code, factor):
    return "toward" if code == factor else "change"

  cells = [[figure(c, f, shown(c, f)) for f in FACTORS] for c in FACTORS]
  return Matrix(
    toward=table(lambda c, f: "toward"),
    change=table(lambda c, f: "change"),
    absolute=table(lambda c, f: "absolute"),
    share=np.array([[x.value for x in row] for row in cells]),
    low=np.array([[x.low for x in row] for row in cells]),
    high=np.array([[x.high for x in row] for row in cells]),
    arrived=np.array([figure("reader", f, "toward").value for f in FACTORS]),
    stayed=np.array([figure("reader", f, "change").value for f in FACTORS]),
  )


def _truth(
  factor: str, subjects: Subjects, other: Reading
) -> Float[np.ndarray, "n d"] | None:
  """What each subject is; None where nobody knows.

  Pose as the data has it, the emotion's label, and the identity of another
  picture of the person.
  """
  if factor == "pose":
    return subjects.pose.astype(np.float64)
  if factor == "identity":
    return None if other.identity is None else other.identity
  if (subjects.label < 0).all():
    return None
  # Without a label nothing is far from anything.
  known = np.eye(len(spec.EMOTIONS))[subjects.label.clip(0)]
  return np.where(subjects.label[:, None] >= 0, known, np.nan)


def _value(factor: str, seen: Reading) -> Float[np.ndarray, "n d"] | None:
  """What a reader sees, in the unit of `_truth`."""
  if factor == "pose":
    return seen.pose
  if factor == "identity":
    return seen.identity
  if seen.emotion is None:
    return None
  power = np.exp(seen.emotion - seen.emotion.max(-1, keepdims=True))
  return power / power.sum(-1, keepdims=True)


def _apart(
  factor: str, a: Float[np.ndarray, "n d"], b: Float[np.ndarray, "n d"]
) -> Float[np.ndarray, "n"]:
  """How unlike two readings are, in the factor's unit."""
  if factor == "identity":
    return 1 - identity.cosine(a, b)
  if factor == "emotion":
    return np.abs(a - b).sum(-1) / 2
  return pose.error(a, b)


def _book(
  ledger: figures.Ledger,
  name: str,
  factor: str,
  before: Float[np.ndarray, "n d"] | None,
  after: Float[np.ndarray, "n d"] | None,
  way: Float[np.ndarray, "n d"],
  groups: Sequence[Int[np.ndarray, "g"]],
  ok: Bool[np.ndarray, "n"],
  kept: Sequence[str] = _MEASURES,
) -> None:
  """One cell, a row of sums for each group of subjects.

  Args:
    ledger: Where to.
    name: Of the cell.
    factor: What was read.
    before: Without the swap; None: the reader cannot tell.
    after: With it.
    way: From the source to the donor.
    groups: Subjects that are not independent, by index.
    ok: Which subjects count.
    kept: Which measures.
  """
  if before is None or after is None or not ok.any():
    return
  for rows in groups:
    rows = rows[ok[rows]]
    gone, far = after[rows] - before[rows], way[rows]
    lengths = [np.linalg.norm(x, axis=-1).sum() for x in (gone, far)]
    cell = {
      # Pairs count by their squared distance, since near ones tell nothing.
      "toward": (np.array([(gone * far).sum(), (far * far).sum()]), sums.ratio),
      "change": (np.array(lengths), sums.ratio),
      "absolute": (
        sums.mean_row(_apart(factor, before[rows], after[rows])),
        sums.mean,
      ),
    }
    for measure in kept:
      ledger.add(f"{name}/{measure}", *cell[measure])


def _neighbour(clip: Int[np.ndarray, "n"]) -> Int[np.ndarray, "n"]:
  """For each subject the next one of its clip; itself if there is none."""
  out = np.arange(len(clip))
  for name in np.unique(clip):
    at = np.flatnonzero(clip == name)
    out[at] = np.roll(at, -1)
  return out
