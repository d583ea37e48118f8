"""Small files of many kinds, of one drawn person, and what may befall them.

Everything comes from a seed, so that a file that was found guilty can be made
again. Checksums of PNG and Ogg are mended: a wrong one would end the reading
before the wrong number is believed.
"""

import functools
import struct
import zlib
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
import pillow_heif
from PIL import Image

from data_pipelines.dataset.pictures import decode_frame
from data_pipelines.synthetic.render import Recipe, render_clip
from speak_jax import spec

SECONDS = 1.28  # of the film: prepare wants 25 frames
SIDE_PX = 160
SOUND_S = 0.6


class Film(NamedTuple):
  """How a film is written."""

  form: str
  video: str
  audio: str


class Mutant(NamedTuple):
  """A file that something has befallen."""

  kind: str  # its suffix
  how: str  # a key of HOW
  path: Path


PICTURES = ("png", "jpg", "webp", "heic", "avif", "tiff", "gif", "bmp")
FILMS = {
  "mp4": Film("mp4", "libx264", "aac"),
  "mov": Film("mov", "libx264", "pcm_s16le"),
  "mkv": Film("matroska", "libx264", "flac"),
  "webm": Film("webm", "libvpx", "libopus"),
  "avi": Film("avi", "mpeg4", "libmp3lame"),
  "mpg": Film("mpeg", "mpeg2video", "mp2"),
  "ts": Film("mpegts", "libx264", "aac"),
  "wmv": Film("asf", "wmv2", "wmav2"),
  "ogv": Film("ogg", "libvpx", "libopus"),
}
SOUNDS = {
  "wav": ("wav", "pcm_s16le"),
  "flac": ("flac", "flac"),
  "mp3": ("mp3", "libmp3lame"),
  "m4a": ("ipod", "aac"),
  "ogg": ("ogg", "flac"),
  "opus": ("ogg", "libopus"),
  "aiff": ("aiff", "pcm_s16be"),
  "wma": ("asf", "wmav2"),
}
KINDS = (*PICTURES, *FILMS, *SOUNDS)


# --- before ----------------------------------------------------------------


def person(seed: int) -> spec.Record:
  """Someone who speaks for a second."""
  recipe = Recipe(
    seed=seed,
    split="test",
    identity=0,
    emotion=0,
    level=1,
    seconds=SECONDS,
    size=SIDE_PX,
    framing="tight",
  )
  return render_clip(recipe)


def seeds(folder: Path, seed: int) -> dict[str, bytes]:
  """A whole file of each kind; they lie in the folder too, as `whole.KIND`."""
  folder.mkdir(parents=True, exist_ok=True)
  pillow_heif.register_heif_opener(thumbnails=False)
  record = person(seed)
  frames = [decode_frame(jpeg) for jpeg in record.frames]
  for kind in PICTURES:
    pictures = [Image.fromarray(frame) for frame in frames[:3]]
    more = {"save_all": True, "append_images": pictures[1:], "duration": 40}
    options = more if kind in ("gif", "webp") else {}
    pictures[0].save(folder / f"whole.{kind}", **options)
  sound = record.audio[: round(SOUND_S * spec.SAMPLE_RATE_HZ)]
  for kind, (form, codec) in SOUNDS.items():
    _write(folder / f"whole.{kind}", form, None, codec, [], sound)
  for kind, film in FILMS.items():
    path = folder / f"whole.{kind}"
    _write(path, film.form, film.video, film.audio, frames, record.audio)
  return {kind: (folder / f"whole.{kind}").read_bytes() for kind in KINDS}


def _write(path, form, video, audio, frames, sound) -> None:
  """A film, or a sound where there are no frames."""
  rate = 48000 if audio == "libopus" else 44100
  with av.open(str(path), "w", format=form) as out:
    seen = None
    if frames:
      seen = out.add_stream(video, rate=25)
      seen.width = seen.height = SIDE_PX
      seen.pix_fmt, seen.bit_rate = "yuv420p", 400_000
    heard = out.add_stream(audio, rate=rate, layout="mono")
    heard.bit_rate = 64_000
    for i, pixels in enumerate(frames):
      frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
      frame.pts, frame.time_base = i, Fraction(1, 25)
      out.mux(seen.encode(frame))
    if seen is not None:
      out.mux(seen.encode(None))
    whole = av.AudioFrame.from_ndarray(sound[None], "s16", "mono")
    whole.sample_rate, whole.pts = spec.SAMPLE_RATE_HZ, 0
    whole.time_base = Fraction(1, spec.SAMPLE_RATE_HZ)
    pieces = av.AudioResampler(
      heard.codec_context.format,
      "mono",
      rate,
      heard.codec_context.frame_size or 1024,
    )
    for frame in (*pieces.resample(whole), *pieces.resample(None)):
      out.mux(heard.encode(frame))
    out.mux(heard.encode(None))


