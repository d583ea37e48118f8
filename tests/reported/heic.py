"""HEIC files of many tiles, as telephones write them and no library does."""

import io
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pillow_heif
from jaxtyping import UInt8
from PIL import Image


def _box(kind: bytes, *parts: bytes) -> bytes:
  body = b"".join(parts)
  return struct.pack(">I4s", 8 + len(body), kind) + body


def _full(kind: bytes, version: int, *parts: bytes) -> bytes:
  return _box(kind, struct.pack(">I", version << 24), *parts)


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
  """Kind and whole bytes of each box in a row of them."""
  while data:
    size, kind = struct.unpack(">I4s", data[:8])
    yield kind, data[:size]
    data = data[size:]


def _coded(tile: UInt8[np.ndarray, "h w 3"]) -> tuple[bytes, bytes]:
  """A tile's hvcC box and its HEVC data, by way of a file of its own."""
  made = io.BytesIO()
  pillow_heif.from_pillow(Image.fromarray(tile)).save(made, quality=95)
  top = dict(_boxes(made.getvalue()))
  meta = dict(_boxes(top[b"meta"][12:]))
  properties = dict(_boxes(dict(_boxes(meta[b"iprp"][8:]))[b"ipco"][8:]))
  return properties[b"hvcC"], top[b"mdat"][8:]


def write_grid(
  path: Path, picture: UInt8[np.ndarray, "h w 3"], side: int
) -> None:
  """Writes a picture as square tiles that one item puts together.

  Args:
    path: Where to.
    picture: RGB, both sides multiples of `side`.
    side: Of a tile, px.
  """
  height, width = picture.shape[:2]
  rows, columns = height // side, width // side
  coded = [
    _coded(picture[y : y + side, x : x + side])
    for y in range(0, height, side)
    for x in range(0, width, side)
  ]
  count = len(coded)
  (settings,) = {box for box, _ in coded}
  layout = struct.pack(">BBBBHH", 0, 0, rows - 1, columns - 1, width, height)
  data = [*(hevc for _, hevc in coded), layout]
  grid = count + 1  # the items are 1 to count, and this one

  def meta(first: int) -> bytes:
    places, at = [], first
    for i, part in enumerate(data):
      places.append(struct.pack(">HHHII", i + 1, 0, 1, at, len(part)))
      at += len(part)
    kinds = [b"hvc1"] * count + [b"grid"]
    tiles = struct.pack(f">HH{count}H", grid, count, *range(1, grid))
    return _full(
      b"meta",
      0,
      _full(b"hdlr", 0, bytes(4), b"pict", bytes(13)),
      _full(b"pitm", 0, struct.pack(">H", grid)),
      _full(b"iloc", 0, b"\x44\0", struct.pack(">H", grid), *places),
      _full(
        b"iinf",
        0,
        struct.pack(">H", grid),
        *(
          _full(b"infe", 2, struct.pack(">HH4sB", i + 1, 0, kind, 0))
          for i, kind in enumerate(kinds)
        ),
      ),
      _full(b"iref", 0, _box(b"dimg", tiles)),
      _box(
        b"iprp",
        _box(
          b"ipco",
          settings,
          _full(b"ispe", 0, struct.pack(">II", side, side)),
          _full(b"ispe", 0, struct.pack(">II", width, height)),
        ),
        _full(
          b"ipma",
          0,
          struct.pack(">I", grid),
          *(struct.pack(">HBBB", i, 2, 0x81, 2) for i in range(1, grid)),
          struct.pack(">HBB", grid, 1, 3),
        ),
      ),
    )

  kind = _box(b"ftyp", b"heic", bytes(4), b"mif1heic")
  first = len(kind) + len(meta(0)) + 8
  path.write_bytes(kind + meta(first) + _box(b"mdat", *data))
