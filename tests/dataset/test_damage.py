import json
import zlib

import numpy as np
import pytest
from tensorflow_datasets.proto import tf_example_pb2

from data_pipelines.dataset import damage, opening, ranges, writer
from data_pipelines.dataset.index import INDEX
from data_pipelines.dataset.pictures import with_mouths
from data_pipelines.dataset.record import encode
from data_pipelines.sampling.batched import batched
from data_pipelines.sampling.clips import sample_clips
from data_pipelines.sampling.pairs import sample_pairs
from data_pipelines.sampling.sync_windows import sample_sync_windows
from tests import toy_records
from tests.dataset.shards import COUNT, clips, prepared, replace, rewrite
from tests.sampling.samplers import CLIP, PAIR, equal
from tests.toy_records import same


def opened(folder, limit, say=None):
  found = opening.open_records(folder, "train")
  found.damage = damage.Damage(limit, say)
  return found


def truncate(path):
  path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])


def flip(path, at):
  raw = bytearray(path.read_bytes())
  raw[at] ^= 0x10
  path.write_bytes(raw)


def test_every_flipped_bit_is_harmless_or_found(tmp_path):
  """Riegeli hashes its chunks and checks them: none of 150 passes."""
  (path,) = prepared(tmp_path, clips()[:3])
  raw = path.read_bytes()
  want = list(map(encode, clips()[:3]))
  used = np.flatnonzero(np.frombuffer(raw, np.uint8))  # the rest is padding
  rng = np.random.default_rng(0)
  found = 0
  for at in rng.choice(used, 150, replace=False):
    damaged = bytearray(raw)
    damaged[at] ^= 1 << int(rng.integers(8))
    path.write_bytes(damaged)
    try:
      data = opening.open_records(tmp_path, "train")
    except ValueError:
      found += 1
      continue
    for i in range(3):
      try:
        assert encode(data[i]) == want[i], (at, i)
      except damage.DamagedError:
        found += 1
  assert found > 100


DAMAGE = {
  "shard cut off": lambda paths: truncate(paths[1]),
  "shard gone": lambda paths: paths[1].unlink(),
  "shard empty": lambda paths: paths[1].write_bytes(b""),
  "shard of another set": lambda paths: writer.write_shard(
    paths[1], [toy_records.record(i) for i in range(4)]
  ),
  "record flipped": lambda paths: flip(
    paths[1],
    np.flatnonzero(np.frombuffer(paths[1].read_bytes(), np.uint8))[400],
  ),
  "jpeg missing": lambda paths: rewrite(paths[1], lambda jpeg: b""),
  "jpeg cut off": lambda paths: rewrite(paths[1], lambda jpeg: jpeg[:-40]),
  "contract broken": lambda paths: replace(paths[1], map(odd, clips()[4:])),
}


def odd(record):
  """An example whose sound is too short, as no `encode` gives it."""
  data = encode(record)
  example = tf_example_pb2.Example.FromString(data)
  example.features.feature["audio"].bytes_list.value[0] = b"\0\0"
  return example.SerializeToString()


@pytest.mark.parametrize("harm", DAMAGE.values(), ids=DAMAGE)
def test_damage_is_replaced_counted_and_named_once(tmp_path, harm):
  harm(prepared(tmp_path, clips()))
  lines = []

  def start(threads, say=None):
    data = opened(tmp_path, COUNT, say)
    dataset = sample_clips(data, seed=0, **CLIP)
    return data, batched(dataset, 4, threads=threads)

  data, whole = start(0, lines.append)
  first = [next(whole) for _ in range(3)]
  state = whole.get_state()
  later = [next(whole) for _ in range(3)]
  assert 0 < len(data.damage) == len(lines) <= 4
  for line in lines:
    assert "-of-00002: clip clip" in line or "frames" in line
    assert "; replaced (" in line and "\n" not in line
  # The same ones replace them in threads, and after a resume.
  _, threaded = start(3)
  assert all(equal(batch, next(threaded)) for batch in first)
  _, resumed = start(2)
  resumed.set_state(state)
  assert all(equal(batch, next(resumed)) for batch in later)


@pytest.mark.parametrize("threads", [0, 3])
def test_too_much_damage_ends_with_the_first_clip(tmp_path, threads):
  paths = prepared(tmp_path, clips())
  truncate(paths[0])
  data = opened(tmp_path, 1)
  dataset = sample_pairs(data, mix={"self": 1.0}, seed=0, **PAIR)
  stream = batched(dataset, 4, threads=threads)
  with pytest.raises(damage.TooManyDamagedError) as caught:
    for _ in range(6):
      next(stream)
  text = str(caught.value)
  assert str(paths[0]) in text and "(2 damaged clips, 1 allowed)" in text
  assert f"clip {caught.value.clip} cannot be read" in text
  assert "\n" not in text


