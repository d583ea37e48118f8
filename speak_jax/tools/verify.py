"""Says whether a video is one that this program made, by what, and how sure.

  python -m speak_jax.tools.verify FILE [--model BUNDLE] [--trust PEM] [--json]

Three layers, each for itself. The manifest (C2PA) is signed: it proves that
nothing was changed since, and is gone after a re-encoding. The tags are texts
of the file: anybody can write or remove them. The watermark lies in the frames
and outlives re-encoding, scaling and cropping; with it stands the probability
that a video without one looks as if it had it. --model names weights that the
watermark may be of, beside the bundles that come along; --trust a file of
issuers' certificates: it is said whether one of them vouches for the signer.

Exit code 0: a layer says that the video is synthetic; 3: none does, which does
not say that it is real; 4: it has a manifest that does not fit it any more;
1: it cannot be read; 64: wrong flags.
"""

import json
import os
import sys
import warnings
from collections.abc import Sequence

from absl import app, flags

from data_pipelines.media.error import MediaWarning
from speak_jax import bundle
from speak_jax.common import command_line, packaged
from speak_jax.common.exit_codes import BAD_CONFIG, DONE
from speak_jax.common.files import FileError
from speak_jax.common.names import printable
from speak_jax.provenance import credentials, examination
from speak_jax.provenance.examination import Report
from speak_jax.provenance.manifest import Manifest
from speak_jax.provenance.tags import Statement
from speak_jax.provenance.watermark import code_of

NONE, ALTERED = 3, 4  # exit codes
FLAGS = flags.FLAGS


def main(argv: Sequence[str]) -> int:
  """Runs the command; returns the exit code."""
  if len(argv) != 2:
    return command_line.fail("verify", "name one file", BAD_CONFIG)
  if os.path.isdir(argv[1]):
    told = f"{argv[1]}: is a folder; name one of its pictures"
    return command_line.fail("error", told)
  warnings.simplefilter("ignore", MediaWarning)  # of what breaks off, odd rates
  try:
    known = {
      code_of(bundle.digest(path)): name
      for path, name in (
        (packaged.PHOTOGRAPH, "photograph"),
        (packaged.REFERENCE, "reference"),
        *((path, path) for path in FLAGS.model),
      )
    }
    anchors = credentials.anchors(FLAGS.trust)
    report = examination.examine(argv[1], known, anchors)
  except FileError as error:
    return command_line.fail("error", str(error))
  if FLAGS.json:
    print(json.dumps(_facts(report), indent=2))
  else:
    for line in lines(report, trusts=bool(FLAGS.trust)):
      print(printable(line))
  if report.is_altered:
    return ALTERED
  return DONE if report.says_synthetic else NONE


def lines(report: Report, trusts: bool = False) -> list[str]:
  """A report for people.

  Args:
    report: What was found.
    trusts: Issuers to trust were named: say whether one of them vouches.
  """
  says = "none of this program"
  if report.tags is not None:
    says = f"{_told(report.tags)} (anybody can write this)"
  found = report.mark
  sure = f"a false alarm has probability {found.false_alarm:.1g}"
  mark = f"none found ({sure})"
  if found.there:
    of = report.weights or "weights that are not here; --model names others"
    mark = f"found; {sure}; code {found.code:03x}: {of}"
  verdict = "no layer says that it is synthetic; that does not prove it real"
  if report.says_synthetic:
    verdict = "synthetic"
  if report.is_altered:
    verdict += ", and changed since it was signed"
  return [
    f"manifest   {_signed(report.manifest, trusts)}",
    f"tags       {says}",
    f"watermark  {mark}",
    f"verdict    {verdict}",
  ]


def _signed(manifest: Manifest | None, trusts: bool) -> str:
  """A manifest in a line."""
  if manifest is None:
    return "none"
  if not manifest.valid:
    return f"does not fit this file ({', '.join(manifest.failures)})"
  by = f"{manifest.issuer}: {manifest.name}"
  told = f"by {manifest.tool}, digital source type {manifest.source or 'none'}"
  if manifest.statement is not None:
    told = _told(manifest.statement)
  vouched = ""
  if trusts:
    vouched = ", trusted" if manifest.trusted else ", of no issuer in --trust"
  return f"fits this file; {told}; certificate {by}{vouched}"


def _told(statement: Statement) -> str:
  """What, when and by which weights."""
  weights = statement.weights or "unknown"
  digest = f" (SHA-256 {statement.digest[:12]})" if statement.digest else ""
  return (
    f"synthetic, made by {statement.tool}, {statement.made}, weights"
    f" {weights}{digest}"
  )


def _facts(report: Report) -> dict:
  """A report for programs."""
  return {
    "synthetic": report.says_synthetic,
    "altered": report.is_altered,
    "manifest": report.manifest
    and {
      **report.manifest._asdict(),
      "statement": report.manifest.statement
      and report.manifest.statement._asdict(),
      "self_made": report.manifest.is_self_made,
    },
    "tags": report.tags and report.tags._asdict(),
    "watermark": {
      "found": report.mark.there,
      "false_alarm": report.mark.false_alarm,
      "score": report.mark.score,
      "code": report.mark.code if report.mark.there else None,
      "weights": report.weights or None,
      "scale": report.mark.scale,
    },
  }


def _define_flags() -> None:
  flags.DEFINE_multi_string("model", [], "Bundle that may have made the video.")
  flags.DEFINE_multi_string(
    "trust", [], "Certificates (PEM) of issuers that you trust."
  )
  flags.DEFINE_bool("json", False, "Print JSON.")


if __name__ == "__main__":
  _define_flags()
  sys.exit(app.run(main, flags_parser=command_line.parser("verify")))
