"""All that a swap report says of one model's codes, in words and pictures."""

import textwrap
from collections.abc import Mapping

import numpy as np
from jaxtyping import Int, UInt8
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Plot

from speak_jax import spec
from speak_jax.evaluation import metric_table
from speak_jax.evaluation.disentanglement import matrix, probes, swaps
from speak_jax.evaluation.disentanglement.matrix import FACTORS, UNITS, Matrix
from speak_jax.evaluation.disentanglement.subjects import Subjects, Twins
from speak_jax.evaluation.disentanglement.swaps import AllSwaps, Irfd
from speak_jax.evaluation.metric_table import MetricValue
from speak_jax.evaluation.readers.face_reader import Reader
from speak_jax.evaluation.report import sheets, tables
from speak_jax.evaluation.report.section import Section

ROWS, COLUMNS = 5, 8  # of a sheet at most
_DPI = 110


def measure(
  all_swaps: AllSwaps,
  probed: Subjects,
  twins: Twins | None,
  model: Irfd,
  read: Reader,
  reader: str,
  *,
  seed: int,
) -> Section:
  """The swap matrix, twins, probes and spread of every code, and the sheets.

  Args:
    all_swaps: Two or more people in all swaps, identity from another clip.
    probed: Frames whose every code is read off the frame itself.
    twins: Rendered frames with exact swap targets, where there are some.
    model: The networks.
    read: Reads pose, and identity and emotion if it can, off frames.
    reader: Who that is and how well it does on held-out frames.
    seed: Seed of the donors and of the bootstrap.

  Raises:
    ValueError: all are one person.
  """
  values, subjects = matrix.measure(all_swaps, seed=seed), all_swaps.subjects
  if twins is not None:
    values |= matrix.measure_twins(twins, model, read, seed=seed)
  codes = matrix.codes_of(probed, model)
  values |= matrix.spread(codes) | probes.measure(codes, probed, seed=seed)
  by_truth = matrix.matrix(values, "truth")
  paragraphs = [
    "## Disentanglement",
    "From truth to truth:",
    markdown(by_truth, reader),
    "The same between the reader's own readings of source and donor, so that"
    " a reader who says little does not shorten every step:",
    markdown(matrix.matrix(values, "reader"), reader),
  ]
  if twins is not None:
    paragraphs += [
      "Twins: somebody else was rendered in exactly the frame's pose, and a"
      " third with exactly its mouth. Swaps with them have a true picture:",
      twins_markdown(values),
    ]
  paragraphs += [
    "What a line reads off each code:",
    probes.markdown(values),
    "How much of each code is used:",
    spread_markdown(values),
  ]
  pictures = {"matrix.png": picture(by_truth, reader)}
  rows = people(subjects, ROWS)
  for code in ("pose", "emotion"):
    if code == "emotion" and (subjects.label < 0).all():
      continue
    columns = donors_of(subjects, code, COLUMNS)
    cells = sheet_cells(all_swaps, model, code, rows, columns)
    names = ["donor", *(f"person {i + 1}" for i in range(len(rows)))]
    heads = sheet_names(subjects, code, columns)
    pictures[f"{code}_sheet.png"] = sheets.draw(cells, names, heads)
  return Section(values, [text for text in paragraphs if text], pictures)


def markdown(shown: Matrix, reader: str) -> str:
  """The matrix as a table.

  Args:
    shown: What to print.
    reader: Who read the frames and how well it does on held-out ones.

  Raises:
    ValueError: nothing is said of the reader.
  """
  _check(reader)
  rows = []
  for i, code in enumerate(FACTORS):
    cells = []
    for j in range(len(FACTORS)):
      inside, toward = _remarks(shown, i, j)
      notes = f"({', '.join(x for x in (inside, toward) if x)})"
      parts = [_number(shown.share[i, j]), _range(shown, i, j), notes]
      cell = " ".join(x for x in parts if x and x != "()")
      cells.append(f"**{cell}**" if i == j else cell)
    rows.append([code, *cells])
  for title, row in (
    ("*reader, real frames: factor exchanged*", shown.arrived),
    ("*reader, real frames: factor kept*", shown.stayed),
  ):
    rows.append([title, *map(_number, row)])
  head = ["code swapped", *(f"{f} ({UNITS[f]})" for f in FACTORS)]
  note = (
    "Diagonal: share of the way to the donor (best 1). Elsewhere: change in"
    " any direction over the length of that way (best 0). In parentheses the"
    " change in its own unit, and the share of it that goes to the donor. All"
    " against the same frame without a swap; the last two rows are what the"
    f" reader makes of perfect swaps. Reader: {reader}."
  )
  return f"{tables.pipe_table(head, rows)}\n\n{note}"


