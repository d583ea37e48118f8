"""IRFD on held-out people: one code of a frame exchanged for another's.

Each subject is a frame with the pictures that its codes are read from; its
identity picture comes from another clip. A swap takes one code from a donor,
a subject of another person; what should move must move, and nothing else.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int, UInt8

from speak_jax.evaluation import ledger as figures
from speak_jax.evaluation.readers.reading import Reader, Reading, in_batches
from speak_jax.metrics import identity, image, pose, sums
from speak_jax.models.irfd import Codes, Portrait, hide_maps

SWAPS = ("none", "identity", "emotion", "pose", "mouth")


class Subjects(NamedTuple):
  """n frames, and what their codes are read from."""

  target: UInt8[np.ndarray, "n h w 3"]  # also gives the pose
  identity: UInt8[np.ndarray, "n h w 3"]
  identity_landmarks: Float[np.ndarray, "n 68 2"]
  emotion: UInt8[np.ndarray, "n f f 3"]
  mouth: UInt8[np.ndarray, "n m m 3"]
  pose: Float[np.ndarray, "n 3"]  # true angles of the target, degrees
  opening: Float[np.ndarray, "n"]
  label: Int[np.ndarray, "n"]  # emotion, -1 unknown
  person: Int[np.ndarray, "n"]
  clip: Int[np.ndarray, "n"]


class Swapped(NamedTuple):
  """A few subjects in all swaps, for the sheet."""

  subjects: Subjects
  donors: Int[np.ndarray, "n"]
  frames: dict[str, UInt8[np.ndarray, "n h w 3"]]


class Irfd(NamedTuple):
  """The trained networks as functions of uint8 batches."""

  # identity, its landmarks, pose frame, emotion, mouth ->
  # (portrait, codes, C_m's logits)
  encode: Callable[..., tuple[Portrait, Codes, Any]]
  decode: Callable[[Portrait, Codes], Any]  # -> (frames u8,)


def irfd(nets: Any, encoders: Any, decoder: Any) -> Irfd:
  """Networks and their variables, compiled once."""

  def unit(x):
    return x.astype("float32") / 127.5 - 1

  @jax.jit
  def encode(variables, face, landmarks, frame, emotion, mouth):
    def run(net):
      code = net.emotion(unit(emotion))
      return (
        net.portrait(unit(face), landmarks),
        Codes(net.pose(unit(frame)), code, net.mouth(unit(mouth))),
        net.classify(code),
      )

    return nets.encoders.apply(variables, method=run)

  @jax.jit
  def decode(variables, portrait, codes):
    made = nets.decoder.apply(variables, portrait, codes)
    scaled = ((made.astype("float32") + 1) * 127.5).round()
    return scaled.clip(0, 255).astype("uint8")

  return Irfd(
    lambda *pictures: encode(encoders, *pictures),
    lambda portrait, codes: (decode(decoder, portrait, codes),),
  )


def donors(subjects: Subjects, seed: int) -> Int[np.ndarray, "n"]:
  """For each subject one of another person, of another emotion if possible.

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


def measure(
  subjects: Subjects, model: Irfd, read: Reader, *, seed: int, shown: int
) -> tuple[figures.Figures, Swapped]:
  """All of IRFD's figures, and some of its pictures.

  Args:
    subjects: Frames of two or more held-out people.
    model: The networks.
    read: Who reads pose and so on off frames.
    seed: Of the donors and of the bootstrap.
    shown: How many subjects are kept for the sheet.
  """
  lender = donors(subjects, seed)
  portrait, codes, logits = encode(model, subjects)
  made = swaps(model, portrait, codes, lender)
  ledger = figures.Ledger()
  real = read(subjects.target)
  clips = [np.flatnonzero(subjects.clip == c) for c in np.unique(subjects.clip)]

  def book(name, row, statistic=sums.mean):
    for rows in clips:
      ledger.add(f"irfd/{name}", row(rows), statistic)

  psnr = image.psnr(made["none"], subjects.target)
  ssim = image.ssim(made["none"], subjects.target)
  book("psnr", lambda r: sums.mean_row(psnr[r]))
  book("ssim", lambda r: sums.mean_row(ssim[r]))
  if portrait.maps:
    plain = hide_maps(portrait, jnp.ones(len(real.found), bool))
    drawn = decode(model, jax.tree.map(np.asarray, plain), codes)
    bare = image.psnr(drawn, subjects.target)
    like = image.ssim(drawn, subjects.target)
    book("codes_only_psnr", lambda r: sums.mean_row(bare[r]))
    book("codes_only_ssim", lambda r: sums.mean_row(like[r]))
  sharp = image.gradient_energy(made["none"])
  truly = image.gradient_energy(subjects.target)
  book(
    "gradient_energy",
    lambda r: np.array([sharp[r].sum(), truly[r].sum()]),
    sums.ratio,
  )
  if (subjects.label >= 0).any():
    known = subjects.label >= 0
    right = logits.argmax(-1) == subjects.label
    book("emotion_accuracy", lambda r: _share(right, known, r))
  for swap in SWAPS:
    _pose(book, swap, read(made[swap]), real, subjects, lender)
  _judge(book, read, real, subjects, lender)
  found = ledger.figures(seed)
  for field, code in {"identity": portrait.identity, **codes._asdict()}.items():
    if code.shape[-1]:
      spread = float(code.std(0).mean())
      found[f"irfd/code_std/{field}"] = _plain(spread)
  moved = (
    found["irfd/pose_moved"].value - found["irfd/pose_moved_no_swap"].value
  )
  found["irfd/pose_moved_over_no_swap"] = _plain(moved)
  # One of each clip first, so that the sheet shows different people.
  picks = np.concatenate([rows[:1] for rows in clips] + clips)[:shown]
  kept = Swapped(
    Subjects(*(x[picks] for x in subjects)),
    lender[picks],
    {
      "donor": subjects.target[lender[picks]],
      **{swap: frames[picks] for swap, frames in made.items()},
    },
  )
  return found, kept


