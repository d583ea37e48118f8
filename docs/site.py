"""Hook of mkdocs: pages that lie outside docs/ become pages of the site."""

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
# Where a page lies in the repository, and on the site.
PAGES = {
  "README.md": "index.md",
  "CONTRIBUTING.md": "contributing.md",
  "CHANGELOG.md": "changelog.md",
  "speak_jax/PAPER.md": "paper.md",
}
_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")


def moved(text: str, page: str) -> str:
  """The text of a page with its links as they are on the site.

  Args:
    text: Markdown.
    page: Where it lies in the repository; a page of docs/ too. A link to a
      file that the site has not becomes the file's name as code.
  """
  here = posixpath.dirname(page)
  base = posixpath.dirname(_place(page))

  def link(match: re.Match) -> str:
    picture, label, target = match.groups()
    path, _, anchor = target.partition("#")
    if "://" in target or not path:
      return match[0]
    found = posixpath.normpath(posixpath.join(here, path))
    place = _place(found)
    if not place:
      return label if label.startswith("!") else f"`{found}`"
    place = posixpath.relpath(place, base or ".")
    return f"{picture}[{label}]({place}{'#' * bool(anchor)}{anchor})"

  return _LINK.sub(link, text)


def _place(path: str) -> str:
  """Where a file of the repository lies on the site; "" if nowhere."""
  if path in PAGES:
    return PAGES[path]
  return path.removeprefix("docs/") if path.startswith("docs/") else ""


def on_files(files: Files, config: MkDocsConfig) -> Files:
  """Adds the pages."""
  for page, place in PAGES.items():
    text = moved((ROOT / page).read_text(encoding="utf-8"), page)
    files.append(File.generated(config, place, content=text))
  return files


def on_page_markdown(markdown: str, page, config: MkDocsConfig, files: Files):
  """Links of docs/ to the pages outside it."""
  del config, files
  place = page.file.src_uri
  if place in PAGES.values():
    return markdown
  return moved(markdown, f"docs/{place}")