def picture(shown: Matrix, reader: str) -> UInt8[np.ndarray, "y x 3"]:
  """The matrix drawn: one cell each, dark is 0 and light is 1 or more.

  Args:
    shown: What to draw.
    reader: Who read the frames and how well it does on held-out ones.

  Raises:
    ValueError: nothing is said of the reader.
  """
  _check(reader)
  plot = Plot(figsize=(6.4, 6.4), dpi=_DPI, layout="constrained")
  canvas = FigureCanvasAgg(plot)
  upper, lower = plot.subplots(2, 1, height_ratios=(3, 2))
  for axes, values in (
    (upper, shown.share),
    (lower, np.stack([shown.arrived, shown.stayed])),
  ):
    # Lightness grows all along cividis, whatever colours an eye tells apart.
    colours = axes.imshow(
      np.ma.masked_invalid(values), cmap="cividis", vmin=0, vmax=1, aspect=0.5
    )
    axes.set_xticks(range(3), FACTORS)
    axes.tick_params(length=0)
    axes.set_xticks(np.arange(2) + 0.5, minor=True)
    axes.set_yticks(np.arange(len(values) - 1) + 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=2)
    axes.tick_params(which="minor", length=0)
    axes.spines[:].set_visible(False)
    for (i, j), value in np.ndenumerate(values):
      lines = [_number(value)]
      if axes is upper:
        lines += [_range(shown, i, j), *_remarks(shown, i, j)]
      shade = "white" if np.isfinite(value) and value < 0.55 else "black"
      text = "\n".join(x for x in lines if x)
      axes.text(j, i, text, ha="center", va="center", color=shade, fontsize=9)
    plot.colorbar(colours, ax=axes)
  upper.set_yticks(range(3), [f"{code} code" for code in FACTORS])
  upper.set_title("Swapped code (rows): what moves (columns)", fontsize=11)
  upper.set_xlabel("diagonal: share of the way to the donor; else: change")
  lower.set_yticks(range(2), ["exchanged", "kept"])
  lower.set_title("The reader itself, on real frames", fontsize=11)
  plot.supxlabel(textwrap.fill(reader, 100), fontsize=7)
  canvas.draw()
  return np.array(canvas.buffer_rgba())[..., :3]


def people(subjects: Subjects, count: int) -> Int[np.ndarray, "n"]:
  """The first subject of each of at most so many people."""
  _, first = np.unique(subjects.person, return_index=True)
  return first[:count]


def donors_of(
  subjects: Subjects, code: str, count: int
) -> Int[np.ndarray, "n"]:
  """Donors for the columns of a sheet.

  Args:
    subjects: Where they come from.
    code: "pose": from the least yaw to the most, evenly by rank; "emotion":
      the first of every emotion.
    count: At most so many.

  Raises:
    ValueError: another code, or no label is known.
  """
  if code == "pose":
    order = np.argsort(subjects.pose[:, 0], kind="stable")
    at = np.linspace(0, len(order) - 1, min(count, len(order)))
    return order[at.round().astype(int)]
  if code != "emotion":
    raise ValueError(f"a sheet has pose or emotion columns, not {code!r}")
  labels, first = np.unique(subjects.label, return_index=True)
  if not (labels >= 0).any():
    raise ValueError("no emotion is known: no sheet of emotions")
  return first[labels >= 0][:count]