def test_nothing_is_replaced_where_nothing_is_allowed(tmp_path):
  paths = prepared(tmp_path, clips())
  rewrite(paths[1], lambda jpeg: b"")
  data = opening.open_records(tmp_path, "train")
  dataset = sample_clips(data, seed=0, **CLIP)
  with pytest.raises(damage.TooManyDamagedError, match="clip5: frames"):
    for k in range(3 * COUNT):
      dataset[k]


def test_a_set_without_a_readable_shard_is_refused(tmp_path):
  for path in prepared(tmp_path, clips()):
    truncate(path)
  with pytest.raises(ValueError, match="train cannot be opened"):
    opening.open_records(tmp_path, "train")


NO_MESHES = {"meshes": False}
NO_MOUTHS = {"mouths": 0, "grey": False, **NO_MESHES}


@pytest.mark.parametrize(
  ("version", "lost"),
  [
    ("1.0.0", {"take": "", "start": 0, "session": "", **NO_MOUTHS}),
    ("1.1.0", {"session": "", **NO_MOUTHS}),
    ("1.2.0", NO_MOUTHS),
  ],
)
def test_older_sets_lack_what_came_later(tmp_path, monkeypatch, version, lost):
  """Each format as it was written."""

  def encode_before(record):
    example = tf_example_pb2.Example.FromString(encode(record))
    later = {"grey_mouths", "places", "sound_level", "mesh"}
    gone = {*lost, *later} - {*NO_MOUTHS}
    for name in gone:
      del example.features.feature[name]
    return example.SerializeToString()

  with monkeypatch.context() as context:
    context.setattr(writer, "encode", encode_before)
    context.setattr(writer, "VERSION", version)
    prepared(tmp_path, clips())
  index = tmp_path / INDEX
  rows = [json.loads(line) for line in index.read_text().splitlines()]
  assert not any(row.pop("at") for row in rows)
  kept = [{k: v for k, v in row.items() if k not in lost} for row in rows]
  index.write_text("".join(json.dumps(row) + "\n" for row in kept))
  data = opening.open_records(tmp_path, "train")
  for name, empty in lost.items():
    assert getattr(data.index[3], name) == empty
    if name not in NO_MOUTHS:
      assert getattr(data[3], name) == empty
  assert not len(data[3].mouths) and data[3].mesh.shape == (0, 468, 3)
  assert toy_records.read(data.picture(3, "frames", 2, 32))[:2] == (3, 2)


def with_table(example, counts, arrays, clip):
  """The bytes of an example of before, its table made by hand.

  Args:
    example: Its features are as they were.
    counts: Of its parts.
    arrays: Names of the arrays that the table had.
    clip: Its name.
  """
  data = example.SerializeToString(deterministic=True)
  places = ranges._values(data)
  ((begin, end),) = places["places"]
  table = np.frombuffer(data[begin:end], "<u4").reshape(-1, 3).copy()
  parts = []
  for name in arrays:
    ((a, b),) = places[name]
    parts += [(k, min(k + (1 << 14), b)) for k in range(a, b, 1 << 14)]
  for name in ("frames", "mouths", "twin_pose", "twin_mouth"):
    if name == "mouths" and "grey_mouths" in places:
      ((a, b),) = places["grey_mouths"]
      each = (b - a) // counts.mouths
      parts += [(k, k + each) for k in range(a, b, each)]
    else:
      parts += places.get(name, [])
  for row, (a, b) in zip(table[1:], parts, strict=True):
    row[:] = a, b - a, zlib.crc32(data[a:b])
  assert len(table) == ranges.layout(counts).rows
  table[0] = begin, end - begin, 0
  table[0, 2] = ranges._sum(table.tobytes(), clip)
  return data[:begin] + table.tobytes() + data[end:]


ARRAYS_1_4 = (
  *("audio", "landmarks", "pose", "twin_index"),
  *("twin_pose_landmarks", "twin_mouth_landmarks", "sound_level"),
)


def test_a_set_of_format_1_4_has_no_meshes_and_is_read_in_parts(
  tmp_path, monkeypatch
):
  made = [
    with_mouths(toy_records.record(i, identity=i, twins=2)) for i in range(2)
  ]

  def encode_before(record):
    example = tf_example_pb2.Example.FromString(encode(record))
    del example.features.feature["mesh"]
    counts = ranges.Counts(16, record.fps, 16, 2)
    return with_table(example, counts, ARRAYS_1_4, record.clip)

  with monkeypatch.context() as context:
    context.setattr(writer, "encode", encode_before)
    context.setattr(writer, "VERSION", "1.4.0")
    prepared(tmp_path, made)
  index = tmp_path / INDEX
  rows = [json.loads(line) for line in index.read_text().splitlines()]
  assert not any(row.pop("meshes") for row in rows)
  index.write_text("".join(json.dumps(row) + "\n" for row in rows))
  data = opened(tmp_path, 0)
  for i, record in enumerate(made):
    same(data[i], record)
  data = opened(tmp_path, 0)
  data._load = None  # whole records are not asked for
  for i, record in enumerate(made):
    assert data.index[i].at and not data.index[i].meshes
    np.testing.assert_array_equal(
      data.lips(i, range(16), 16, 32), record.mouths
    )
    assert data.jpegs(i, "twin_mouth", [1]) == record.twin_mouth[1:]
    np.testing.assert_array_equal(
      data.landmarks(i, slice(3, 9), 32), record.landmarks[3:9]
    )
    assert len(data.clip(i).mesh) == 0
    with pytest.raises(ValueError, match="has no meshes"):
      data.mesh(i, 0, 32)


