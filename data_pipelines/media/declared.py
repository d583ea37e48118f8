"""What PNG and AVIF files say of their colours that Pillow does not read.

Code points of ITU-T H.273: PNG has them in its chunk cICP (PNG, third edition,
11.3.2.6), AVIF in a box colr of the picture that is shown (ISO/IEC 14496-12,
12.1.5).
"""

import os
import struct
from collections.abc import Iterator

from data_pipelines.media.colour import Space

_PNG = b"\x89PNG\r\n\x1a\n"
_MOST = 1 << 20  # bytes of AVIF's index; of pictures it has some hundred
_CHUNKS = 1000  # of a PNG that are looked at


def png_space(path: str | os.PathLike) -> Space | None:
  """Of a PNG; None if it does not say."""
  with open(path, "rb") as file:
    if file.read(len(_PNG)) != _PNG:
      return None
    for _ in range(_CHUNKS):
      head = file.read(8)
      if len(head) < 8 or head[4:] == b"IDAT":
        return None
      length = struct.unpack(">I", head[:4])[0]
      if head[4:] == b"cICP" and length == 4:
        body = file.read(4)
        return Space(body[1], body[0]) if len(body) == 4 else None
      file.seek(length + 4, os.SEEK_CUR)
  return None


def avif_space(path: str | os.PathLike) -> Space | None:
  """Of the picture that an AVIF shows first; None if it does not say."""
  with open(path, "rb") as file:
    while len(head := file.read(8)) == 8:
      size, kind = struct.unpack(">I4s", head)
      if size < 8:  # to the end, or of 64 bits: no index is so large
        return None
      if kind == b"meta":
        return _of_meta(file.read(min(size - 8, _MOST)))
      file.seek(size - 8, os.SEEK_CUR)
  return None


def _of_meta(meta: bytes) -> Space | None:
  """By the properties that the index gives to its primary picture."""
  try:
    parts = dict(_boxes(meta[4:]))
    properties = dict(_boxes(parts[b"iprp"]))
    pitm = parts[b"pitm"]
    primary = struct.unpack_from(">I" if pitm[0] else ">H", pitm, 4)[0]
    known = list(_boxes(properties[b"ipco"]))
    for index in _indices(properties[b"ipma"], primary):
      kind, body = known[index - 1]
      if kind == b"colr" and body[:4] == b"nclx":
        primaries, transfer = struct.unpack_from(">HH", body, 4)
        return Space(transfer, primaries)
  except (KeyError, IndexError, struct.error):
    pass  # broken: the picture itself may be whole
  return None


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
  """Kinds and contents, one after another."""
  at = 0
  while at + 8 <= len(data):
    size, kind = struct.unpack_from(">I4s", data, at)
    if size < 8:
      return
    yield kind, data[at + 8 : at + size]
    at += size


def _indices(ipma: bytes, item: int) -> Iterator[int]:
  """Which properties an item has, counted from 1."""
  version, wide = ipma[0], ipma[3] & 1
  (count,) = struct.unpack_from(">I", ipma, 4)
  at = 8
  for _ in range(count):
    (number,) = struct.unpack_from(">I" if version else ">H", ipma, at)
    at += 4 if version else 2
    several = ipma[at]
    at += 1
    for _ in range(several):
      (index,) = struct.unpack_from(">H" if wide else ">B", ipma, at)
      at += 2 if wide else 1
      if number == item:
        yield index & (0x7FFF if wide else 0x7F)  # without "essential"
