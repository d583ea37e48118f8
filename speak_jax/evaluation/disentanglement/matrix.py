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

A swap with twins (`subjects.Twins`) has a true picture.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from speak_jax import spec
from speak_jax.evaluation.disentanglement import swaps
from speak_jax.evaluation.disentanglement.subjects import Subjects, Twins
from speak_jax.evaluation.disentanglement.swaps import AllSwaps, Irfd
from speak_jax.evaluation.metric_table import (
  MetricTable,
  MetricValue,
  MetricValues,
  exact,
)
from speak_jax.evaluation.readers.face_reader import Reader, Reading
from speak_jax.metrics import codes as code_metrics
from speak_jax.metrics import identity, image, pose, sums

FACTORS = ("identity", "emotion", "pose")
UNITS = {"identity": "1 - cos", "emotion": "prob.", "pose": "deg"}
# Where the way's two ends come from.
Ends = Literal["truth", "reader"]
_PREFIXES: dict[Ends, str] = {"truth": "swap", "reader": "swap_seen"}
_MEASURES = ("toward", "change", "absolute")


class Matrix(NamedTuple):
  """The metrics in place: [code that was swapped, factor that was read].

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


def measure(all_swaps: AllSwaps, *, seed: int) -> MetricValues:
  """The swap matrix of held-out people.

  Args:
    all_swaps: The subjects in all swaps, read for pose, and for identity and
      emotion if the reader can.
    seed: Seed of the bootstrap.

  Returns:
    swap/CODE/FACTOR/toward, change and absolute; swap/CODE/found, the share
    of frames with a face; swap/reader/FACTOR/toward and change. There the way
    goes from truth to truth: exact angles (the tracker's on recorded video),
    labels, and the identity that the reader sees in another picture of the
    person. The same under swap_seen/, where it goes between the reader's own
    readings of the real source and donor, so that a reader who says little
    does not shorten every step. What the reader cannot tell is left out.
  """
  subjects, donor = all_swaps.subjects, all_swaps.donors
  readings, real = all_swaps.readings, all_swaps.real
  neighbour = _neighbour(subjects.clip)
  table = MetricTable()
  clips = subjects.by_clip()
  for code in FACTORS:
    for rows in clips:
      found = readings[code].found[rows]
      table.add(f"swap/{code}/found", sums.mean_row(found))
  for prefix, factor in itertools.product(_PREFIXES.values(), FACTORS):
    source = _value(factor, real)
    truth = _truth(factor, all_swaps) if prefix == "swap" else source
    if source is None or truth is None:
      continue
    way = truth[donor] - truth
    # Equal labels, none, or a face that was not found: nowhere to go.
    far = np.linalg.norm(way, axis=-1) > 1e-6
    before = _value(factor, readings["none"])
    for code in FACTORS:
      after = _value(factor, readings[code])
      known = far & readings["none"].found & readings[code].found
      name = f"{prefix}/{code}/{factor}"
      _add_cell(table, name, factor, before, after, way, clips, known)
    known = far & real.found & real.found[donor]
    name, measures = f"{prefix}/reader/{factor}", ("toward",)
    _add_cell(
      table, name, factor, source, source[donor], way, clips, known, measures
    )
    if factor != "pose":  # which is never twice the same within a clip
      measures = ("change", "absolute")
      known = far & real.found & real.found[neighbour]
      known &= neighbour != np.arange(len(known))
      after = source[neighbour]
      _add_cell(table, name, factor, source, after, way, clips, known, measures)
  return table.values(seed)


def measure_twins(
  twins: Twins, model: Irfd, read: Reader, *, seed: int
) -> MetricValues:
  """Swaps whose true picture is known: the codes come from the twins.

  Args:
    twins: Rendered frames and their twins, of two people or more.
    model: The networks.
    read: Reads pose off frames.
    seed: Seed of the donors and of the bootstrap.

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
  donor = swaps.donors(subjects, seed)
  portrait, own, _ = swaps.encode(model, subjects)
  borrowed = subjects._replace(target=twins.pose, mouth=twins.mouth)
  _, lent, _ = swaps.encode(model, borrowed)
  rows = {
    "own": own,
    "pose_twin": own._replace(pose=lent.pose),
    "mouth_twin": own._replace(mouth=lent.mouth),
    "both": own._replace(pose=lent.pose, mouth=lent.mouth),
    "stranger": own._replace(pose=own.pose[donor]),
  }
  table = MetricTable()
  people = subjects.by_person()

  def add(name, values, known):
    for one in people:
      table.add(name, sums.mean_row(values[one[known[one]]]))

  for row, codes in rows.items():
    frames = swaps.decode(model, portrait, codes)
    reading = read(frames)
    every = np.ones(len(frames), bool)
    add(f"twins/psnr/{row}", image.psnr(frames, subjects.target), every)
    error = pose.error(reading.pose, subjects.pose)
    add(f"twins/pose_error/{row}", error, reading.found)
  for field in ("pose", "mouth"):
    a, b = getattr(own, field), getattr(lent, field)
    if not a.shape[-1]:
      continue
    mean = np.concatenate([a, b]).mean(0, np.float64)
    for one in people:
      table.add(
        f"twins/agreement/{field}",
        code_metrics.agreement_row(a[one], b[one], mean),
        code_metrics.agreement,
      )
  real, twin = read(subjects.target), read(twins.pose)
  for prefix, goal in (("swap", subjects.pose), ("swap_seen", real.pose)):
    way = goal[donor] - goal
    known = real.found & twin.found & (np.linalg.norm(way, axis=-1) > 1e-6)
    _add_cell(
      table,
      f"{prefix}/reader/pose",
      "pose",
      real.pose,
      twin.pose,
      way,
      people,
      known,
      ("change", "absolute"),
    )
  return table.values(seed)


def codes_of(
  subjects: Subjects, model: Irfd
) -> dict[str, Float[np.ndarray, "n d"]]:
  """Every code of every subject by its name; those of no width are left out."""
  portrait, codes, _ = swaps.encode(model, subjects)
  every = {"identity": portrait.identity, **codes._asdict()}
  return {name: code for name, code in every.items() if code.shape[-1]}


def spread(codes: Mapping[str, Float[np.ndarray, "n d"]]) -> MetricValues:
  """How much of each code is used.

  Returns:
    code/NAME/rank: effective rank; code/NAME/width: its dimensions;
    code/NAME/variance: mean over dimensions; code/NAME/variance_least and
    variance_most; code/NAME/still: share of dimensions that vary by less
    than a hundredth of the mean. Without intervals.
  """
  spreads = {}
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
      spreads[f"code/{name}/{key}"] = exact(value)
  return spreads


def matrix(values: Mapping[str, MetricValue], ends: Ends = "truth") -> Matrix:
  """Puts the values of `measure` (and `measure_twins`) into their places.

  Args:
    values: By metric.
    ends: Whether the way is from truth to truth, or as the reader sees it.
  """

  def value(row, factor, measure):
    key = f"{_PREFIXES[ends]}/{row}/{factor}/{measure}"
    return values.get(key, exact(math.nan))

  def table(measure):
    return np.array(
      [[value(c, f, measure(c, f)).value for f in FACTORS] for c in FACTORS]
    )

  def shown(code, factor):
    return "toward" if code == factor else "change"

  cells = [[value(c, f, shown(c, f)) for f in FACTORS] for c in FACTORS]
  return Matrix(
    toward=table(lambda c, f: "toward"),
    change=table(lambda c, f: "change"),
    absolute=table(lambda c, f: "absolute"),
    share=np.array([[x.value for x in row] for row in cells]),
    low=np.array([[x.low for x in row] for row in cells]),
    high=np.array([[x.high for x in row] for row in cells]),
    arrived=np.array([value("reader", f, "toward").value for f in FACTORS]),
    stayed=np.array([value("reader", f, "change").value for f in FACTORS]),
  )


def _truth(factor: str, all_swaps: AllSwaps) -> Float[np.ndarray, "n d"] | None:
  """What each subject is; None where nobody knows.

  Pose as the data has it, the emotion's label, and the identity of another
  picture of the person.
  """
  subjects = all_swaps.subjects
  if factor == "pose":
    return subjects.pose.astype(np.float64)
  if factor == "identity":
    return all_swaps.other_identity
  if (subjects.label < 0).all():
    return None
  # Without a label nothing is far from anything.
  known = np.eye(len(spec.EMOTIONS))[subjects.label.clip(0)]
  return np.where(subjects.label[:, None] >= 0, known, np.nan)


def _value(factor: str, reading: Reading) -> Float[np.ndarray, "n d"] | None:
  """What a reader sees, in the unit of `_truth`; None: it cannot tell."""
  if factor == "pose":
    return reading.pose
  if factor == "identity":
    return reading.identity
  if reading.emotion is None:
    return None
  power = np.exp(reading.emotion - reading.emotion.max(-1, keepdims=True))
  return power / power.sum(-1, keepdims=True)


def _distance(
  factor: str, a: Float[np.ndarray, "n d"], b: Float[np.ndarray, "n d"]
) -> Float[np.ndarray, "n"]:
  """How unlike two readings are, in the factor's unit."""
  if factor == "identity":
    return 1 - identity.cosine(a, b)
  if factor == "emotion":
    return np.abs(a - b).sum(-1) / 2
  return pose.error(a, b)


def _add_cell(
  table: MetricTable,
  name: str,
  factor: str,
  before: Float[np.ndarray, "n d"] | None,
  after: Float[np.ndarray, "n d"] | None,
  way: Float[np.ndarray, "n d"],
  groups: Sequence[Int[np.ndarray, "g"]],
  known: Bool[np.ndarray, "n"],
  measures: Sequence[str] = _MEASURES,
) -> None:
  """Adds one cell of the matrix, a row of sums for each group of subjects.

  Args:
    table: Takes the sums.
    name: Name of the cell.
    factor: What was read: one of FACTORS.
    before: Without the swap; None: the reader cannot tell.
    after: With it.
    way: From the source to the donor.
    groups: Subjects that are not independent, by index.
    known: Which subjects count.
    measures: Which of toward, change and absolute are added.
  """
  if before is None or after is None or not known.any():
    return
  for group in groups:
    rows = group[known[group]]
    gone, far = after[rows] - before[rows], way[rows]
    lengths = [np.linalg.norm(x, axis=-1).sum() for x in (gone, far)]
    cell = {
      # Pairs count by their squared distance, since near ones tell nothing.
      "toward": (np.array([(gone * far).sum(), (far * far).sum()]), sums.ratio),
      "change": (np.array(lengths), sums.ratio),
      "absolute": (
        sums.mean_row(_distance(factor, before[rows], after[rows])),
        sums.mean,
      ),
    }
    for measure in measures:
      table.add(f"{name}/{measure}", *cell[measure])


def _neighbour(clip: Int[np.ndarray, "n"]) -> Int[np.ndarray, "n"]:
  """For each subject the next one of its clip; itself if there is none."""
  following = np.arange(len(clip))
  for name in np.unique(clip):
    rows = np.flatnonzero(clip == name)
    following[rows] = np.roll(rows, -1)
  return following
