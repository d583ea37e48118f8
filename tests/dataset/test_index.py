import numpy as np
import pytest

from data_pipelines.dataset import index
from data_pipelines.dataset.index import ClipInfo, Index


def rows(count):
  return [
    ClipInfo(
      clip=f"person{i % 3}/\udcffclip{i}",  # a name that is no UTF-8
      identity=f"person{i % 3}",
      emotion=i % 9 - 1,
      level=3,
      view="front" if i % 2 else "",
      frames=100_000 + i,
      fps=25.0 + i % 2,
      size=256,
      twins=0,
      shard=index.NAME + f"-{'test' if i % 4 == 3 else 'train'}.array_record"
      f"-{i % 2:05d}-of-00002",
      row=count - i,
      grey=i % 2 == 0,
      at=(1 << 40) + i,
    )
    for i in range(count)
  ]


def test_columns_give_the_rows_that_were_put_in(monkeypatch):
  monkeypatch.setattr(index, "_CHUNK", 4)
  put = rows(11)
  found = Index(row._asdict() for row in put)
  assert list(found) == put and len(found) == 11
  assert [found[i] for i in range(-11, 11)] == put * 2
  for got, want in zip(found[3], put[3], strict=True):
    assert type(got) is type(want)
  assert list(found[2:9:3]) == put[2:9:3]
  assert list(found.take(np.array([7, 0, 7]))) == [put[7], put[0], put[7]]
  assert found.column("frames").tolist() == [row.frames for row in put]
  numbers, values = found.numbered("identity")
  assert [values[k] for k in numbers] == [row.identity for row in put]
  for i in (11, -12):
    with pytest.raises(IndexError, match="of 11"):
      found[i]
  with pytest.raises(ValueError, match="read-only"):
    found.column("frames")[0] = 1


def test_columns_are_narrow():
  found = Index(row._asdict() for row in rows(300))
  kinds = {name: found.column(name).dtype for name in ("emotion", "row", "at")}
  assert kinds == {"emotion": np.int8, "row": np.int16, "at": np.int64}


def test_rows_of_a_split():
  put = rows(9)
  found = Index(row._asdict() for row in put)
  assert index.splits_of(found) == ["train", "test"]
  assert index.rows_of(found, "test").tolist() == [3, 7]
  assert not len(index.rows_of(found, "judge"))
  assert index.splits_of(Index(())) == [] and not len(Index(()))


def test_older_rows_have_defaults_and_unknown_fields_are_refused():
  (row,) = rows(1)
  old = {k: v for k, v in row._asdict().items() if k not in ("take", "at")}
  assert Index([old])[0] == row._replace(take="", at=0)
  with pytest.raises(TypeError, match="colour"):
    Index([{**old, "colour": 1}])
  del old["frames"]
  with pytest.raises(TypeError, match="frames"):
    Index([old])
