"""IRFD on held-out people: one code of a frame exchanged for another's.

Each subject is a frame with the pictures that its codes are read from; its
identity picture comes from another clip. A swap takes one code from a donor,
a subject of another person; what should move must move, and nothing else.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int, UInt8

from speak_jax.common.batching import in_batches
from speak_jax.evaluation.disentanglement.subjects import Subjects
from speak_jax.evaluation.metric_table import (
  MetricTable,
  MetricValues,
  Statistic,
  exact,
)
from speak_jax.evaluation.readers.face_reader import Reader, Reading
from speak_jax.metrics import identity, image, pose, sums
from speak_jax.models.irfd import Codes, IdentityFeatures, drop_maps
from speak_jax.nn.pixels import as_bytes, as_frames

SWAPS = ("none", "identity", "emotion", "pose", "mouth")


class Swapped(NamedTuple):
  """A few subjects in all swaps, for the sheet."""

  subjects: Subjects
  donors: Int[np.ndarray, "n"]
  frames: dict[str, UInt8[np.ndarray, "n h w 3"]]


class AllSwaps(NamedTuple):
  """All subjects encoded, made again in every swap, and what a reader sees.

  Made once; the swaps' metrics, the swap matrix and the sheets share it.
  """

  subjects: Subjects
  donors: Int[np.ndarray, "n"]  # whose code each subject gets
  portrait: IdentityFeatures
  codes: Codes
  logits: Float[np.ndarray, "n 8"]  # of C_m
  frames: dict[str, UInt8[np.ndarray, "n h w 3"]]  # by swap
  readings: dict[str, Reading]  # of these frames
  real: Reading  # of the subjects' own frames
  # As it is read off the identity picture, another clip's; None: the reader
  # cannot tell.
  other_identity: Float[np.ndarray, "n d"] | None


class Irfd(NamedTuple):
  """The trained networks as functions of uint8 batches."""

  # identity, its landmarks, pose frame, emotion, mouth ->
  # (portrait, codes, C_m's logits)
  encode: Callable[..., tuple[IdentityFeatures, Codes, Any]]
  decode: Callable[[IdentityFeatures, Codes], Any]  # -> (frames u8,)


def compile_irfd(nets: Any, encoders: Any, decoder: Any) -> Irfd:
  """IRFD's networks with their variables, compiled once.

  Args:
    nets: From `stages.init.networks`.
    encoders: Variables of nets.encoders.
    decoder: Variables of nets.decoder.
  """

  @jax.jit
  def encode(variables, face, landmarks, frame, emotion, mouth):
    def run(net):
      code = net.emotion(as_frames(emotion))
      return (
        net.portrait(as_frames(face), landmarks),
        Codes(
          net.pose(as_frames(frame)),
          code,
          net.mouth(as_frames(mouth)),
        ),
        net.classify(code),
      )

    return nets.encoders.apply(variables, method=run)

  @jax.jit
  def decode(variables, portrait, codes):
    return as_bytes(nets.decoder.apply(variables, portrait, codes).frames)

  return Irfd(
    lambda *pictures: encode(encoders, *pictures),
    lambda portrait, codes: (decode(decoder, portrait, codes),),
  )


def donors(subjects: Subjects, seed: int) -> Int[np.ndarray, "n"]:
  """For each subject one of another person, of another emotion if possible.

  Args:
    subjects: Frames of two or more people.
    seed: Seed of the draws.

  Raises:
    ValueError: all subjects are one person.
  """
  rng = np.random.default_rng(seed)
  picks = []
  for i in range(len(subjects.person)):
    others = subjects.person != subjects.person[i]
    unlike = others & (subjects.label != subjects.label[i])
    pool = np.flatnonzero(unlike if unlike.any() else others)
    if not len(pool):
      raise ValueError("swaps need frames of two people")
    picks.append(rng.choice(pool))
  return np.array(picks)


def make_all(
  subjects: Subjects, model: Irfd, read: Reader, *, seed: int
) -> AllSwaps:
  """Encodes subjects, makes them in all swaps, and reads the frames.

  Args:
    subjects: Frames of two or more held-out people.
    model: The networks.
    read: Reads pose and so on off frames.
    seed: Seed of the donors.

  Raises:
    ValueError: all subjects are one person.
  """
  donor = donors(subjects, seed)
  portrait, codes, logits = encode(model, subjects)
  frames = swaps(model, portrait, codes, donor)
  real = read(subjects.target)
  other = None if real.identity is None else read(subjects.identity).identity
  return AllSwaps(
    subjects,
    donor,
    portrait,
    codes,
    logits,
    frames,
    {swap: read(made) for swap, made in frames.items()},
    real,
    other,
  )


def measure(
  all_swaps: AllSwaps, model: Irfd, *, seed: int, shown: int
) -> tuple[MetricValues, Swapped]:
  """All of IRFD's metrics, and some of its pictures.

  Args:
    all_swaps: The subjects in all swaps.
    model: The networks.
    seed: Seed of the bootstrap.
    shown: How many subjects are kept for the sheet.
  """
  subjects, donor, real = all_swaps.subjects, all_swaps.donors, all_swaps.real
  portrait, codes = all_swaps.portrait, all_swaps.codes
  frames = all_swaps.frames
  table = MetricTable()
  clips = subjects.by_clip()

  def add(name: str, row_of: RowOf, statistic: Statistic = sums.mean) -> None:
    for rows in clips:
      table.add(f"irfd/{name}", row_of(rows), statistic)

  _add_likeness(add, "", frames["none"], subjects.target)
  if portrait.maps:
    bare = drop_maps(portrait, jnp.ones(len(real.found), bool))
    drawn = decode(model, jax.tree.map(np.asarray, bare), codes)
    _add_likeness(add, "codes_only_", drawn, subjects.target)
  _add_sharpness(add, frames["none"], subjects.target)
  if (subjects.label >= 0).any():
    known = subjects.label >= 0
    right = all_swaps.logits.argmax(-1) == subjects.label
    add("emotion_accuracy", lambda r: _share(right, known, r))
  for swap in SWAPS:
    _add_swap(add, swap, all_swaps.readings[swap], real, subjects, donor)
  _add_reader(add, all_swaps)
  values = table.values(seed)
  for field, code in {"identity": portrait.identity, **codes._asdict()}.items():
    if code.shape[-1]:
      values[f"irfd/code_std/{field}"] = exact(float(code.std(0).mean()))
  moved = (
    values["irfd/pose_moved"].value - values["irfd/pose_moved_no_swap"].value
  )
  values["irfd/pose_moved_over_no_swap"] = exact(moved)
  # One of each clip first, so that the sheet shows different people.
  picks = np.concatenate([rows[:1] for rows in clips] + clips)[:shown]
  pictures = {swap: swap_frames[picks] for swap, swap_frames in frames.items()}
  swapped = Swapped(
    Subjects(*(x[picks] for x in subjects)),
    donor[picks],
    {"donor": subjects.target[donor[picks]], **pictures},
  )
  return values, swapped


# Indices of a clip's subjects to the row of their sums.
RowOf = Callable[[Int[np.ndarray, "k"]], Float[np.ndarray, "c"]]
Adder = Callable[..., None]  # takes a metric's name, RowOf and statistic


def _add_likeness(
  add: Adder,
  prefix: str,
  frames: UInt8[np.ndarray, "n h w 3"],
  true: UInt8[np.ndarray, "n h w 3"],
) -> None:
  """PSNR and SSIM of frames made again."""
  psnr, ssim = image.psnr(frames, true), image.ssim(frames, true)
  add(f"{prefix}psnr", lambda r: sums.mean_row(psnr[r]))
  add(f"{prefix}ssim", lambda r: sums.mean_row(ssim[r]))


def _add_sharpness(
  add: Adder,
  frames: UInt8[np.ndarray, "n h w 3"],
  true: UInt8[np.ndarray, "n h w 3"],
) -> None:
  """Gradient energy of frames made again over that of the true ones."""
  energy, real = image.gradient_energy(frames), image.gradient_energy(true)
  add(
    "gradient_energy",
    lambda r: np.array([energy[r].sum(), real[r].sum()]),
    sums.ratio,
  )


def _add_swap(
  add: Adder,
  swap: str,
  reading: Reading,
  real: Reading,
  subjects: Subjects,
  donor: Int[np.ndarray, "n"],
) -> None:
  """One row of the swap matrix: how far each factor moved.

  Args:
    add: Takes a metric's name, its sums and their statistic.
    swap: One of SWAPS.
    reading: What the reader sees in the frames with the swap.
    real: Of the subjects' own frames.
    subjects: The sources.
    donor: Whose code each source got.
  """
  source_pose, donor_pose = subjects.pose, subjects.pose[donor]
  found = reading.found
  key = {"none": "no_swap"}.get(swap, f"{swap}_swap")
  moved = {"none": "pose_moved_no_swap", "pose": "pose_moved"}.get(
    swap, f"pose_moved_{swap}_swap"
  )

  def rows(r):
    return r[found[r]]

  add(
    moved,
    lambda r: pose.moved_row(
      reading.pose[rows(r)], source_pose[rows(r)], donor_pose[rows(r)]
    ),
    sums.ratio,
  )
  who, goal = (
    ("donor", donor_pose) if swap == "pose" else ("source", source_pose)
  )
  add(
    f"pose_r2_{who}_{key}",
    lambda r: sums.r2_row(reading.pose[rows(r)], goal[rows(r)]),
    sums.r2,
  )
  for who, people in (("source", np.arange(len(donor))), ("donor", donor)):
    opening = subjects.opening[people]
    add(
      f"mouth_r_{who}_{key}",
      lambda r, x=opening: _moments(reading.opening[rows(r)], x[rows(r)]),
      _correlation,
    )
  if reading.identity is not None and real.identity is not None:
    near = identity.cosine(reading.identity, real.identity)
    far = identity.cosine(reading.identity, real.identity[donor])
    add(f"identity_source_{key}", lambda r: sums.mean_row(near[r]))
    add(f"identity_donor_{key}", lambda r: sums.mean_row(far[r]))
    if swap == "identity":
      add("identity_swap_margin", lambda r: sums.mean_row(far[r] - near[r]))
  if reading.emotion is not None:
    guess = reading.emotion.argmax(-1)
    for who, label in (
      ("source", subjects.label),
      ("donor", subjects.label[donor]),
    ):
      known = label >= 0
      if known.any():
        add(
          f"emotion_{who}_{key}",
          lambda r, g=guess == label, k=known: _share(g, k, r),
        )


def _add_reader(add: Adder, all_swaps: AllSwaps) -> None:
  """The reader's own score on the real frames."""
  real, subjects = all_swaps.real, all_swaps.subjects
  found = real.found
  add(
    "judge/pose_r2",
    lambda r: sums.r2_row(real.pose[r[found[r]]], subjects.pose[r[found[r]]]),
    sums.r2,
  )
  add(
    "judge/mouth_r",
    lambda r: _moments(
      real.opening[r[found[r]]], subjects.opening[r[found[r]]]
    ),
    _correlation,
  )
  if real.emotion is not None:
    known = subjects.label >= 0
    right = real.emotion.argmax(-1) == subjects.label
    if known.any():
      add("judge/emotion", lambda r: _share(right, known, r))
  if real.identity is not None and all_swaps.other_identity is not None:
    # Against the identity picture: the same person in another clip.
    same = identity.cosine(real.identity, all_swaps.other_identity)
    strangers = identity.cosine(real.identity, real.identity[all_swaps.donors])
    add("judge/identity_same", lambda r: sums.mean_row(same[r]))
    add("judge/identity_other", lambda r: sums.mean_row(strangers[r]))


