import itertools
from collections import Counter

import numpy as np
import pytest

from data_pipelines.dataset import opening, reader, writer
from data_pipelines.sampling import mix
from data_pipelines.sampling.batched import batched
from data_pipelines.sampling.clips import sample_clips
from data_pipelines.sampling.pairs import robust_mix, sample_pairs
from tests.sampling.samplers import CLIP, PAIR, SAMPLERS, equal
from tests.toy_records import read, record

SIZES = {"a": 4, "b": 6, "c": 2}


def store(folder, clips, splits=("train",)):
  folder.mkdir()
  rows = []
  for split in splits:
    path = folder / writer.shard_name(split, 0, 1)
    rows += writer.write_shard(path, clips)
  writer.write_metadata(folder, rows)
  return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> reader.Records:
  """Three sets in which clips of two each are a person's; all names meet."""
  home = tmp_path_factory.mktemp("sets")
  number, folders = itertools.count(), []
  for name, count in SIZES.items():
    clips = [
      record(
        next(number), identity=i // 2, emotion=i % 2, twins=2 * (name == "b")
      )
      for i in range(count)
    ]
    folders.append(f"{name}={store(home / f'prepared_{name}', clips)}")
  return opening.open_records(",".join(folders), "train")


def home_of(data, picture) -> str:
  clip = read(picture)[0]
  return next(p.name for p in data.members if p.start <= clip < p.stop)


def mixed(data, share, seed=0):
  return sample_clips(data, share=share, seed=seed, **CLIP)


def sets_of(data, dataset, count):
  return [home_of(data, dataset[k].frames) for k in range(count)]


def test_sets_are_called_by_their_key_or_folder(data, tmp_path):
  assert [part.name for part in data.members] == ["a", "b", "c"]
  first = store(tmp_path / "mead", [record(0)])
  (tmp_path / "other").mkdir()
  second = store(tmp_path / "other" / "mead", [record(0)])
  (part,) = opening.open_records(first, "train").members
  assert part[:3] == ("mead", 0, 1)
  with pytest.raises(ValueError, match=r"second data set 'mead'; .* NAME="):
    opening.open_records(f"{first},{second}", "train")


def test_shares_are_exact_in_a_block_whatever_the_sizes(monkeypatch):
  monkeypatch.setattr(mix, "BLOCK", 20)
  turns = mix._Turns((0.5, 0.3, 0.2), 1)
  which = [turns[k][0] for k in range(60)]
  for start in (0, 20, 40):
    assert Counter(which[start : start + 20]) == {0: 10, 1: 6, 2: 4}
  assert which[:20] != which[20:40]
  # Each set is read in order, without a gap: epochs stay whole.
  for home in range(3):
    places = [turns[k][1] for k in range(60) if turns[k][0] == home]
    assert places == list(range(len(places)))
  # No process of two sees one set alone.
  assert {0, 1, 2} == set(which[::2]) == set(which[1::2])


@pytest.mark.parametrize(
  "share", [(1e-6, 1.0), (1.0, 1.0, 1.0), (0.333, 0.667)]
)
def test_rounded_shares_fill_the_block(share):
  turns = mix._Turns(share, 0)
  assert sum(turns._counts) == mix.BLOCK and min(turns._counts) > 0
  exact = np.array(share) / sum(share) * mix.BLOCK
  assert np.abs(np.array(turns._counts) - exact).max() <= 1


def test_a_set_depends_on_seed_and_index_alone(data):
  share = {"a": 0.5, "c": 0.5}
  first = sets_of(data, mixed(data, share), 60)
  assert first == sets_of(data, mixed(data, share), 60)
  assert first != sets_of(data, mixed(data, share, seed=1), 60)
  assert set(first) == {"a", "c"}
  assert 15 < first.count("a") < 45
  again = mixed(data, share)
  assert [home_of(data, again[k].frames) for k in (40, 7)] == [
    first[40],
    first[7],
  ]


def test_without_shares_clips_count_alike(data):
  found = sets_of(data, sample_clips(data, seed=0, **CLIP), 12)
  assert Counter(found) == SIZES  # an epoch


@pytest.mark.parametrize("threads", [0, 2, 5])
@pytest.mark.parametrize("rank", [(0, 1), (1, 3)])
def test_a_mixture_resumes_exactly(data, threads, rank):
  def start(threads):
    dataset = sample_pairs(
      data,
      mix=robust_mix(data),
      share={"a": 0.7, "b": 0.2, "c": 0.1},
      seed=4,
      **PAIR,
    )
    return batched(dataset, 3, *rank, threads=threads)

  whole = start(threads)
  for _ in range(3):
    next(whole)
  state = whole.get_state()
  resumed = start(2)
  resumed.set_state(state)
  for _ in range(3):
    assert equal(next(whole), next(resumed))


@pytest.mark.parametrize("make", SAMPLERS.values(), ids=SAMPLERS)
def test_processes_share_a_mixture(data, make):
  dataset = make(data, 1, share={"a": 0.5, "b": 0.5})
  alone = next(batched(dataset, 4, threads=0))
  for p in range(2):
    part = next(batched(dataset, 2, p, 2, threads=0))
    assert equal(
      part, type(part)(*(field[2 * p : 2 * p + 2] for field in alone))
    )


def test_donors_are_of_the_same_set_and_labels_of_all(data):
  labels = {}
  dataset = sample_pairs(
    data,
    mix={"cross_person": 1.0, "twins": 1.0, "self": 0.1},
    share={"a": 1, "b": 1, "c": 1},
    seed=0,
    **PAIR,
  )
  for k in range(60):
    pair = dataset[k]
    home = home_of(data, pair.target)
    assert home == home_of(data, pair.identity) == home_of(data, pair.emotion)
    person = home, read(pair.target)[0] // 2
    labels.setdefault(person, set()).add(int(pair.identity_label))
  assert all(len(found) == 1 for found in labels.values())
  assert len({next(iter(f)) for f in labels.values()}) == len(labels) == 6


def test_labels_that_a_set_lacks_are_unknown(tmp_path):
  known = store(tmp_path / "known", [record(0), record(1)])
  blank = store(tmp_path / "blank", [record(2, emotion=-1, level=0)])
  both = opening.open_records(f"{known},{blank}", "train")
  dataset = sample_clips(both, share={"known": 1, "blank": 1}, seed=0, **CLIP)
  for k in range(10):
    clip = read(dataset[k].frames)[0]
    assert dataset[k].emotion_label == (-1 if clip == 2 else 0)


def test_what_cannot_be_mixed_is_said(data, tmp_path):
  for share, words in (
    ({"d": 1.0}, "'d' is not one of a, b, c"),
    ({"a": -1.0}, "a has the share -1.0"),
    ({"a": 0.0}, "nothing but zeros"),
    ({"a": float("nan")}, "a has the share nan"),
  ):
    with pytest.raises(ValueError, match=words):
      mixed(data, share)
  long = store(tmp_path / "long", [record(0), record(1)])
  short = store(tmp_path / "short", [record(0, frames=3)])
  both = opening.open_records(f"{long},{short}", "train")
  with pytest.raises(ValueError, match="short has no clip that is long"):
    mixed(both, {"long": 1, "short": 1})
  slow = store(tmp_path / "slow", [record(0, fps=30.0)])
  both = opening.open_records(f"{long},{slow}", "train")
  with pytest.raises(ValueError, match=r"25\.0 in long; 30\.0 in slow"):
    mixed(both, {})
