"""Parts of a record are those of the whole one, wherever they lie."""

import numpy as np
import pytest

from data_pipelines.dataset import opening, ranges, writer
from data_pipelines.dataset.record import NO_MESH, NO_MOUTHS, encode
from speak_jax import spec
from tests import toy_records
from tests.toy_records import same


def noisy(i, frames, twins=0, mouths=True):
  """A record whose pictures are long enough to cross blocks of the file."""
  rng = np.random.default_rng(i)
  record = toy_records.record(i, frames=frames, twins=twins)
  return record._replace(
    frames=[rng.bytes(int(n)) for n in rng.integers(1, 40_000, frames)],
    mouths=rng.integers(0, 256, (frames, 96, 96), np.uint8)
    if mouths
    else NO_MOUTHS,
    twin_pose=[rng.bytes(70_000) for _ in range(twins)],
    landmarks=rng.normal(size=(frames, 68, 2)).astype(np.float32),
    # As mouths, where there are any.
    mesh=rng.integers(-9000, 9000, (frames, 468, 3), np.int16)
    if mouths
    else NO_MESH,
  )


@pytest.fixture(scope="module")
def clips():
  return [noisy(0, 24), noisy(1, 3, twins=2), noisy(2, 1, mouths=False)]


@pytest.fixture(scope="module")
def data(tmp_path_factory, clips):
  folder = tmp_path_factory.mktemp("ranges")
  path = folder / writer.shard_name("train", 0, 1)
  plain = [
    clip._replace(frames=toy_records.record(0, frames=len(clip.frames)).frames)
    for clip in clips
  ]
  rows = writer.write_shard(path, plain)  # the index needs pictures
  places = writer.write_examples(path, map(encode, clips))
  rows = [row._replace(at=at) for row, at in zip(rows, places, strict=True)]
  writer.write_metadata(folder, rows)
  return folder


def test_parts_are_those_of_the_whole_record(data, clips):
  opened = opening.open_records(data, "train", cache_bytes=1)
  opened._load = None  # whole records are not asked for
  for i, clip in enumerate(clips):
    assert opened.index[i].at and opened.index[i].frames == len(clip.frames)
    for field in set(ranges.PICTURES) - {"mouths"}:
      pictures = getattr(clip, field)
      times = list(range(len(pictures)))
      assert opened.jpegs(i, field, times) == list(pictures)
      some = times[::3] + times[-1:] * (times[-1:] != times[::3][-1:])
      assert opened.jpegs(i, field, some) == [pictures[t] for t in some]
      with pytest.raises(IndexError):
        opened.jpegs(i, field, [len(pictures)])
    for times in (range(len(clip.mouths)), range(1, len(clip.mouths), 3)):
      if times:
        got = opened.lips(i, times, 96, 256)
        np.testing.assert_array_equal(got, clip.mouths[times])
        with pytest.raises(IndexError):
          opened.lips(i, [*times, len(clip.mouths)], 96, 256)
    np.testing.assert_array_equal(
      opened.sound_level(i), spec.sound_level(clip.audio)
    )
    for field in ranges.ARRAYS.keys() - {ranges.SOUND_LEVEL}:
      want, got = getattr(clip, field), getattr(opened.clip(i), field)
      assert len(got) == len(want)
      np.testing.assert_array_equal(got[:], want)
      assert got[:].dtype == want.dtype


@pytest.mark.parametrize(
  "key",
  [
    *(0, 7, -1, slice(3, 9), slice(9, 3), slice(None), slice(1, 20, 4)),
    slice(None, None, -1),
    np.array([5, 23, 5, 0]),
    [2, 1],
    np.array([], int),
  ],
)
def test_rows_are_indexed_as_arrays_are(data, clips, key):
  rows = opening.open_records(data, "train").clip(0)
  for field in ("landmarks", "mesh", "pose", "audio"):
    want = getattr(clips[0], field)[key]
    np.testing.assert_array_equal(getattr(rows, field)[key], want)
  audio, spans = clips[0].audio, [(0, 3200), (9000, 9000), (8000, 15_360)]
  for got, (low, high) in zip(rows.audio.spans(spans), spans, strict=True):
    np.testing.assert_array_equal(got, audio[low:high])
  with pytest.raises(IndexError):
    rows.pose[24]
  with pytest.raises(AttributeError):
    _ = rows.factors