def encode(
  model: Irfd, subjects: Subjects
) -> tuple[IdentityFeatures, Codes, Any]:
  """Portraits, codes and C_m's logits of all subjects, on the host."""
  shapes: Any = None

  def run(*rows):
    nonlocal shapes
    leaves, shapes = jax.tree.flatten(model.encode(*rows))
    return leaves

  leaves = in_batches(
    run,
    subjects.identity,
    subjects.identity_landmarks,
    subjects.target,
    subjects.emotion,
    subjects.mouth,
  )
  return jax.tree.unflatten(shapes, leaves)


def decode(
  model: Irfd, portrait: IdentityFeatures, codes: Codes
) -> UInt8[np.ndarray, "n h w 3"]:
  """Frames of portraits and codes, on the host."""
  leaves, shapes = jax.tree.flatten((portrait, codes))

  def run(*rows):
    return model.decode(*jax.tree.unflatten(shapes, rows))

  return in_batches(run, *leaves)[0]


def swaps(
  model: Irfd,
  portrait: IdentityFeatures,
  codes: Codes,
  donor: Int[np.ndarray, "n"],
) -> dict[str, UInt8[np.ndarray, "n h w 3"]]:
  """Every subject made again, once for each of `SWAPS`.

  Args:
    model: The networks.
    portrait: Of all subjects; an identity swap exchanges all of it.
    codes: Codes of all subjects.
    donor: Whose code each subject gets.

  Returns:
    {swap: frames}.
  """
  frames = {}
  for swap in SWAPS:
    face = portrait if swap != "identity" else take_rows(portrait, donor)
    swapped = codes
    if swap in Codes._fields:
      swapped = codes._replace(**{swap: getattr(codes, swap)[donor]})
    frames[swap] = decode(model, face, swapped)
  return frames