# --- what befalls them -----------------------------------------------------

# Behind these, numbers stand that are believed: sizes, times, counts, places.
TAGS = (
  *(b"mvhd", b"mdhd", b"tkhd", b"stts", b"ctts", b"stsz", b"stsc", b"stco"),
  *(b"elst", b"stsd", b"avc1", b"avcC", b"mp4a", b"esds", b"trun", b"moov"),
  *(b"ispe", b"iloc", b"iinf", b"ipma", b"hvcC", b"av1C", b"colr", b"irot"),
  *(b"IHDR", b"PLTE", b"IDAT", b"RIFF", b"fmt ", b"data", b"avih", b"strh"),
  *(b"strf", b"idx1", b"VP8X", b"VP8 ", b"ANMF", b"COMM", b"SSND", b"FORM"),
  *(b"OggS", b"OpusHead", b"fLaC", b"Xing", b"Info", b"GIF89a", b"BM"),
  *(b"II*\0", b"\xff\xc0", b"\xff\xc4", b"\xff\xdb", b"\xff\xda"),
  *(b"\x2a\xd7\xb1", b"\x44\x89", b"\x16\x54\xae\x6b", b"\x1f\x43\xb6\x75"),
  *(b"\x00\x00\x01\xb3", b"\x00\x00\x01\xba", b"\x00\x00\x01\xe0"),
  *(b"\xa1\xdc\xab\x8c", b"\x91\x07\xdc\xb7", b"\xff\xfb", b"!\xf9\x04"),
)
EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x10000)
EXTREMES += (0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 62, (1 << 64) - 1)

Bytes = bytearray
Mutation = Callable[[Bytes, bytes, np.random.Generator], Bytes]


def _below(rng: np.random.Generator, most: int) -> int:
  """A number from 0 on, `most` excluded; 0 where there is none."""
  return int(rng.integers(max(most, 1)))


def _flip(data: Bytes, rng, times: int, most: int | None = None) -> Bytes:
  for _ in range(times):
    data[_below(rng, most or len(data))] ^= 1 << _below(rng, 8)
  return data


def _flipped(data: Bytes, other: bytes, rng) -> Bytes:
  del other
  return _flip(data, rng, 1 + _below(rng, 64))


def _flipped_head(data: Bytes, other: bytes, rng) -> Bytes:
  del other
  return _flip(data, rng, 1 + _below(rng, 8), min(len(data), 512))


def _truncated(data: Bytes, other: bytes, rng) -> Bytes:
  del other
  return data[: 2 + _below(rng, len(data))]


