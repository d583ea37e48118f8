"""Records to batches: one sampler for each stage, and the iterator over them.

A sampler is an endless `grain.MapDataset`: element k depends on the seed, on
k and on the data alone, whichever process or thread asks for it, so slicing
by process and resuming are exact. Pictures are brought to the model's size
first; aligned crops are cut from that, as they are when a video is generated.

Several data sets take turns in proportion to their clips, or as `share` says:
a share a set's name. A clip that turns out damaged is replaced by another of
its set, the same one whenever and wherever it is met, and counted in
`records.damage`, which raises TooManyDamagedError when there are too many.
"""

import functools
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import grain
import numpy as np
from jaxtyping import Int16

from data_pipelines.dataset.damage import DamagedError
from data_pipelines.dataset.offsets import Moved
from data_pipelines.dataset.ranges import Rows
from data_pipelines.dataset.reader import Records
from data_pipelines.sampling import augment
from data_pipelines.sampling.donors import Donors, other_time
from data_pipelines.sampling.pairs import KINDS, PairMaker
from speak_jax import spec

# Where SPEAK's identity frame comes from.
IDENTITY_FROM = ("other_clip", "same_clip", "either")
WINDOW_GAP = 3  # frames between SyncNet windows, where the clip is long enough
BLOCK = 1_000  # samples within which every data set has exactly its share
ATTEMPTS = 100  # clips in place of a damaged one

Sample = TypeVar("Sample", bound=tuple)


# --- stage 1 ---------------------------------------------------------------


