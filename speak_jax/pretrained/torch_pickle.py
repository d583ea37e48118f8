"""Reads what a torch file says about its tensors, and runs nothing.

A .pth file describes its state dict in a pickle, which is a program: loading
one the usual way may call any function that it names. Here the program's
instructions are walked through by hand; those that build dicts, numbers and
tensors are followed, and at the first other one the file is refused.
"""

import math
import pickletools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BufferedReader, BytesIO
from typing import Any, NamedTuple

import numpy as np

from speak_jax.pretrained.tensors import WeightsError, decode, itemsize

# Classes of storages in `torch`, and the kind of numbers they hold.
_STORAGES = {
  "DoubleStorage": "F64",
  "FloatStorage": "F32",
  "HalfStorage": "F16",
  "BFloat16Storage": "BF16",
  "LongStorage": "I64",
  "IntStorage": "I32",
  "ShortStorage": "I16",
  "CharStorage": "I8",
  "ByteStorage": "U8",
  "BoolStorage": "BOOL",
}
_DICT = "collections.OrderedDict"
_TENSOR = ("torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2")
_PARAMETER = "torch._utils._rebuild_parameter"
_SIZE = "torch.Size"
_GLOBALS = (
  *(_DICT, *_TENSOR, _PARAMETER, _SIZE),
  *(f"torch.{name}" for name in _STORAGES),
)