def sheet_cells(
  all_swaps: AllSwaps,
  model: Irfd,
  code: str,
  rows: Int[np.ndarray, "r"],
  columns: Int[np.ndarray, "c"],
) -> UInt8[np.ndarray, "y x h w 3"]:
  """Cells of a sheet: the rows' people with the columns' pose or emotion.

  The first row shows the donors, the first column the sources; the corner is
  white. All other codes are the row's.
  """
  subjects, codes = all_swaps.subjects, all_swaps.codes
  who, what = (x.ravel() for x in np.meshgrid(rows, columns, indexing="ij"))
  used = swaps.take_rows(codes, who)
  used = used._replace(**{code: getattr(codes, code)[what]})
  frames = swaps.decode(model, swaps.take_rows(all_swaps.portrait, who), used)
  frames = frames.reshape(len(rows), len(columns), *frames.shape[1:])
  body = np.concatenate([subjects.target[rows][:, None], frames], 1)
  corner = np.full_like(subjects.target[:1], 255)
  head = np.concatenate([corner, subjects.target[columns]])
  return np.concatenate([head[None], body])


def sheet_names(
  subjects: Subjects, code: str, columns: Int[np.ndarray, "c"]
) -> list[str]:
  """Captions of a sheet's columns: yaw in degrees, or the emotion."""
  if code == "pose":
    return ["source"] + [f"yaw {subjects.pose[i, 0]:+.0f}" for i in columns]
  return ["source"] + [spec.EMOTIONS[subjects.label[i]] for i in columns]


def twins_markdown(values: Mapping[str, MetricValue]) -> str:
  """Table of `matrix.measure_twins`; "" without its values."""
  if "twins/psnr/own" not in values:
    return ""
  titles = {
    "own": "own pose and mouth",
    "pose_twin": "pose from its twin",
    "mouth_twin": "mouth from its twin",
    "both": "both from twins",
    "stranger": "a stranger's pose: wrong on purpose",
  }
  rows = [
    [
      title,
      *(
        metric_table.text(values.get(f"twins/{metric}/{row}"), 2)
        for metric in ("psnr", "pose_error")
      ),
    ]
    for row, title in titles.items()
  ]
  agreement = ", ".join(
    f"{field} code {metric_table.text(values[key], 2)}"
    for field in ("pose", "mouth")
    if (key := f"twins/agreement/{field}") in values
  )
  head = ["codes", "PSNR to the truth, dB", "pose error, deg"]
  note = "Share of a code's variance that twins have in common (best 1):"
  return f"{tables.pipe_table(head, rows)}\n\n{note} {agreement}."


def spread_markdown(values: Mapping[str, MetricValue]) -> str:
  """Table of `matrix.spread`; "" without its values."""
  names = [name for name in probes.SYMBOLS if f"code/{name}/rank" in values]
  if not names:
    return ""
  rows = []
  for name in names:
    value = {
      key: values[f"code/{name}/{key}"].value
      for key in (
        "rank",
        "width",
        "variance",
        "variance_least",
        "variance_most",
        "still",
      )
    }
    rows.append(
      [
        name,
        f"{value['rank']:.1f}",
        f"{value['width']:.0f}",
        f"{value['variance']:.3g}",
        f"{value['variance_least']:.2g}",
        f"{value['variance_most']:.2g}",
        f"{value['still']:.0%}",
      ]
    )
  head = [
    *("code", "effective rank", "of", "mean variance", "least", "most"),
    "share of still dimensions",
  ]
  return tables.pipe_table(head, rows)


def _check(reader: str) -> None:
  if not reader.strip():
    raise ValueError("a swap matrix without its reader's accuracy says nothing")


def _range(shown: Matrix, i: int, j: int) -> str:
  """A cell's interval."""
  if not np.isfinite(shown.low[i, j]):
    return ""
  return f"[{shown.low[i, j]:.2f}, {shown.high[i, j]:.2f}]"


def _remarks(shown: Matrix, i: int, j: int) -> tuple[str, str]:
  """A cell's change in its own unit; off the diagonal, how much is a leak."""
  inside, toward = shown.absolute[i, j], ""
  if not np.isfinite(inside):
    return "", ""
  if i != j:
    # + 0.0: no minus before a zero.
    toward = f"to donor {round(shown.toward[i, j], 2) + 0.0:.2f}"
  factor = FACTORS[j]
  if factor == "identity":
    return f"{UNITS[factor]} = {inside:.2f}", toward
  return f"{inside:.2f} {UNITS[factor]}", toward


def _number(value: float) -> str:
  return f"{value:.2f}" if np.isfinite(value) else "-"
