"""The documents say what is: links, names of files, keys and commands."""

import ast
import functools
import os
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

import speak_jax
from speak_jax import __main__ as command
from speak_jax.configs import speak

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
# Reports of a day name the code of that day.
DATED = [*(DOCS / "results").rglob("20*.md")]
PAGES = sorted(
  path
  for path in [
    *ROOT.glob("*.md"),
    *DOCS.rglob("*.md"),
    ROOT / "speak_jax" / "PAPER.md",
  ]
  if path.name != "report.md"
)
LIVING = [
  path for path in PAGES if path not in DATED and path.name != "CHANGELOG.md"
]
# Where a page may leave out the first folders of a file's name.
HOMES = ("", "speak_jax", "data_pipelines", "docs", "docs/results")


def name(path: Path) -> str:
  return str(path.relative_to(ROOT))


def without_code(text: str) -> str:
  text = re.sub(r"^( *)```.*?^\1```", "", text, flags=re.DOTALL | re.MULTILINE)
  return re.sub(r"`[^`\n]*`", "", text)


def anchors(text: str) -> set[str]:
  """Of the headings of a page, as GitHub and the site make them."""
  text = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
  found = set()
  for title in re.findall(r"^#+ (.+)$", text, re.MULTILINE):
    title = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title)
    words = re.sub(r"[^\w\- ]", "", title.lower())
    found.add(words.strip().replace(" ", "-"))
  return found


def dead_links(text: str, folder: Path) -> list[str]:
  """Links of a page to files here that lead nowhere.

  Args:
    text: Of the page.
    folder: Where it lies.
  """
  wrong = []
  for link in re.findall(r"\]\(([^)\s]+)\)", without_code(text)):
    if "://" in link:
      continue
    path, _, anchor = link.partition("#")
    there = (folder / path).resolve()
    found = not path or (there.exists() and ROOT in there.parents)
    if found and anchor and there.suffix in ("", ".md"):
      found = anchor in anchors(there.read_text() if path else text)
    if not found:
      wrong.append(link)
  return wrong


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page):
  assert dead_links(page.read_text(), page.parent) == []


def test_dead_links_are_found():
  text = (
    "# A b\n[a](data.md) [b](gone.md) [c](#a-b) [d](data.md#no) [e](#c)"
    " [f](../../outside.md) `[g](code.md)` [h](data.md#drawn-people)"
  )
  wrong = ["gone.md", "data.md#no", "#c", "../../outside.md"]
  assert dead_links(text, DOCS) == wrong


# --- names -----------------------------------------------------------------


def spans(page: Path) -> list[str]:
  """What a page has in backticks, within a line or in blocks, word by word."""
  text = page.read_text()
  inline = re.findall(
    r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.S)
  )
  blocks = re.findall(r"```\w*\n(.*?)```", text, re.DOTALL)
  return [*inline, *(line for block in blocks for line in block.splitlines())]


@pytest.mark.parametrize("page", LIVING, ids=name)
def test_files_that_a_page_names_are_there(page):
  wrong = []
  for span in spans(page):
    for file in re.findall(r"(?<![\w./*$-])[\w./-]+\.(?:py|sh)\b", span):
      if Path(file).stem.isupper():  # NAME.py stands for what is called NAME
        continue
      if not any((ROOT / home / file).is_file() for home in HOMES):
        wrong.append(file)
    for path in re.findall(
      r"(?<![\w./-])((?:speak_jax|data_pipelines)(?:\.\w+)+)", span
    ):
      parts = path.split(".")
      files = [ROOT.joinpath(*parts[:n]) for n in range(2, len(parts) + 1)]
      offered = parts[0] == "speak_jax" and parts[1] in speak_jax.__all__
      is_file = any(x.with_suffix(".py").is_file() for x in files)
      if not (offered or is_file or files[-1].is_dir()):
        wrong.append(path)
  assert wrong == []


def names_in(nodes: Iterable[ast.AST]) -> set[str]:
  """Functions, classes and constants that some nodes define."""
  found = set()
  for node in nodes:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
      found.add(node.name)
    if isinstance(node, ast.Assign):
      found |= {ast.unparse(target) for target in node.targets}
  return found


