"""Where prepared data sets lie, as config.data.path and --data say it.

Entries are comma-separated, each DIR or NAME=DIR. A slash before the "=" is of
a path: /data/take=1 is a folder, not a data set called /data/take.
"""

from pathlib import Path

from speak_jax.common.names import split_named


def named_folders(paths: str) -> dict[str, Path]:
  """Folders by name, as given; without a name a folder's last part is it.

  Args:
    paths: Entries; those that are empty do not count.

  Raises:
    ValueError: two of one name, or no entry; one line.
  """
  folders: dict[str, Path] = {}
  for entry in _entries(paths):
    name, path = split_named(entry)
    name = name or Path(path).absolute().name
    if name in folders:
      raise ValueError(
        f"{path}: a second data set {name!r}; give it a name, as NAME={path}"
      )
    folders[name] = Path(path)
  if not folders:
    raise ValueError(f"{paths!r} names no data set")
  return folders


def absolute(paths: str) -> str:
  """The same entries from whatever folder: names stay, folders are absolute."""
  named = map(split_named, _entries(paths))
  return ",".join(
    f"{name}{'=' * bool(name)}{Path(path).absolute()}" for name, path in named
  )


def _entries(paths: str) -> list[str]:
  return [part.strip() for part in paths.split(",") if part.strip()]