def sync_windows(
  records: Records,
  *,
  frames: int = spec.SYNC_FRAMES,
  windows: int = 8,
  size: int,
  lips: int = 0,
  square: tuple[float, float] = spec.LIPS_SQUARE,
  reach: int = 0,
  share: Mapping[str, float] | None = None,
  seed: int,
) -> grain.MapDataset:
  """SyncNet's samples: windows of one clip, each with its own sound.

  The windows start at different frames, `WINDOW_GAP` apart where the clip is
  long enough; any two of them are a shifted pair. Clips of fewer than
  `frames + windows - 1` frames are left out.

  Args:
    records: Where the frames come from.
    frames: Of a window.
    windows: Of a clip.
    size: Side of whole frames in pixels.
    lips: Side of the aligned mouths in pixels, which are grey and show no more
      than frames at `size` do; 0: the frames' lower halves in colour.
    square: What of the face they show, as in `spec.lips_square`; cut out of the
      frames if it is not the one that is stored.
    reach: Frames from the first to the last start at most, where the windows
      have room in that; 0: all over the clip.
    share: As in `pairs`.
    seed: Of every draw.

  Returns:
    Dataset of `spec.SyncWindows` without the batch axis.

  Raises:
    ValueError: no clip is long enough, the frame rates differ, or `share`
      names a set that cannot serve.
  """
  fps = common_fps(records)
  need = frames + windows - 1
  usable = _at_least(records, need)

  def sample(i: int, rng: np.random.Generator) -> spec.SyncWindows:
    heard = records.heard(i)
    places, first = len(heard) - frames + 1, heard.start
    span = max(reach + 1, windows)
    if reach and span < places:
      first += int(rng.integers(places - span + 1))
      places = span
    starts = [first + place for place in _spread(places, windows, rng)]
    # Windows overlap: each picture is read once.
    times = sorted({t for s in starts for t in range(s, s + frames)})
    shown = (
      records.lips(i, times, lips, size, square)[..., None]
      if lips
      else records.frames(i, times, size)[:, size // 2 :]
    )
    at = np.searchsorted(times, np.add.outer(starts, range(frames)))
    return spec.SyncWindows(
      mouth=shown[at],
      audio=sounds(records.clip(i).audio, starts, frames, fps),
    )

  return _dataset(records, usable, sample, share, seed)


def _spread(places: int, count: int, rng: np.random.Generator) -> list[int]:
  """`count` sorted places, at least `WINDOW_GAP` apart if they fit."""
  slack = (places - count) // max(count - 1, 1)
  extra = min(WINDOW_GAP - 1, slack)  # on top of the one that distinct means
  free = places - extra * (count - 1)
  chosen = np.sort(rng.choice(free, count, replace=False))
  return (chosen + extra * np.arange(count)).tolist()


# --- stage 2 ---------------------------------------------------------------


def robust_mix(records: Records) -> dict[str, float]:
  """Weights of the pair kinds that these records can serve; relative."""
  if any(row.twins for row in records.index):
    return {"cross_clip": 0.4, "geometry": 0.1, "twins": 0.5}
  donors = _donors(records, same_session=False)  # says nothing of kinds
  mix = {"cross_clip": 0.75, "geometry": 0.25}
  if any(donors.has_same_emotion(i) for i in range(len(records))):
    mix["cross_person"] = 0.25
  if any(donors.views(i) for i in range(len(records))):
    mix["views"] = 0.5
  return mix


def pairs(
  records: Records,
  *,
  size: int,
  mouth_size: int,
  mix: Mapping[str, float],
  same_session: bool,
  treatment: augment.Treatment,
  share: Mapping[str, float] | None = None,
  seed: int,
) -> grain.MapDataset:
  """IRFD's samples: a target frame and the donors that must make it.

  Kinds:
    self: every donor is the target frame; the paper's own case, which swaps
      codes between the pairs of a batch.
    same_clip: identity and emotion from other frames of the clip; pose and
      mouth from the target, and another moment lends the pose picture its
      mouth, as `treatment` has it.
    cross_clip: same_clip with the identity from another clip of the person
      (or, with `same_session`, of the session), of another emotion where
      there is one; if there is another clip.
    geometry: cross_clip with the target turned, scaled and shifted, its pose
      label and landmarks following; half of these samples are mirrored, all
      donors together.
    twins: pose and mouth from the rendered twins, emotion from another
      person with the same emotion and level, identity as in cross_clip.
    cross_person: cross_clip with the emotion from another person with the
      same emotion and level.
    views: cross_clip with mouth and emotion as another camera saw them, the
      mouth at the very instant: an exact swap of the pose. The emotion is of
      another moment, so that it cannot tell what the lips do.

  All donors of a sample are of its data set. Kinds that a set cannot serve are
  left out there; where a clip cannot, another of the set takes its place.

  Args:
    records: Where the frames come from.
    size: Side of whole frames in pixels.
    mouth_size: Side of the aligned mouth patch.
    mix: Weight of each kind; 0 or absent leaves it out.
    same_session: The identity comes from the target's session, where that is
      known; from any clip of the person where it is not.
    treatment: Who lends mouths, and emotions, to all kinds but self.
    share: Of each data set by its name; None: as many as it has clips.
    seed: Of every draw.

  Returns:
    Dataset of `spec.Pair` without the batch axis.

  Raises:
    ValueError: a kind is unknown or cannot be served by these records, or
      `share` names a set that cannot serve.
  """
  if unknown := sorted(set(mix) - set(KINDS)):
    raise ValueError(f"pair kind {unknown[0]!r} is not one of {KINDS}")
  weights = np.array([mix.get(kind, 0.0) for kind in KINDS])
  if weights.min() < 0 or not weights.sum():
    raise ValueError(f"weights of pair kinds {dict(mix)} must be positive")
  donors = _donors(records, same_session)
  maker = PairMaker(records, donors, size, mouth_size, treatment)
  targets = {
    kind: [
      [i for i in range(part.start, part.stop) if maker.serves(kind, i)]
      for part in records.parts
    ]
    for kind, weight in zip(KINDS, weights, strict=True)
    if weight
  }
  edges = []  # of each set's kinds, on [0, 1)
  for kind, found in targets.items():
    if not any(found):
      raise ValueError(
        f"{records.name}: no clip has what pair kind {kind!r} needs"
      )
  for home, part in enumerate(records.parts):
    served = weights * [bool(targets.get(k, {home: 0})[home]) for k in KINDS]
    if not served.sum():
      raise ValueError(f"{part.name}: no clip serves any of {dict(mix)}")
    edges.append(np.cumsum(served / served.sum())[:-1])

  def sample(i: int, rng: np.random.Generator) -> spec.Pair:
    home = records.home(i)
    kind = KINDS[np.searchsorted(edges[home], rng.random(), side="right")]
    if not maker.serves(kind, i):
      able = targets[kind][home]
      i = able[int(rng.integers(len(able)))]
    return maker.make(kind, i, rng)

  return _dataset(records, _at_least(records, 1), sample, share, seed)


# --- stage 3 ---------------------------------------------------------------


def clips(
  records: Records,
  *,
  size: int,
  frames: int,
  context: int,
  emotion_frames: int,
  identity_from: str = "other_clip",
  same_session: bool,
  treatment: augment.Treatment,
  share: Mapping[str, float] | None = None,
  seed: int,
) -> grain.MapDataset:
  """SPEAK's samples: consecutive frames, their sound, identity and emotion.

  The identity frame comes from another clip of the person, of another emotion
  where there is one, or from outside the window of the same clip. The emotion
  pictures come from the clip, outside the window where enough frames are left,
  or from another of the person with the same emotion, as `treatment` has it.
  Another moment of the clip lends its mouth to the pose frames, as `treatment`
  has it, or another clip where the window is all of this one.
  Sound beyond the clip is silence. Left out are clips shorter than the window,
  and those without another to lend the identity if nothing of them lies outside
  the window.

  Args:
    records: Where the frames come from.
    size: Side of whole frames in pixels.
    frames: Length of the window.
    context: Frames of sound added on either side.
    emotion_frames: Number of emotion pictures.
    identity_from: Of `IDENTITY_FROM`: "other_clip" where the person has one,
      "same_clip" as in the paper, or "either", as a coin falls.
    same_session: As in `pairs`: the other clip is of the session.
    treatment: Who lends mouths, and emotions.
    share: As in `pairs`.
    seed: Of every draw.

  Returns:
    Dataset of `spec.Clip` without the batch axis.

  Raises:
    ValueError: no clip is long enough, the frame rates differ, an unknown
      `identity_from`, or `share` names a set that cannot serve.
  """
  if identity_from not in IDENTITY_FROM:
    raise ValueError(
      f"identity_from {identity_from!r} is not one of"
      f" {', '.join(IDENTITY_FROM)}"
    )
  fps = common_fps(records)
  donors = _donors(records, same_session)
  anywhere = identity_from != "same_clip"
  usable = [
    i
    for i in _at_least(records, frames)
    if records.index[i].frames > frames or (anywhere and not donors.alone(i))
  ]
  if not usable:
    raise ValueError(
      f"{records.name}: no clip has a frame outside a window of {frames}"
    )

  nobody = augment.nobody(size)

  def sample(i: int, rng: np.random.Generator) -> spec.Clip:
    clip, count = records.clip(i), records.index[i].frames
    heard = records.heard(i)
    start = heard.start + int(rng.integers(len(heard) - frames + 1))
    stop = start + frames
    elsewhere = anywhere
    if identity_from == "either" and count > frames:
      elsewhere = rng.random() < 0.5
    if elsewhere:
      j, t = donors.identity_frame(i, start, stop, rng)
    else:
      j, t = i, other_time(count, start, stop, rng)
    outside = count - frames
    if outside >= emotion_frames:
      chosen = rng.choice(outside, emotion_frames, replace=False)
      chosen += frames * (chosen >= start)
    else:
      chosen = rng.choice(count, emotion_frames, replace=count < emotion_frames)
    if treatment.pose:
      # One for all frames, so that time stays consistent. A clip of no more
      # than the window is served only where the identity has another.
      if outside:
        whose, when = i, other_time(count, start, stop, rng)
      else:
        whose, when = donors.identity_frame(i, start, stop, rng)
      side = spec.donor_side(size)
      donor = records.picture(whose, "frames", when, side)
      donor_landmarks = records.landmarks(whose, when, side)
    else:
      donor, donor_landmarks = nobody
    lender = donors.emotion_lender(i, treatment.emotion_clip, rng)
    if lender != i:
      chosen = rng.integers(records.index[lender].frames, size=emotion_frames)
    chosen = chosen.tolist()
    return spec.Clip(
      identity=records.picture(j, "frames", t, size),
      identity_landmarks=records.landmarks(j, t, size),
      frames=records.frames(i, range(start, stop), size),
      landmarks=records.landmarks(i, slice(start, stop), size),
      pose=clip.pose[start:stop],
      audio=sound(clip.audio, start - context, frames + 2 * context, fps),
      level=records.sound_level(i),
      emotion=records.frames(lender, chosen, size),
      # Not at once: that reads all between the first and the last.
      emotion_landmarks=np.stack(
        [records.landmarks(lender, t, size) for t in chosen]
      ),
      emotion_label=np.array(records.index[i].emotion, np.int32),
      donor=donor,
      donor_landmarks=donor_landmarks,
    )

  return _dataset(records, usable, sample, share, seed)


# --- what the samplers share -----------------------------------------------


def common_fps(records: Records) -> float:
  """The frame rate of all clips.

  Raises:
    ValueError: the clips have several, because a batch cannot hold them;
      says which data set has which.
  """
  rates: dict[float, list[str]] = {}
  for part in records.parts:
    for row in records.index[part.start : part.stop]:
      names = rates.setdefault(round(row.fps, 3), [])
      if part.name not in names:
        names.append(part.name)
  if len(rates) > 1:
    which = "; ".join(
      f"{rate} in {', '.join(names)}" for rate, names in sorted(rates.items())
    )
    raise ValueError(
      f"{records.name}: clips of several frames/s cannot share a batch: {which}"
    )
  return next(iter(rates))


def sound(
  audio: Int16[np.ndarray, "s"] | Rows | Moved,
  start: int,
  count: int,
  fps: float,
) -> Int16[np.ndarray, "..."]:
  """Samples of frames start to start + count; silence outside the clip.

  Frame t owns the samples from round(t * 16000 / fps). The length depends on
  `count` and `fps` alone, so that windows stack.
  """
  return sounds(audio, [start], count, fps)[0]


def sounds(
  audio: Int16[np.ndarray, "s"] | Rows | Moved,
  starts: Sequence[int],
  count: int,
  fps: float,
) -> Int16[np.ndarray, "n ..."]:
  """`sound` of several windows, read at once."""
  step = spec.samples_per_frame(fps)
  length, end = round(count * step), len(audio)
  firsts = [round(start * step) for start in starts]
  # Where they lie in the clip.
  lows = [min(max(first, 0), end) for first in firsts]
  highs = [min(max(first + length, 0), end) for first in firsts]
  spans = list(zip(lows, highs, strict=True))
  parts = (
    audio.spans(spans)
    if isinstance(audio, Rows)
    else [audio[low:high] for low, high in spans]
  )
  out = np.zeros((len(firsts), length), np.int16)
  for window, first, low, part in zip(out, firsts, lows, parts, strict=True):
    window[low - first : low - first + len(part)] = part
  return out


def _at_least(records: Records, frames: int) -> list[int]:
  """Clips with so many frames whose sound is there.

  Raises:
    ValueError: there is none.
  """
  lengths = [len(records.heard(i)) for i in range(len(records))]
  usable = [i for i, length in enumerate(lengths) if length >= frames]
  if not usable:
    longest = max(lengths, default=0)
    raise ValueError(
      f"{records.name}: no clip has {frames} frames, the longest has {longest}"
    )
  return usable


def _donors(records: Records, same_session: bool) -> Donors:
  return Donors(records.index, records.home, same_session)


def _dataset(
  records: Records,
  usable: Sequence[int],
  sample: Callable[[int, np.random.Generator], tuple],
  share: Mapping[str, float] | None,
  seed: int,
) -> grain.MapDataset:
  """Endless, reshuffled each epoch; element k has a generator of its own."""
  clips = {
    part.name: [i for i in usable if part.start <= i < part.stop]
    for part in records.parts
  }

  def sound_sample(i: int, rng: np.random.Generator) -> tuple:
    own = clips[records.parts[records.home(i)].name]
    for left in range(ATTEMPTS, -1, -1):
      try:
        return sample(i, rng)
      except DamagedError as error:
        records.damage.add(error)
        if not left:
          raise
      # The draws so far depend on what is damaged, not on who asks when.
      i = own[int(rng.integers(len(own)))]
    raise AssertionError  # the last attempt returns or raises

  if not share:
    order = grain.MapDataset.source(list(usable)).seed(seed)
    return order.shuffle().repeat().random_map(sound_sample)
  shares = _shares(clips, share)
  orders = [
    grain.MapDataset.source(clips[name])
    .seed(int(np.random.SeedSequence([seed, n]).generate_state(1)[0]))
    .shuffle()
    .repeat()
    for n, name in enumerate(shares)
  ]
  turns = _Turns(tuple(shares.values()), seed)
  mixed = grain.MapDataset.select_from_datasets(orders, turns)
  return mixed.seed(seed).random_map(sound_sample)


def _shares(
  clips: Mapping[str, Sequence[int]], share: Mapping[str, float]
) -> dict[str, float]:
  """The shares that are not 0, in the order of the data sets.

  Raises:
    ValueError: a name that is unknown, a share that is negative, nothing but
      zeros, or a data set without a usable clip.
  """
  for name, value in share.items():
    if name not in clips:
      raise ValueError(f"mix: {name!r} is not one of {', '.join(clips)}")
    if not (0 <= value < float("inf")):
      raise ValueError(f"mix: {name} has the share {value}")
    if value and not clips[name]:
      raise ValueError(f"mix: {name} has no clip that is long enough")
  shares = {name: share[name] for name in clips if share.get(name)}
  if not shares:
    raise ValueError(f"mix: nothing but zeros in {dict(share)}")
  return shares


class _Turns(grain.transforms.DatasetSelectionMap):
  """Which data set gives element k, and which of its elements.

  In each block every set has its share to the element, in an order that is
  drawn from the seed and the block's number. grain's own `mix` has one order
  for all, and a strict one: of two equal shares and batches of one, process 0
  of 2 would see nothing but the first set.
  """

  def __init__(self, shares: tuple[float, ...], seed: int):
    """Rounds shares to thousandths, none of them to zero."""
    exact = np.array(shares) / sum(shares) * BLOCK
    counts = np.maximum(np.floor(exact).astype(int), 1)
    while (missing := BLOCK - counts.sum()) != 0:
      step = int(np.sign(missing))
      # Towards the exact value, where the distance is the largest.
      distance = np.where(
        (counts > 1) | (step > 0), step * (exact - counts), -np.inf
      )
      counts[int(np.argmax(distance))] += step
    self._counts, self._seed = tuple(counts.tolist()), seed

  def __len__(self) -> int:
    """Endless, as its parents are."""
    return sys.maxsize

  def __getitem__(self, index: int) -> tuple[int, int]:
    """(data set, its element)."""
    number, place = divmod(index, BLOCK)
    which, rank = _block(self._counts, self._seed, number)
    home = int(which[place])
    return home, number * self._counts[home] + int(rank[place])


@functools.lru_cache(64)
def _block(
  counts: tuple[int, ...], seed: int, number: int
) -> tuple[np.ndarray, np.ndarray]:
  """Of every place in a block: the set, and how many of it came before."""
  rng = np.random.default_rng([seed, number])
  which = rng.permutation(np.repeat(np.arange(len(counts)), counts))
  rank = np.empty(len(which), int)
  for home, count in enumerate(counts):
    rank[which == home] = np.arange(count)
  return which, rank


def batched(
  dataset: grain.MapDataset,
  batch_size: int,
  process_index: int = 0,
  process_count: int = 1,
  threads: int = 2,
) -> grain.DatasetIterator:
  """An endless iterator over batches of one process.

  Process p of n gets batches p, p + n, ...: side by side they are, element by
  element, the batch of a single process with n times the size. `get_state`
  and `set_state` give and restore the position exactly, with any number of
  threads.

  Args:
    dataset: One of the samplers above.
    batch_size: Samples of this process.
    process_index: p.
    process_count: n.
    threads: Batches made ahead at the same time; 0 makes them on demand.

  Yields:
    The sampler's NamedTuple with arrays stacked on axis 0.
  """
  options = grain.ReadOptions(
    num_threads=threads, prefetch_buffer_size=2 * threads
  )
  mine = share_of(dataset, batch_size, process_index, process_count)
  return iter(mine.to_iter_dataset(options))


def share_of(
  dataset: grain.MapDataset,
  batch_size: int,
  process_index: int,
  process_count: int,
) -> grain.MapDataset:
  """The batches of one process of several, as `batched` has them."""
  batches = dataset.batch(batch_size, drop_remainder=True, batch_fn=stack)
  return batches[process_index::process_count]


def stack(samples: Sequence[Sample]) -> Sample:
  """Stacks NamedTuples of arrays field by field, on a new axis 0."""
  return type(samples[0])(*map(np.stack, zip(*samples, strict=True)))