def defined(file: Path) -> set[str]:
  """Functions, classes, methods and constants of a file."""
  return names_in(ast.walk(ast.parse(file.read_text())))


@pytest.mark.parametrize("page", LIVING, ids=name)
def test_functions_that_a_page_names_are_there(page):
  """`losses/sync.py:match`, but presets of configs/speak.py."""
  wrong = []
  for span in spans(page):
    for path, found in re.findall(r"(?<!\S)([\w/]+\.py):(\w+)", span):
      files = [ROOT / home / path for home in HOMES]
      there = [defined(x) for x in files if x.is_file()]
      if path.startswith("configs/"):
        continue
      if not any(found in x for x in there):
        wrong.append(f"{path}:{found}")
  assert wrong == []


def test_the_hops_are_there():
  """Each call of the page is in the file beside it."""
  page = (DOCS / "five_hops.md").read_text()
  rows = re.findall(r"^\| \d \| (.+?) \| (.+?) \|", page, re.MULTILINE)
  assert len(rows) == 5
  for calls, files in rows:
    there = [defined(ROOT / x) for x in re.findall(r"`([\w/]+\.py)`", files)]
    asked = re.findall(r"`(?:\w+\.)?(\w+)`", calls)
    assert asked and there
    for names in there:
      assert names & set(asked)  # no file stands there for nothing
    for call in asked:
      assert any(call in names for names in there), call


def names_of(module: str) -> set[str]:
  """What a module of ours defines at its top, and the modules in it."""
  path = ROOT.joinpath(*module.split("."))
  found = {x.stem for x in path.glob("*.py")} | {
    x.name for x in path.glob("*/")
  }
  file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
  return found | names_in(ast.parse(file.read_text()).body)


@pytest.mark.parametrize("page", LIVING, ids=name)
def test_imports_that_a_page_shows_are_there(page):
  wrong = []
  for block in re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL):
    for node in ast.walk(ast.parse(block)):
      if isinstance(node, ast.ImportFrom) and str(node.module) != "PIL":
        there = names_of(str(node.module))
        wrong += [x.name for x in node.names if x.name not in there]
  assert wrong == []


def keys() -> set[str]:
  """Dotted names of every key and branch of the config."""
  found = set()

  def walk(node, path):
    for key, value in node.items():
      found.add(path + key)
      if hasattr(value, "items"):
        walk(value, f"{path}{key}.")

  walk(speak.get_config(), "")
  return found


@pytest.mark.parametrize("page", LIVING, ids=name)
def test_config_keys_that_a_page_names_are_there(page):
  known = keys()
  branches = {key.partition(".")[0] for key in known if "." in key}
  wrong = []
  for span in spans(page):
    found = re.findall(r"(?<![\w./-])(?:--)?config\.([a-z_][\w.]*\w)", span)
    short = re.fullmatch(r"([a-z_]\w*)((?:\.\w+)+)(=.*)?", span)
    if short and short[1] in branches and not span.endswith((".py", ".md")):
      found.append(short[1] + short[2])
    wrong += [key for key in found if key not in known]
  # `train.limit_*` stands for several.
  starts = [x for x in wrong if x.endswith("_")]
  ends = [x for x in starts if any(key.startswith(x) for key in known)]
  assert sorted(wrong) == sorted(ends)


def file_of(module: str) -> Path:
  """The file that `python -m` runs."""
  path = ROOT.joinpath(*module.split("."))
  return path / "__main__.py" if path.is_dir() else path.with_suffix(".py")


def flags_of(path: Path, deep: bool = True) -> set[str]:
  """Flags that a command defines, itself or where it imports from us."""
  found = set()
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.Call):
      called = ast.unparse(node.func)
      words = [x.value for x in node.args if isinstance(x, ast.Constant)]
      words = [x for x in words if isinstance(x, str)]
      if "DEFINE" in called or called in ("text", "word", "switch", "number"):
        found |= {f"--{x}" for x in words[:1]}
      if called.endswith("add_argument"):
        found |= {x for x in words if x.startswith("-")}
      for key in node.keywords:
        if key.arg == "short_name" and isinstance(key.value, ast.Constant):
          found.add(f"-{key.value.value}")
    if deep and isinstance(node, ast.ImportFrom) and node.module:
      for alias in node.names:
        other = file_of(f"{node.module}.{alias.name}")
        if other.is_file() and ROOT in other.parents:
          found |= flags_of(other, deep=False)
  return found


