"""What befalls a machine: its disk is full, its network is cut. Needs root.

Folders on a disk of their own (tmpfs), and hosts on a network of their own
(Linux network namespaces), both made and taken down here.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NAMES = ("speak0", "speak1")
ADDRESSES = ("10.213.7.1", "10.213.7.2")


def able() -> bool:
  """Whether this process may do all that."""
  return os.geteuid() == 0 and all(map(shutil.which, ("ip", "mount")))


@contextmanager
def disk(folder: Path, megabytes: int) -> Iterator["Disk"]:
  """A small disk, there while the block runs."""
  folder.mkdir(parents=True, exist_ok=True)
  _do("mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder))
  try:
    yield Disk(folder)
  finally:
    _do("umount", "--lazy", str(folder))


class Disk:
  """A disk that can be filled up, and made free again."""

  def __init__(self, folder: Path):
    """`folder` is where it is mounted."""
    self.folder = folder
    self._ballast = folder / "ballast"

  def fill(self, leave: int = 0) -> None:
    """Takes all that is free, but for so many bytes."""
    free = shutil.disk_usage(self.folder).free - leave
    with self._ballast.open("wb") as file:
      os.posix_fallocate(file.fileno(), 0, max(free, 1))

  def free(self) -> None:
    """Gives it back."""
    self._ballast.unlink()


@contextmanager
def hosts() -> Iterator["Hosts"]:
  """Two hosts that share a cable, there while the block runs."""
  _forget()
  try:
    for name in NAMES:
      _do("ip", "netns", "add", name)
      _do("ip", "-n", name, "link", "set", "lo", "up")
      # What `ip netns exec` shows as /etc/hosts: gloo asks for a host's name.
      known = Path("/etc/netns") / name
      known.mkdir(parents=True, exist_ok=True)
      lines = [
        "127.0.0.1 localhost",
        *map(" ".join, zip(ADDRESSES, NAMES, strict=True)),
      ]
      (known / "hosts").write_text("\n".join(lines) + "\n")
    first, second = NAMES
    _do(
      *("ip", "link", "add", "cable", "netns", first, "type", "veth"),
      *("peer", "name", "cable", "netns", second),
    )
    for name, address in zip(NAMES, ADDRESSES, strict=True):
      _do("ip", "-n", name, "addr", "add", f"{address}/24", "dev", "cable")
      _do("ip", "-n", name, "link", "set", "cable", "up")
    yield Hosts()
  finally:
    _forget()


class Hosts:
  """Where commands are run as if on hosts 0 and 1."""

  address = ADDRESSES[0]  # of host 0

  def words(self, host: int) -> list[str]:
    """What stands before a command on a host."""
    name = NAMES[host]
    there = ["ip", "netns", "exec", name, "unshare", "--uts", "sh", "-c"]
    return [*there, f'hostname {name} && exec "$@"', "sh"]

  def cut(self) -> None:
    """Pulls the cable: nothing is refused, nothing arrives."""
    _do("ip", "-n", NAMES[1], "link", "set", "cable", "down")


def _forget() -> None:
  for name in NAMES:
    subprocess.run(["ip", "netns", "del", name], capture_output=True)
    shutil.rmtree(Path("/etc/netns") / name, ignore_errors=True)


def _do(*words: str) -> None:
  subprocess.run(words, check=True, capture_output=True, text=True)
