"""Names of files as text: shown on any terminal, stored in any file.

A file's name is any bytes; Python has those that are no UTF-8 as surrogates,
which nothing can encode. Line breaks and control characters are legal too.
"""

import hashlib
import re
import unicodedata

_BIDI = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
_BYTES = re.compile("[\udc80-\udcff]+")  # as Python reads them in names
_LONGEST = 120  # bytes of a file's name that is made of another name


def printable(text: str) -> str:
  r"""The text in one line of Unicode; what cannot be shown as \xe9 or \u2028.

  That is: bytes that are no UTF-8, control characters, line and paragraph
  separators, and what turns the direction of the text after it.
  """
  return "".join(map(_shown, _BYTES.sub(_decoded, text)))


def label(name: str) -> str:
  """`printable`, so that two names never become one."""
  return printable(name.replace("\\", "\\\\"))


def check_utf8(path: str) -> None:
  """Refuses a folder to write into that the libraries cannot name.

  Raises:
    ValueError: the path is no UTF-8; one line.
  """
  if path != path.encode(errors="replace").decode():
    raise ValueError(
      f"{printable(path)}: is no UTF-8, which shards and checkpoints need;"
      " choose another folder"
    )


def file_stem(name: str, *, marked: bool = False) -> str:
  """A stem that file systems take, as like the name as can be.

  Args:
    name: Of a clip, with slashes or whatever else.
    marked: With a digest of the name, as one has that is too long: for where
      another name has given the same stem.
  """
  plain = re.sub(r"[^\w.-]", "_", name)
  if not marked and len(plain.encode()) <= _LONGEST and plain[:1] != ".":
    return plain
  digest = hashlib.sha256(name.encode()).hexdigest()[:8]
  short = plain.encode()[:_LONGEST].decode(errors="ignore")
  return f"{short.lstrip('.')}-{digest}"


def split_named(entry: str) -> tuple[str, str]:
  """Returns (name, path) of NAME=PATH; of a PATH alone the name is "".

  A slash before the "=" is of the path: /data/take=1 has no name.
  """
  name, sign, path = entry.partition("=")
  return (name, path) if sign and "/" not in name else ("", entry)


def _decoded(match: re.Match[str]) -> str:
  """What is UTF-8 after all, where the locale takes ASCII alone."""
  data = match[0].encode(errors="surrogateescape")
  return data.decode(errors="surrogateescape")


def _shown(letter: str) -> str:
  code = ord(letter)
  if 0xDC80 <= code <= 0xDCFF:  # a byte that was no UTF-8
    return f"\\x{code - 0xDC00:02x}"
  odd = unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp")
  if odd or unicodedata.bidirectional(letter) in _BIDI:
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
  return letter