def calls() -> dict[str, dict[str, set[str]]]:
  """{module: {flag: pages}} of all commands; flag "": who names it."""
  modules = {x: m for x, (m, _) in command.COMMANDS.items()}
  found: dict[str, dict[str, set[str]]] = {}
  for page in LIVING:
    text = re.sub(r"\\\n\s*", " ", page.read_text())
    lines = re.findall(
      r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.S)
    )
    for block in re.findall(r"```\w*\n(.*?)```", text, re.DOTALL):
      lines += block.splitlines()
    for line in lines:
      match = re.match(
        r"(?:\$ )?(?:\w+=\S+ |srun )*(?:speak ([a-z][a-z-]*)"
        r"|python -m ((?:speak_jax|data_pipelines)\.[\w.]+))(?![\w.]*\()(.*)",
        line.strip(),
      )
      if not match:
        continue
      words = match[3].partition("#")[0].partition(" -- ")[0]
      module = modules.get(match[1], match[1]) if match[1] else match[2]
      into = found.setdefault(module, {})
      into.setdefault("", set()).add(name(page))
      for flag in re.findall(r"(?<!\S)(--?[a-zA-Z][\w-]*)", words):
        if not flag.startswith("--config."):
          into.setdefault(flag, set()).add(name(page))
  return found


# Of absl and of ml_collections.
COMMON = {"--help", "--helpfull", "--version", "--verbosity", "--config"}


@pytest.mark.parametrize("module", sorted(calls()))
def test_commands_that_pages_name_have_their_flags(module):
  assert file_of(module).is_file(), calls()[module]
  known = COMMON | flags_of(file_of(module))
  wrong = {
    flag: sorted(pages)
    for flag, pages in calls()[module].items()
    if flag and flag not in known
  }
  assert wrong == {}


def test_unknown_flags_are_found():
  known = flags_of(ROOT / "data_pipelines" / "prepare.py")
  assert {"--source", "--shard", "--held-out"} <= known
  assert "--sourse" not in known


# --- messages --------------------------------------------------------------


@functools.cache
def said() -> str:
  """Every text of the code and of set-up; what is put into one is a bar."""
  texts = []
  for top in ("speak_jax", "data_pipelines", "configs"):
    for path in (ROOT / top).rglob("*.py"):
      for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.JoinedStr):
          texts += [
            x.value if isinstance(x, ast.Constant) else "|" for x in node.values
          ]
          texts.append("\n")
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
          texts += [node.value, "\n"]
  shell = (ROOT / "launch" / "setup.sh").read_text()
  texts.append(re.sub(r'" \\\n\s*"', " ", shell))
  return "".join(map(str, texts))


def lacking(message: str, texts: str) -> list[str]:
  """Parts of a message, between its dots, that no text has."""
  parts = re.split(r"\.{3,4}|: ", message)
  parts = [part.strip(" ()'") for part in parts]
  return [x for x in parts if len(x.split()) > 1 and x not in texts]


def test_messages_are_those_that_are_printed():
  page = (DOCS / "troubleshooting.md").read_text()
  rows = re.findall(r"^\| (`.*?) \| ", page, re.MULTILINE)
  texts = said()
  messages = [x for row in rows for x in re.findall(r"`([^`]+)`", row)]
  wrong = {x: lacking(x, texts) for x in messages if lacking(x, texts)}
  assert len(messages) > 60 and wrong == {}


def test_a_message_that_nothing_prints_is_found():
  assert lacking("...: no face anywhere in it", said())


# --- the site --------------------------------------------------------------


def test_site_builds_without_a_warning(tmp_path):
  run = subprocess.run(
    [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", tmp_path / "s"],
    cwd=ROOT,
    capture_output=True,
    text=True,
    env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
  )
  assert run.returncode == 0, run.stderr
  assert "WARNING" not in run.stderr
  made = {x.relative_to(tmp_path / "s") for x in tmp_path.rglob("index.html")}
  for page in ("", "paper", "changelog", "data"):
    assert Path(page) / "index.html" in made
