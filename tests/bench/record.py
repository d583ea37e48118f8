"""Fills README's and the report's tables from the JSON of `speak bench`.

  speak bench --json docs/results/2026-11-30-bench.json
  python -m tests.bench.record

On an idle machine, from a commit without changes, which the tables name.
"""

from pathlib import Path

from speak_jax.bench import report

ROOT = Path(__file__).parents[2]
RECORD = "docs/results/2026-11-30-bench.json"
BEGIN, END = "<!-- speak bench -->\n", "\n<!-- end of speak bench -->"


def short(record: report.Report) -> str:
  """What README has."""
  return f"{_head(record)}\n{report.table(record, report.SUMMARY)}\n"


def full(record: report.Report) -> str:
  """What the report has."""
  lines = "\n".join(report.own_agreement(record))
  return f"{_head(record)}\n{report.table(record)}\n\n```text\n{lines}\n```\n"


def _head(record: report.Report) -> str:
  return f"```text\n{report.head(record)}\n```\n"


def between(text: str) -> str:
  """The part of a page that the command has printed."""
  return text.split(BEGIN)[1].split(END)[0]


def filled(text: str, part: str) -> str:
  """A page with another such part."""
  before, rest = text.split(BEGIN)
  return f"{before}{BEGIN}{part}{END}{rest.split(END)[1]}"


def main() -> None:
  """Writes both pages."""
  record = report.read(ROOT / RECORD)
  for page, part in (
    (ROOT / "README.md", short(record)),
    ((ROOT / RECORD).with_suffix(".md"), full(record)),
  ):
    page.write_text(filled(page.read_text(), part))
    print(page.relative_to(ROOT))


if __name__ == "__main__":
  main()
