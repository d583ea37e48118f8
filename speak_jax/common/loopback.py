"""What is this machine's alone: addresses to listen at, names in requests."""

import ipaddress
from urllib.parse import SplitResult, urlsplit

NAMES = ("localhost", "127.0.0.1", "::1")  # by which a browser comes here


def is_loopback(host: str) -> bool:
  """Whether an address is of this machine alone; no name but localhost is."""
  if host == "localhost":
    return True
  try:
    return ipaddress.ip_address(host).is_loopback
  except ValueError:
    return False


def parsed(url: str) -> SplitResult:
  """A URL out of a request, which may be anything; malformed, it is empty."""
  try:
    return urlsplit(url)
  except ValueError:
    return urlsplit("")