def _pose(
  book: Callable,
  swap: str,
  seen: Reading,
  real: Reading,
  subjects: Subjects,
  lender: np.ndarray,
) -> None:
  """One row of the swap matrix."""
  source, donor = subjects.pose, subjects.pose[lender]
  ok = seen.found
  key = {"none": "no_swap"}.get(swap, f"{swap}_swap")
  moved = {"none": "pose_moved_no_swap", "pose": "pose_moved"}.get(
    swap, f"pose_moved_{swap}_swap"
  )

  def rows(r):
    return r[ok[r]]

  book(
    moved,
    lambda r: pose.moved_row(
      seen.pose[rows(r)], source[rows(r)], donor[rows(r)]
    ),
    sums.ratio,
  )
  kept, goal = ("donor", donor) if swap == "pose" else ("source", source)
  book(
    f"pose_r2_{kept}_{key}",
    lambda r: sums.r2_row(seen.pose[rows(r)], goal[rows(r)]),
    sums.r2,
  )
  for who, at in (("source", np.arange(len(lender))), ("donor", lender)):
    target = subjects.opening[at]
    book(
      f"mouth_r_{who}_{key}",
      lambda r, t=target: _moments(seen.opening[rows(r)], t[rows(r)]),
      _correlation,
    )
  if seen.identity is not None and real.identity is not None:
    near = identity.cosine(seen.identity, real.identity)
    far = identity.cosine(seen.identity, real.identity[lender])
    book(f"identity_source_{key}", lambda r: sums.mean_row(near[r]))
    book(f"identity_donor_{key}", lambda r: sums.mean_row(far[r]))
    if swap == "identity":
      book("identity_swap_margin", lambda r: sums.mean_row(far[r] - near[r]))
  if seen.emotion is not None:
    guess = seen.emotion.argmax(-1)
    for who, label in (
      ("source", subjects.label),
      ("donor", subjects.label[lender]),
    ):
      known = label >= 0
      if known.any():
        book(
          f"emotion_{who}_{key}",
          lambda r, g=guess == label, k=known: _share(g, k, r),
        )


def _judge(
  book: Callable,
  read: Reader,
  real: Reading,
  subjects: Subjects,
  lender: np.ndarray,
) -> None:
  """The reader's own score on the real frames."""
  ok = real.found
  book(
    "judge/pose_r2",
    lambda r: sums.r2_row(real.pose[r[ok[r]]], subjects.pose[r[ok[r]]]),
    sums.r2,
  )
  book(
    "judge/mouth_r",
    lambda r: _moments(real.opening[r[ok[r]]], subjects.opening[r[ok[r]]]),
    _correlation,
  )
  if real.emotion is not None:
    known = subjects.label >= 0
    right = real.emotion.argmax(-1) == subjects.label
    if known.any():
      book("judge/emotion", lambda r: _share(right, known, r))
  if real.identity is not None:
    # Against the identity picture: the same person in another clip.
    other: Any = read(subjects.identity).identity
    same = identity.cosine(real.identity, other)
    apart = identity.cosine(real.identity, real.identity[lender])
    book("judge/identity_same", lambda r: sums.mean_row(same[r]))
    book("judge/identity_other", lambda r: sums.mean_row(apart[r]))


def encode(model: Irfd, subjects: Subjects) -> tuple[Portrait, Codes, Any]:
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
  model: Irfd, portrait: Portrait, codes: Codes
) -> UInt8[np.ndarray, "n h w 3"]:
  """Frames of portraits and codes, on the host."""
  leaves, shapes = jax.tree.flatten((portrait, codes))

  def run(*rows):
    return model.decode(*jax.tree.unflatten(shapes, rows))

  return in_batches(run, *leaves)[0]


def swaps(
  model: Irfd, portrait: Portrait, codes: Codes, lender: Int[np.ndarray, "n"]
) -> dict[str, UInt8[np.ndarray, "n h w 3"]]:
  """Every subject made again, once for each of `SWAPS`.

  Args:
    model: The networks.
    portrait: Of all subjects; an identity swap exchanges all of it.
    codes: Of all subjects.
    lender: Whose code each subject gets.
  """
  made = {}
  for swap in SWAPS:
    fed = portrait if swap != "identity" else chosen(portrait, lender)
    used = codes
    if swap in Codes._fields:
      used = codes._replace(**{swap: getattr(codes, swap)[lender]})
    made[swap] = decode(model, fed, used)
  return made


def chosen(tree: Any, rows: np.ndarray) -> Any:
  """Some rows of every array."""
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


def _plain(value: float) -> figures.Figure:
  return figures.Figure(value, float("nan"), float("nan"))


def grid(
  swapped: Swapped, columns: Sequence[str] = ("donor", *SWAPS)
) -> UInt8[np.ndarray, "r c h w 3"]:
  """Cells of the sheet: identity picture, source, donor, then every swap."""
  subjects = swapped.subjects
  cells = [subjects.identity, subjects.target]
  cells += [swapped.frames[column] for column in columns]
  return np.stack(cells, 1)