# Instructions that push the value written in the file beside them, ...
_VALUES = (
  *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4"),
  *("FLOAT", "BINFLOAT", "STRING", "BINSTRING", "SHORT_BINSTRING"),
  *("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
  *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
)
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_IGNORED = ("PROTO", "FRAME", "STOP")

# A tensor takes about 40. More would fill the memory with what they describe.
MAX_STEPS = 2**22
_MAX_AXES = 32
_MAX_INT = 2**48  # no file is so large
_MAX_DEPTH = 4  # of dicts in dicts, in search of the state dict


@dataclass(frozen=True, eq=False)
class Storage:
  """A run of numbers somewhere in the file."""

  kind: str  # see tensors.KINDS
  key: str
  numel: int


@dataclass(frozen=True, eq=False)
class View:
  """A tensor: what it shows of a storage, in numbers, checked to be inside."""

  storage: Storage
  offset: int
  shape: tuple[int, ...]
  strides: tuple[int, ...]

  @property
  def numel(self) -> int:
    """Numbers shown."""
    return math.prod(self.shape)


@dataclass(frozen=True, eq=False)
class _Global:
  """A name that the pickle asks for; never looked up."""

  name: str


class Loaded(NamedTuple):
  """What a pickle describes."""

  root: Any  # of dicts, lists, tuples, plain values and Views
  storages: dict[str, Storage]  # all that it refers to, by key


def load(stream: BytesIO | BufferedReader, source: str) -> Loaded:
  """The object that a pickle describes; tensors are `View`s.

  Args:
    stream: Stands behind the pickle's end afterwards.
    source: The file, for messages.

  Raises:
    WeightsError: the pickle asks for anything but dicts, lists, tuples,
      numbers, strings and tensors, or is damaged.
  """
  machine = _Machine(source)
  try:
    for count, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
      if count == MAX_STEPS:
        raise WeightsError(f"{source}: its pickle has over {MAX_STEPS} steps")
      machine.step(opcode.name, argument)
    (root,) = machine.stack
  except WeightsError:
    raise
  except (
    *(ValueError, TypeError, LookupError, ArithmeticError),
    *(RecursionError, AttributeError, MemoryError),
  ) as error:
    raise WeightsError(
      f"{source}: its pickle is damaged ({type(error).__name__}: {error})"
    ) from error
  return Loaded(root, machine.storages)


def state_dict(root: Any, source: str) -> dict[str, View]:
  """The named tensors in what a file holds.

  What lies beside the tensors (epochs, options, optimizer state) is left out.
  Where there are several dicts of them, that under "state_dict" is meant; else
  those of several networks, whose names then begin with that of their dict:
  "generator.first.weight".

  Raises:
    WeightsError: none, or two of one name.
  """
  dicts = {
    path: {k: v for k, v in named.items() if isinstance(v, View)}
    for path, named in _dicts_of_tensors(root)
  }
  if not dicts:
    raise WeightsError(f"{source}: no dict of named tensors in it")
  if len(dicts) == 1:
    return next(iter(dicts.values()))
  if "/state_dict" in dicts:
    return dicts["/state_dict"]
  several = {}
  for path, named in dicts.items():
    for key, view in named.items():
      name = f"{path}/{key}"[1:].replace("/", ".")
      if name in several:
        raise WeightsError(f"{source}: two tensors would be called {name!r}")
      several[name] = view
  return several


def _dicts_of_tensors(root: Any) -> Iterator[tuple[str, dict[str, Any]]]:
  """("/path", dict) of each dict, down to a depth, that names tensors."""
  visited: set[int] = set()
  level = [("", root)]
  for _ in range(_MAX_DEPTH):
    below = []
    for path, value in level:
      if not isinstance(value, dict) or id(value) in visited:
        continue
      visited.add(id(value))
      named = {k: v for k, v in value.items() if isinstance(k, str)}
      if any(isinstance(v, View) for v in named.values()):
        yield path, named
      below += [(f"{path}/{k}", v) for k, v in named.items()]
    level = below


def arrays(
  views: dict[str, View],
  read_storage: Callable[[Storage], bytes],
  order: str,
  source: str,
) -> dict[str, np.ndarray]:
  """The tensors that views show, by name; bfloat16 comes as float32.

  Args:
    views: As of `state_dict`.
    read_storage: Gives all bytes of a storage.
    order: "<" little or ">" big endian.
    source: The file, for messages.

  Raises:
    WeightsError: a storage of another size than the pickle says, or tensors
      that show the same numbers so often that they outgrow the file.
  """
  storages = {v.storage.key: v.storage for v in views.values()}
  numbers = {}
  for key, storage in storages.items():
    raw = read_storage(storage)
    if len(raw) != storage.numel * itemsize(storage.kind):
      raise WeightsError(
        f"{source}: storage {storage.key} has {len(raw)} bytes, not"
        f" {storage.numel} numbers of {storage.kind}"
      )
    numbers[key] = decode(raw, storage.kind, order)
  shown = sum(v.numel * itemsize(v.storage.kind) for v in views.values())
  held = sum(s.numel * itemsize(s.kind) for s in storages.values())
  if shown > 2 * held:  # tied weights are there twice, not more often
    raise WeightsError(
      f"{source}: tensors of {shown} bytes out of {held}, so they are repeated"
    )
  return {key: _show(v, numbers[v.storage.key]) for key, v in views.items()}


def _show(view: View, numbers: np.ndarray) -> np.ndarray:
  """A view of a storage; its bounds were checked when it was made."""
  if not view.numel:
    return np.empty(view.shape, numbers.dtype)
  # The stride of an axis of one is never walked, and may be anything.
  strides = tuple(
    step * numbers.itemsize if n > 1 else 0
    for n, step in zip(view.shape, view.strides, strict=True)
  )
  return np.lib.stride_tricks.as_strided(
    numbers[view.offset :], view.shape, strides, writeable=False
  )


class _Machine:
  """The stack, marks and memo of the pickle language, without its calls."""

  def __init__(self, source: str):
    self.source = source
    self.stack: list[Any] = []
    self.storages: dict[str, Storage] = {}
    self._marks: list[int] = []
    self._memo: dict[int, Any] = {}

  def step(self, name: str, argument: Any) -> None:
    """Follows one instruction."""
    stack = self.stack
    if name in _VALUES:
      stack.append(argument)
    elif name in _CONSTANTS:
      stack.append(_CONSTANTS[name])
    elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
      self._memo[argument] = stack[-1]
    elif name == "MEMOIZE":
      self._memo[len(self._memo)] = stack[-1]
    elif name in ("GET", "BINGET", "LONG_BINGET"):
      stack.append(self._memo[argument])
    elif name == "MARK":
      self._marks.append(len(stack))
    elif name == "EMPTY_TUPLE":
      stack.append(())
    elif name in _TUPLES:
      stack.append(tuple(self._top(_TUPLES[name])))
    elif name == "TUPLE":
      stack.append(tuple(self._marked()))
    elif name == "EMPTY_LIST":
      stack.append([])
    elif name == "LIST":
      stack.append(self._marked())
    elif name in ("APPEND", "APPENDS"):
      items = self._top(1) if name == "APPEND" else self._marked()
      self._target(list).extend(items)
    elif name == "EMPTY_DICT":
      stack.append({})
    elif name == "DICT":
      stack.append({})
      self._set(self._marked(but=1))
    elif name in ("SETITEM", "SETITEMS"):
      self._set(self._top(2) if name == "SETITEM" else self._marked())
    elif name == "BUILD":
      # Attributes of an OrderedDict: torch keeps versions of modules there.
      stack.pop()
      self._target(dict)
    elif name == "GLOBAL":
      self._global(*argument.split(" ", 1))
    elif name == "STACK_GLOBAL":
      self._global(*self._top(2))
    elif name == "BINPERSID":
      stack.append(self._storage(stack.pop()))
    elif name == "REDUCE":
      function, arguments = self._top(2)
      stack.append(self._call(function, arguments))
    elif name not in _IGNORED:
      raise self._refusal(f"instruction {name}")

  def _refusal(self, what: str) -> WeightsError:
    return WeightsError(
      f"{self.source}: refused, its pickle has {what}, which no state dict"
      " needs; nothing was run"
    )

  def _top(self, count: int) -> list[Any]:
    """Takes values off the stack."""
    if len(self.stack) < count:
      raise ValueError("too few values")
    values = self.stack[-count:]
    del self.stack[-count:]
    return values

  def _marked(self, but: int = 0) -> list[Any]:
    """Takes all off the stack down to the last mark, but for the newest."""
    mark = self._marks.pop()
    values = self.stack[mark : len(self.stack) - but]
    del self.stack[mark : len(self.stack) - but]
    return values

  def _target(self, kind: type) -> Any:
    if not isinstance(self.stack[-1], kind):
      raise self._refusal(f"a change of something other than a {kind.__name__}")
    return self.stack[-1]

  def _set(self, items: list[Any]) -> None:
    target = self._target(dict)
    if len(items) % 2:
      raise ValueError("a key without a value")
    for key, value in zip(items[::2], items[1::2], strict=True):
      # Nothing nested: hashing a deep tuple overflows the C stack.
      if not isinstance(key, (str, int, float)):
        raise self._refusal(f"a {type(key).__name__} as key of a dict")
      if key in target:
        raise WeightsError(f"{self.source}: key {key} is there twice")
      target[key] = value

  def _global(self, module: Any, name: Any) -> None:
    full = f"{module}.{name}"
    if full not in _GLOBALS:
      raise self._refusal(f"the global {full}")
    self.stack.append(_Global(full))

  def _storage(self, fields: Any) -> Storage:
    # ("storage", class, key, device, numbers[, view of another storage])
    if not isinstance(fields, tuple) or len(fields) not in (5, 6):
      raise self._refusal("an unknown reference")
    tag, kind, key, _, numel, *view = fields
    if (
      tag != "storage"
      or not isinstance(kind, _Global)
      or view
      not in (
        [],
        [None],
      )
    ):
      raise self._refusal("an unknown reference")
    kind = _STORAGES.get(kind.name.removeprefix("torch."))
    if kind is None or not isinstance(key, str):
      raise self._refusal("an unknown storage")
    storage = Storage(kind, key, self._natural(numel))
    known = self.storages.setdefault(key, storage)
    if (known.kind, known.numel) != (storage.kind, storage.numel):
      raise self._refusal(f"two sizes of storage {key}")
    return known

  def _call(self, function: Any, arguments: Any) -> Any:
    """The result of a call that this reader knows."""
    if not isinstance(function, _Global) or not isinstance(arguments, tuple):
      raise self._refusal("a call of something other than a global")
    if function.name == _DICT and len(arguments) < 2:
      # Python 2 passes a list of pairs.
      result: dict[Any, Any] = {}
      self.stack.append(result)
      for key, value in arguments[0] if arguments else ():
        self._set([key, value])
      return self.stack.pop()
    if function.name in _TENSOR and len(arguments) in (4, 6, 7):
      return self._view(*arguments[:4])
    if function.name == _PARAMETER and len(arguments) == 3:
      if isinstance(arguments[0], View):
        return arguments[0]
    elif function.name == _SIZE and len(arguments) == 1:
      return arguments[0]
    raise self._refusal(f"an odd call of {function.name}")

  def _view(self, storage: Any, offset: Any, shape: Any, strides: Any) -> View:
    if not isinstance(storage, Storage):
      raise self._refusal("a tensor without storage")
    if not isinstance(shape, tuple) or not isinstance(strides, tuple):
      raise self._refusal("a tensor without shape")
    if len(shape) != len(strides) or len(shape) > _MAX_AXES:
      raise self._refusal(f"a tensor of {len(shape)} and {len(strides)} axes")
    view = View(
      storage,
      self._natural(offset),
      tuple(self._natural(n) for n in shape),
      tuple(self._natural(n) for n in strides),
    )
    if math.prod(max(n, 1) for n in view.shape) > _MAX_INT:
      raise self._refusal("a tensor larger than any file")
    last = sum(
      (n - 1) * step for n, step in zip(view.shape, view.strides, strict=True)
    )
    end = view.offset + (last + 1 if view.numel else 0)
    # More numbers than there are would be a file that grows as it is read.
    if end > storage.numel or view.numel > storage.numel:
      raise WeightsError(
        f"{self.source}: a tensor of {view.numel} numbers up to number {end} of"
        f" storage {storage.key}, which has {storage.numel}"
      )
    return view

  def _natural(self, value: Any) -> int:
    if type(value) is not int or not 0 <= value < _MAX_INT:
      raise self._refusal("an offset, size or stride that is none")
    return value