def take_rows(tree: Any, rows: Int[np.ndarray, "k"]) -> Any:
  """Some rows of every array of a tree."""
  return jax.tree.map(lambda x: x[rows], tree)


def _share(hits: np.ndarray, known: np.ndarray, rows: np.ndarray) -> np.ndarray:
  """Hits among the rows whose label is known."""
  return sums.mean_row(hits[rows][known[rows]].astype(float))


def _moments(x: np.ndarray, y: np.ndarray) -> np.ndarray:
  """Sums for a correlation over all subjects, means not taken off yet."""
  x, y = x.astype(float), y.astype(float)
  return np.array([x.sum(), y.sum(), x @ y, x @ x, y @ y, len(x)])


def _correlation(rows: np.ndarray) -> float:
  x, y, xy, xx, yy, n = rows.sum(0)
  if not n:
    return float("nan")
  spread = (xx - x * x / n) * (yy - y * y / n)
  return float((xy - x * y / n) / np.sqrt(spread)) if spread > 0 else 0.0


def sheet_cells(swapped: Swapped) -> UInt8[np.ndarray, "r c h w 3"]:
  """Cells of the sheet: identity picture, source, donor, then every swap."""
  subjects = swapped.subjects
  cells = [subjects.identity, subjects.target]
  cells += [swapped.frames[column] for column in ("donor", *SWAPS)]
  return np.stack(cells, 1)
