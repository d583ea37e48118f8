"""Which files of a folder are videos: by suffix, else by their first bytes."""

import os

from data_pipelines.sources import tree

_BYTES = 4096  # that are read of a file whose suffix tells nothing
VIDEO = (
  *tree.VIDEO,
  *(".mts", ".m2ts", ".m2t", ".ogv", ".wmv", ".asf", ".3gp", ".3g2", ".qt"),
  *(".f4v", ".vob", ".mpe", ".m1v", ".m2v", ".divx", ".mxf", ".dv"),
)
# What nothing but a look could tell: .ts is TypeScript too, .ogg mostly sound.
OTHERS = {
  "pictures": (
    *(".jpg", ".jpeg", ".jfif", ".png", ".bmp", ".tif", ".tiff", ".webp"),
    *(".heic", ".heif", ".avif", ".dng", ".cr2", ".cr3", ".nef", ".arw"),
    *(".svg", ".psd", ".ico"),
  ),
  "sounds": (
    *(".wav", ".mp3", ".m4a", ".aac", ".flac", ".opus", ".wma", ".aif"),
    *(".aiff", ".caf", ".oga", ".mka", ".amr", ".mid"),
  ),
  "texts and tables": (
    *(".txt", ".md", ".csv", ".tsv", ".json", ".jsonl", ".xml", ".html"),
    *(".yaml", ".yml", ".pdf", ".doc", ".docx", ".rtf", ".srt", ".vtt"),
    *(".ass", ".lab", ".py", ".sh", ".log", ".ini", ".nfo", ".url"),
  ),
  "archives; unpack what is to be used": (
    *(".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".zst", ".7z", ".rar"),
  ),
  "a camera's previews and lists": (
    *(".thm", ".lrv", ".lrf", ".cpi", ".bdm", ".mpl", ".bup", ".ifo", ".scr"),
  ),
  "unfinished downloads": (".part", ".crdownload", ".download", ".tmp"),
}
_BY_SUFFIX = {suffix: kind for kind, some in OTHERS.items() for suffix in some}
# Folders in which systems keep what users have thrown away or never made.
SYSTEM = frozenset(
  (
    *("$RECYCLE.BIN", "#recycle", "@Recycle", "RECYCLER", "lost+found"),
    *("@eaDir", "__MACOSX", "System Volume Information"),
  )
)
_PICTURES = (b"heic", b"heix", b"heim", b"hevc", b"mif1", b"msf1", b"avif")
_STARTS = (
  b"\x1a\x45\xdf\xa3",  # Matroska, WebM
  b"\x30\x26\xb2\x75\x8e\x66\xcf\x11",  # ASF: WMV
  b"\x00\x00\x01\xba",  # MPEG program stream
  b"\x00\x00\x01\xb3",  # MPEG video
  b"FLV\x01",
  b"\x06\x0e\x2b\x34\x02\x05\x01\x01",  # MXF
)
_IN_OGG = (b"\x80theora", b"OVP80", b"BBCD", b"fishead")


def other_kind(name: str) -> str:
  """What a file is that is no video by its suffix; "" if it may be one."""
  return _BY_SUFFIX.get(os.path.splitext(name)[1].lower(), "")


def is_video(path: str) -> bool:
  """Whether a regular file is one, by its suffix or else its first bytes.

  Raises:
    OSError: it cannot be read.
  """
  if os.path.splitext(path)[1].lower() in VIDEO:
    return True
  with open(path, "rb") as file:
    return _looks_like_video(file.read(_BYTES))


def _looks_like_video(data: bytes) -> bool:
  if data.startswith(_STARTS):
    return True
  if data.startswith(b"RIFF"):
    return data[8:12] == b"AVI "
  if data.startswith(b"OggS"):
    return any(mark in data for mark in _IN_OGG)
  if data.startswith(b"GIF8"):
    return b"NETSCAPE2.0" in data  # it moves
  if data[4:8] == b"ftyp":
    return data[8:12] not in _PICTURES and data[8:11] != b"M4A"
  if data[4:8] in (b"moov", b"mdat", b"wide") and len(data) == _BYTES:
    return True  # QuickTime of old
  return any(_is_transport(data, *shape) for shape in ((0, 188), (4, 192)))


def _is_transport(data: bytes, start: int, step: int) -> bool:
  """Whether sync bytes are where packets of so many bytes begin."""
  marks = data[start::step]
  return len(marks) > 4 and set(marks) == {0x47}