def test_mouths_of_format_1_3_are_jpegs_and_give_the_same_samples(
  tmp_path, monkeypatch
):
  grey = [with_mouths(clip) for clip in clips()[:2]]

  def encode_before(record):
    """A list of JPEGs in colour, each with its row of the table."""
    example = tf_example_pb2.Example.FromString(encode(record))
    features = example.features.feature
    del features["grey_mouths"], features["mesh"]
    features["mouths"].bytes_list.value.extend(
      toy_records.jpeg(np.repeat(mouth[..., None], 3, -1))
      for mouth in record.mouths
    )
    counts = ranges.Counts(16, record.fps, 16, 0)
    return with_table(example, counts, ARRAYS_1_4, record.clip)

  with monkeypatch.context() as context:
    context.setattr(writer, "encode", encode_before)
    context.setattr(writer, "VERSION", "1.3.0")
    prepared(tmp_path / "before", grey)
  index = tmp_path / "before" / INDEX
  rows = [json.loads(line) for line in index.read_text().splitlines()]
  assert all(row.pop("grey") for row in rows)
  index.write_text("".join(json.dumps(row) + "\n" for row in rows))
  prepared(tmp_path / "now", grey)
  before, now = (opened(tmp_path / name, 0) for name in ("before", "now"))
  assert before.index[1].mouths == 16 and before.index[1].at
  whole = before[1].mouths
  assert whole.shape == (16, 16, 16)
  assert np.abs(whole.astype(int) - grey[1].mouths).max() <= 2
  for size, lips in ((32, 16), (32, 8), (16, 16)):
    makes = [
      sample_sync_windows(data, size=size, lips=lips, windows=4, seed=0)
      for data in (before, now)
    ]
    for k in range(3):
      one, other = (make[k] for make in makes)
      assert one.mouth.shape == other.mouth.shape == (4, 5, lips, lips, 1)
      assert np.abs(one.mouth.astype(int) - other.mouth).max() <= 2
      np.testing.assert_array_equal(one.audio, other.audio)


def test_every_flipped_bit_of_what_is_read_in_parts_is_found(tmp_path):
  """As above, but no record is read whole."""
  made = [
    with_mouths(clip)._replace(mesh=toy_records.meshes(i, 16))
    for i, clip in enumerate(clips()[:3])
  ]
  (path,) = prepared(tmp_path, made)
  raw = path.read_bytes()
  first = opened(tmp_path, 0)

  def parts(data, i):
    clip = data.clip(i)
    yield from data.jpegs(i, "frames", range(16))
    yield data.lips(i, range(16), 16, 32)
    yield from (clip.audio[:], clip.landmarks[:], clip.pose[3:9])
    yield data.mesh(i, slice(None), 32)

  want = [list(parts(first, i)) for i in range(3)]
  rng = np.random.default_rng(0)
  found = same = 0
  begin, stop = first.index[0].at, first.index[2].at
  for at in rng.integers(begin, stop, 100):
    flip(path, at)
    data = opened(tmp_path, 0)
    for i in range(3):
      try:
        for a, b in zip(parts(data, i), want[i], strict=True):
          assert np.array_equal(a, b), (at, i)
        same += 1
      except damage.DamagedError:
        found += 1
    path.write_bytes(raw)
  assert found + same == 300 and 60 < found <= 100


def test_a_damaged_byte_of_a_mesh_is_named(tmp_path):
  made = [
    toy_records.record(i)._replace(mesh=toy_records.meshes(i, 16))
    for i in range(2)
  ]
  (path,) = prepared(tmp_path, made)
  where = path.read_bytes().index(made[1].mesh[9].tobytes())
  flip(path, where + 77)
  data = opened(tmp_path, 0)
  np.testing.assert_array_equal(data.clip(0).mesh[:], made[0].mesh)
  # Chunks of 16 KiB, of which frame 0 is in another.
  np.testing.assert_array_equal(data.clip(1).mesh[0], made[1].mesh[0])
  with pytest.raises(
    damage.DamagedError, match=r"-of-00001: clip clip1 cannot be read: mesh: "
  ):
    data.mesh(1, slice(8, 12), 32)