def _block(data: Bytes, rng) -> tuple[int, int]:
  """Begin and end of some of it."""
  begin = _below(rng, len(data))
  return begin, min(begin + 1 + _below(rng, len(data) // 4), len(data))


def _zeroed(data: Bytes, other: bytes, rng) -> Bytes:
  del other
  begin, end = _block(data, rng)
  data[begin:end] = bytes(end - begin)
  return data


def _repeated(data: Bytes, other: bytes, rng) -> Bytes:
  del other
  begin, end = _block(data, rng)
  return data[:end] + data[begin:end] * (1 + _below(rng, 8)) + data[end:]


def _swapped(data: Bytes, other: bytes, rng) -> Bytes:
  del other
  size = 1 + _below(rng, len(data) // 3)
  a = _below(rng, len(data) - 2 * size)
  b = a + size + _below(rng, len(data) - a - 2 * size)
  data[a : a + size], data[b : b + size] = (
    data[b : b + size],
    data[a : a + size],
  )
  return data


def _blow(data: Bytes, rng) -> None:
  """Puts an extreme number behind one of the TAGS, or into the beginning."""
  found = [tag for tag in TAGS if tag in data]
  at = 0
  if found and rng.random() < 0.8:
    tag = found[_below(rng, len(found))]
    places = data.count(tag)
    for _ in range(1 + _below(rng, min(places, 8))):
      at = data.find(tag, at) + len(tag)
    at += _below(rng, 32)
  else:
    at = _below(rng, 256)
  size = (1, 2, 4, 4, 8)[_below(rng, 5)]
  fitting = [x for x in EXTREMES if x < 1 << 8 * size]
  number = fitting[_below(rng, len(fitting))]
  order = ("big", "little")[_below(rng, 2)]
  at = min(at, max(len(data) - size, 0))
  data[at : at + size] = number.to_bytes(size, order)


def _blown(data: Bytes, other: bytes, rng) -> Bytes:
  del other
  _blow(data, rng)
  return data


def _blown_often(data: Bytes, other: bytes, rng) -> Bytes:
  del other
  for _ in range(2 + _below(rng, 6)):
    _blow(data, rng)
  return data


def _crossed(data: Bytes, other: bytes, rng) -> Bytes:
  """The other's header on this one's body."""
  size = 16 + _below(rng, min(len(other), len(data)) // 2)
  return Bytes(other[:size]) + data[size:]


def _followed(data: Bytes, other: bytes, rng) -> Bytes:
  """This one's header on the other's body."""
  size = 16 + _below(rng, min(len(other), len(data)) // 2)
  return data[:size] + other[size:]


def _renamed(data: Bytes, other: bytes, rng) -> Bytes:
  del data, rng
  return Bytes(other)


def _empty(data: Bytes, other: bytes, rng) -> Bytes:
  del data, other, rng
  return Bytes()


def _one_byte(data: Bytes, other: bytes, rng) -> Bytes:
  del other, rng
  return data[:1]


HOW: dict[str, Mutation] = {
  "flipped": _flipped,
  "flipped_head": _flipped_head,
  "truncated": _truncated,
  "zeroed": _zeroed,
  "repeated": _repeated,
  "swapped": _swapped,
  "blown": _blown,
  "blown_often": _blown_often,
  "crossed": _crossed,
  "followed": _followed,
  "renamed": _renamed,
  "empty": _empty,
  "one_byte": _one_byte,
}
# Two of them always give the same: once a kind is often enough.
TURNS = (
  *("flipped", "blown", "truncated", "blown_often", "crossed", "zeroed"),
  *("flipped_head", "repeated", "swapped", "blown", "followed", "flipped"),
  *("blown_often", "renamed", "truncated", "blown", "one_byte", "empty"),
)


def mutants(
  folder: Path, whole: dict[str, bytes], count: int, seed: int
) -> list[Mutant]:
  """Writes `count` files that something has befallen, all kinds in turn."""
  folder.mkdir(parents=True, exist_ok=True)
  made = []
  for i in range(count):
    rng = np.random.default_rng((seed, i))
    kind = KINDS[i % len(KINDS)]
    how = TURNS[(i % len(KINDS) + i // len(KINDS)) % len(TURNS)]
    other = whole[KINDS[_below(rng, len(KINDS))]]
    data = HOW[how](Bytes(whole[kind]), other, rng)
    path = folder / f"{i:04d}_{how}.{kind}"
    path.write_bytes(_mended(data))
    made.append(Mutant(kind, how, path))
  return made


# --- checksums -------------------------------------------------------------


def _mended(data: Bytes) -> bytes:
  """With the checksums of what it says now."""
  if data.startswith(b"\x89PNG\r\n\x1a\n"):
    at = 8
    while at + 12 <= len(data):
      (size,) = struct.unpack_from(">I", data, at)
      end = at + 8 + size
      if end + 4 > len(data):
        break
      struct.pack_into(">I", data, end, zlib.crc32(data[at + 4 : end]))
      at = end + 4
  at = data.find(b"OggS")
  while at >= 0 and at + 27 <= len(data):
    table = data[at + 27 : at + 27 + data[at + 26]]
    end = at + 27 + len(table) + sum(table)
    if end <= len(data):
      data[at + 22 : at + 26] = bytes(4)
      struct.pack_into("<I", data, at + 22, _ogg_crc(data[at:end]))
    at = data.find(b"OggS", at + 4)
  return bytes(data)


@functools.cache
def _ogg_table() -> tuple[int, ...]:
  table = []
  for i in range(256):
    value = i << 24
    for _ in range(8):
      value = (value << 1 ^ (0x04C11DB7 if value & 1 << 31 else 0)) & 0xFFFFFFFF
    table.append(value)
  return tuple(table)


def _ogg_crc(data: Bytes) -> int:
  """RFC 3533, 6: CRC-32 of 0x04c11db7, not reflected, from 0."""
  table, value = _ogg_table(), 0
  for byte in data:
    value = value << 8 & 0xFFFFFFFF ^ table[value >> 24 ^ byte]
  return value