@pytest.fixture
def sizes(monkeypatch):
  """Of all that is read of shards."""
  found = []
  read = ranges.Files.read

  def counted(self, shard, begin, size):
    found.append(size)
    return read(self, shard, begin, size)

  monkeypatch.setattr(ranges.Files, "read", counted)
  return found


def test_mouths_of_neighbouring_windows_are_one_read(data, sizes):
  opened = opening.open_records(data, "train")
  opened.lips(0, [0, 1, 2, 4, 5, 9, 10], 96, 256)
  assert sizes[1:] == [6 * 96 * 96, 2 * 96 * 96]
  # The sound of windows, each piece of it once.
  sizes.clear()
  opened.clip(0).audio.spans([(0, 3200), (640, 3840), (10_000, 13_200)])
  assert sizes == [2 * 24 * 640]


def test_few_bytes_are_read_for_a_picture(data, sizes):
  opened = opening.open_records(data, "train")
  (jpeg,) = opened.jpegs(0, "frames", [20])
  opened.landmarks(0, 20, 32)
  table, picture, points = sizes
  assert picture == len(jpeg)
  assert table < 2_000 and points <= ranges.CHUNK


def test_few_bytes_are_read_for_a_mesh(data, clips, sizes):
  opened = opening.open_records(data, "train")
  opened._load = None  # whole records are not asked for
  for size in (32, 64):
    got = opened.mesh(0, np.array([20, 22]), size)
    assert got.dtype == np.float32
    want = clips[0].mesh[[20, 22]] / 16384 * size
    want[..., :2] -= 0.5
    np.testing.assert_allclose(got, want, atol=1e-4)
  table, rows = sizes  # the second time they are there
  assert table < 2_000 and 3 * 2808 <= rows <= 2 * ranges.CHUNK
  assert opened.mesh(0, 3, 32).shape == (468, 3)
  assert opened.mesh(0, slice(2, 9), 32).shape == (7, 468, 3)
  assert not opened.index[2].meshes
  with pytest.raises(ValueError, match=r"clip clip2 has no meshes: prepare"):
    opened.mesh(2, 0, 32)


def test_what_lies_between_rows_is_not_read(data, sizes):
  far = opening.open_records(data, "train").mesh(0, [0, 23], 32)
  assert far.shape == (2, 468, 3)
  _, first, last = sizes  # of 24 rows
  assert first == ranges.CHUNK and last < 2 * ranges.CHUNK


def test_a_table_without_meshes_is_that_of_format_1_4_0(clips):
  """Row by row, as the code before wrote it."""
  for clip in clips:
    n, k = len(clip.frames), len(clip.twin_index)
    counts = ranges.Counts(n, clip.fps, len(clip.mouths), k)
    arrays = (
      ("audio", n * 640 * 2),
      ("landmarks", n * 68 * 2 * 4),
      ("pose", n * 3 * 4),
      ("twin_index", k * 4),
      ("twin_pose_landmarks", k * 68 * 2 * 4),
      ("twin_mouth_landmarks", k * 68 * 2 * 4),
      ("sound_level", 11 * 4),
    )
    at, first = 1, {}
    for name, size in arrays:
      first[name], at = at, at + -(-size // 16384)
    for name, many in (
      ("frames", n),
      ("mouths", len(clip.mouths)),
      ("twin_pose", k),
      ("twin_mouth", k),
    ):
      first[name], at = at, at + many
    layout = ranges.layout(counts)
    assert layout.rows == at
    assert {name: layout.first[name] for name in first} == first


def test_the_whole_record_is_as_ever(data, clips):
  opened = opening.open_records(data, "train")
  for i, clip in enumerate(clips):
    same(opened[i], clip)


def test_a_shard_that_is_laid_out_otherwise_is_refused(
  tmp_path, monkeypatch, clips
):
  """Compressed, or by an ArrayRecord that is not ours."""
  monkeypatch.setattr(writer, "WRITER_OPTIONS", "group_size:1,zstd:3")
  path = tmp_path / writer.shard_name("train", 0, 1)
  with pytest.raises(RuntimeError, match="does not lie where Riegeli has it"):
    writer.write_examples(path, map(encode, clips))
  assert not list(tmp_path.iterdir())
