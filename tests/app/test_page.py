"""The page by HTTP: a visit, its errors, and what hostile visitors try."""

import importlib.util
import socket
import threading
import zipfile

import numpy as np
import pytest
from PIL import Image

from data_pipelines.media import decoder
from speak_jax.common import packaged
from speak_jax.common.files import FileError
from speak_jax.inference.request import RequestError, check

if importlib.util.find_spec("gradio") is None:
  pytest.skip("no Gradio here", allow_module_level=True)

from speak_jax.app import page
from tests.app.pages import COUNT, Visitor, file_of, served, until

# Of Gradio's own code and what it needs.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
  with served(tmp_path_factory.mktemp("page")) as made:
    yield made


@pytest.fixture(autouse=True)
def fresh(request):
  """The fake is as at the start, and nobody waits from before."""
  if "place" not in request.fixturenames:
    yield
    return
  made = request.getfixturevalue("place")
  made.fake.count, made.fake.error = COUNT, None
  made.fake.may.set()
  until(lambda: not made.desk._line)
  yield
  made.fake.may.set()


@pytest.fixture
def visitor(place):
  return Visitor(place)


@pytest.fixture
def inputs(visitor):
  return (
    visitor.uploaded("face.jpg", packaged.PORTRAIT.read_bytes()),
    visitor.uploaded("voice.wav", packaged.SENTENCE.read_bytes()),
  )


def test_a_visit(place, visitor, inputs, capsys):
  event = visitor.begin(*inputs)
  end = visitor.end(event)
  assert "frames/s" not in capsys.readouterr().err
  assert "done: 10 frames, 0.40 s, 32 x 32 px" in end["status-one"]
  video = visitor.client.get(f"/gradio_api/file={end['video']['path']}")
  assert video.status_code == 200 and video.content[4:8] == b"ftyp"
  assert end["download"]["path"].startswith(str(place.folder))
  sheet = visitor.client.get(f"/gradio_api/file={end['sheet']['path']}")
  assert sheet.status_code == 200
  request = place.fake.requests[-1]
  assert (request.pose, request.emotion) == ("sampled", None)
  check(request, moves_photographs=True)
  assert (request.size, request.framing, request.seed) == (None, "full", 0)


def test_wishes_reach_the_model(place, visitor, inputs):
  picture, _ = inputs
  event = visitor.begin(
    *inputs, **{"emotion-one": "happy", "pose-one": picture}
  )
  visitor.end(event)
  request = place.fake.requests[-1]
  assert request.emotion == "happy:1"
  assert request.pose == picture["path"]
  assert request.pose_mode == "relative"
  angles = {"yaw-one": 20, "pitch-one": -5, "roll-one": 3}
  visitor.end(visitor.begin(*inputs, **{"head-one": "turned"}, **angles))
  request = place.fake.requests[-1]
  assert request.pose.at(np.zeros(1)).tolist() == [[20, -5, 3]]
  check(request, moves_photographs=True)
  visitor.end(visitor.begin(*inputs, **{"head-one": "still"}))
  check(place.fake.requests[-1], moves_photographs=True)


def test_tables_and_eyes_reach_the_model(place, visitor, inputs):
  turns = visitor.uploaded("turns.csv", b"0,10,0,0\n1,20,0,0\n")
  moods = visitor.uploaded("moods.csv", b"0,happy,1\n")
  given = {"pose-table-one": turns, "emotion-file-one": moods}
  eyes = {"gaze-one": "aimed", "gaze-yaw-one": 20, "gaze-pitch-one": -5}
  lids = {"blink-one": False, "mouth-one": 0.5}
  visitor.end(visitor.begin(*inputs, **given, **eyes, **lids))
  request = place.fake.requests[-1]
  assert (request.pose, request.emotion) == (turns["path"], moods["path"])
  assert (request.gaze, request.blink, request.mouth) == ((20, -5), False, 0.5)
  check(request, moves_photographs=True)
  visitor.end(visitor.begin(*inputs, **{"gaze-one": "still"}))
  assert place.fake.requests[-1].gaze == "still"
  made = len(place.fake.requests)
  both = {"pose-one": inputs[0], "pose-table-one": turns}
  end = visitor.end(visitor.begin(*inputs, **both))
  assert "error: a video and a table; take one" in end["said-pose-one"]
  assert len(place.fake.requests) == made


def test_other_files_are_made(place, visitor, inputs, tmp_path):
  def fetched(end, name):
    path = end["download"]["path"]
    assert path.endswith(f"/{name}")
    answer = visitor.client.get(f"/gradio_api/file={path}")
    assert answer.status_code == 200
    (tmp_path / name).write_bytes(answer.content)
    return tmp_path / name

  end = visitor.end(visitor.begin(*inputs, **{"kind-one": "webm"}))
  assert end["video"]["path"] == end["download"]["path"]
  frames = decoder.read_frames(fetched(end, "speak.webm"))
  assert sum(1 for _ in frames) == COUNT
  end = visitor.end(visitor.begin(*inputs, **{"kind-one": "pictures"}))
  assert "done: 10 frames" in end["status-one"] and end["video"] is None
  assert visitor.client.get(f"/gradio_api/file={end['sheet']['path']}")
  with zipfile.ZipFile(fetched(end, "speak.zip")) as file:
    pictures = [f"{i:06d}.png" for i in range(COUNT)]
    assert file.namelist() == [*pictures, "sound.wav"]
    assert Image.open(file.open(pictures[-1])).size == (32, 32)
  assert not list(place.folder.rglob("000000.png"))


def test_pictures_have_a_limit(place, visitor, inputs, monkeypatch):
  monkeypatch.setattr(page, "PICTURE_BYTES", 4 * 32 * 32 * 3)
  end = visitor.end(visitor.begin(*inputs, **{"kind-one": "pictures"}))
  line = "voice.wav: 10 pictures of 32 x 32 px; 4 are the limit"
  assert line in end["said-audio-one"]
  assert "done" in visitor.end(visitor.begin(*inputs))["status-one"]


def test_a_kind_of_file_is_one_of_ours(place, visitor, inputs):
  before = len(place.fake.requests)
  event = visitor.begin(*inputs, **{"kind-one": "/../../evil"})
  (end,) = [x for x in visitor.steps() if x["msg"] == "process_completed"]
  assert not end["success"]
  assert len(place.fake.requests) == before and event


def test_nothing_given(visitor):
  end = visitor.end(visitor.begin(None, None))
  assert "error: give a picture" in end["said-identity-one"]
  assert "error: give a voice" in end["said-audio-one"]


def test_an_error_stands_at_its_input_without_folders(place, visitor, inputs):
  name = visitor.uploaded("<b>me.png", b"x")
  path = name["path"]
  place.fake.error = FileError(path, "no face <i>")
  end = visitor.end(visitor.begin(name, inputs[1]))
  assert "me.png: no face &lt;i&gt;</p>" in end["said-identity-one"]
  assert str(place.folder) not in str(
    end._values[visitor.component("said-identity-one")]
  )
  assert "nothing was made" in end["status-one"]
  place.fake.error = FileError(place.folder / "results" / "a.mp4", "disk full")
  end = visitor.end(visitor.begin(*inputs))
  assert "error: a.mp4: disk full</p>" in end["said-one"]
  place.fake.error = RequestError("emotion", "there is none")
  end = visitor.end(visitor.begin(*inputs))
  assert "error: there is none" in end["said-emotion-one"]


def test_a_fault_of_ours_is_a_number(place, visitor, inputs, capfd):
  place.fake.error = KeyError("secret")
  end = visitor.end(visitor.begin(*inputs))
  line = end["said-one"]
  assert "secret" not in line and "log has it as" in line
  number = line.partition("log has it as ")[2][:8]
  log = capfd.readouterr().err
  assert f"error {number}" in log and "KeyError: 'secret'" in log


def test_too_long_a_voice(place, visitor, inputs):
  place.fake.count = 501
  end = visitor.end(visitor.begin(*inputs))
  assert (
    "voice.wav: 20.04 s of sound; 20 s are the limit" in end["said-audio-one"]
  )
  assert place.fake.made == 0


def test_cancel_ends_the_work(place, visitor, inputs):
  before = set(place.folder.rglob("*.mp4"))
  place.fake.begun.clear()
  place.fake.may.clear()
  event = visitor.begin(*inputs)
  until(lambda: place.desk._line)
  assert place.fake.begun.wait(20)
  ends: list = []
  thread = threading.Thread(target=lambda: ends.append(visitor.end(event)))
  thread.start()
  other = Visitor(place)
  other.session = visitor.session
  assert visitor.join(visitor.click("cancel-one"), []).status_code == 200
  until(lambda: place.desk._line[0]._unwanted.is_set())
  place.fake.may.set()
  thread.join(20)
  assert "cancelled" in ends[0]["status-one"]
  assert place.fake.ended.wait(5) and place.fake.made < COUNT
  assert set(place.folder.rglob("*.mp4")) == before


def test_one_waits_and_others_are_told(place, inputs):
  place.fake.may.clear()
  first, second, third = (Visitor(place) for _ in range(3))
  first.begin(*inputs)
  until(lambda: place.desk._line)
  waits = second.begin(*inputs)
  until(lambda: len(place.desk._line) == 2)
  end = third.end(third.begin(*inputs))
  assert "2 videos are in work or waiting" in end["said-one"]
  place.fake.may.set()
  assert "done" in second.end(waits)["status-one"]


def test_who_leaves_is_not_worked_for(place, visitor, inputs):
  place.fake.begun.clear()
  place.fake.may.clear()
  params = f"/gradio_api/heartbeat/{visitor.session}"
  with visitor.client.stream("GET", params):
    visitor.begin(*inputs)
    until(lambda: place.desk._line)
    assert place.fake.begun.wait(20)
  until(lambda: place.desk._line[0]._unwanted.is_set())


# --- what hostile visitors try -----------------------------------------------


@pytest.mark.parametrize(
  "path",
  [
    "/etc/passwd",
    "../../../../etc/passwd",
    "https://example.org/a.png",
    "http://127.0.0.1:1/",
    "data:image/png;base64,AAAA",
    "//example.org/share/a",
    "/proc/self/environ",
    str(packaged.PORTRAIT),
    "a\0b",
    "x" * 5000,
    7,
    None,
    ["/etc/passwd"],
  ],
)
def test_no_input_is_a_file_of_elsewhere(place, visitor, inputs, path):
  count = len(place.fake.requests)
  event = visitor.click("make-one")
  data: list = [None] * len(event["inputs"])
  data[0], data[1] = file_of(path), inputs[1]  # type: ignore[arg-type]
  assert visitor.join(event, data).status_code == 400
  assert len(place.fake.requests) == count


@pytest.mark.parametrize(
  "path",
  [
    "/etc/passwd",
    "%2Fetc%2Fpasswd",
    "https://example.org/",
    "..%2f..%2f..%2fetc%2fpasswd",
    str(packaged.PORTRAIT),
  ],
)
def test_no_file_of_elsewhere_is_served(visitor, path):
  assert visitor.client.get(f"/gradio_api/file={path}").status_code == 404


def test_a_link_in_an_upload_leads_nowhere(place, visitor):
  link = place.folder / "uploads" / "link"
  link.symlink_to("/etc/passwd")
  answer = visitor.client.get(f"/gradio_api/file={link}")
  link.unlink()
  assert answer.status_code == 404


@pytest.mark.parametrize(
  "name", ["../../up.png", "/etc/cron.d/up.png", "..", "\\..\\up", "a/b\0.png"]
)
def test_a_name_leads_out_of_no_folder(place, visitor, name):
  answer = visitor.upload(name, b"x")
  assert answer.status_code in (200, 400)
  inside = [x for x in place.folder.rglob("*") if x.is_file()]
  assert not (place.folder.parent / "up.png").exists()
  assert all(x.resolve().is_relative_to(place.folder) for x in inside)


def test_too_large_an_upload(place, visitor):
  before = {x for x in place.folder.rglob("*") if x.is_file()}
  answer = visitor.upload("large.png", bytes(3 << 20))
  assert answer.status_code == 413

  def endless():
    yield b"--b\r\nContent-Disposition: form-data; name=files; "
    yield b"filename=a\r\n\r\n"
    for _ in range(300):
      yield bytes(10_000)

  head = {"content-type": "multipart/form-data; boundary=b"}
  answer = visitor.client.post(
    "/gradio_api/upload", content=endless(), headers=head
  )
  assert answer.status_code == 413
  after = {x for x in place.folder.rglob("*") if x.is_file()}
  assert sum(x.stat().st_size for x in after - before) < 3 << 20


@pytest.mark.parametrize(
  ("method", "path"),
  [
    ("GET", "/gradio_api/info"),
    ("GET", "/gradio_api/openapi.json"),
    ("GET", "/gradio_api/proxy=https://example.org/"),
    ("GET", "/monitoring"),
    ("GET", "/docs"),
    ("GET", "/openapi.json"),
    ("GET", "/gradio_api/runs"),
    ("GET", "/gradio_api/vibe-code"),
    ("GET", "/gradio_api/dev/reload"),
    ("POST", "/gradio_api/run/begin"),
    ("POST", "/gradio_api/call/begin"),
    ("POST", "/gradio_api/vibe-edit"),
    ("POST", "/gradio_api/process_recording"),
    ("POST", "/gradio_api/component_server"),
    ("PUT", "/gradio_api/upload"),
    ("DELETE", "/"),
  ],
)
def test_what_the_page_does_not_use_is_not_there(visitor, method, path):
  assert visitor.client.request(method, path).status_code == 404


@pytest.mark.parametrize(
  "body", [b"", b"{", b"[" * 60_000, b"\xff\xfe", b'{"data": 1}', b"null"]
)
def test_damaged_requests_are_refused(visitor, body):
  head = {"content-type": "application/json"}
  answer = visitor.client.post(
    "/gradio_api/queue/join", content=body, headers=head
  )
  assert answer.status_code in (400, 422)
  assert "Traceback" not in answer.text


def test_values_that_no_widget_has(place, visitor, inputs):
  count = len(place.fake.requests)
  event = visitor.begin(*inputs, **{"emotion-one": "../../etc/passwd"})
  assert not [x for x in visitor.steps() if x.get("success")]
  assert len(place.fake.requests) == count
  del event


def test_another_site_may_ask_for_nothing(visitor):
  for head in (
    {"origin": "https://example.org"},
    {"origin": "null"},
    {"origin": "http://["},
    {"host": "example.org"},
    {"host": "127.0.0.1.example.org:80"},
  ):
    assert visitor.client.get("/", headers=head).status_code == 403
    answer = visitor.client.post(
      "/gradio_api/queue/join", json={}, headers=head
    )
    assert answer.status_code == 403


def test_many_at_once_are_answered(place, visitor, inputs):
  """A few hundred requests; the page lives, and nothing hangs."""
  answers: list[int] = []

  def ask():
    mine = Visitor(place)
    for _ in range(10):
      answers.append(mine.client.get("/config").status_code)
      answers.append(mine.upload("a.png", bytes(1000)).status_code)

  threads = [threading.Thread(target=ask) for _ in range(20)]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join(20)
  assert not any(thread.is_alive() for thread in threads)
  assert len(answers) == 400 and set(answers) <= {200, 503}
  assert "done" in visitor.end(visitor.begin(*inputs))["status-one"]


def test_with_a_password_nothing_is_seen_without_it(tmp_path):
  with served(tmp_path, password="correct horse") as place:
    client = place.client()
    for path in ("/config", "/gradio_api/queue/data?session_hash=a"):
      assert client.get(path).status_code == 401
    assert client.post("/gradio_api/upload").status_code == 401
    wrong = client.post("/login", data={"username": "speak", "password": "x"})
    assert wrong.status_code == 400
    right = {"username": "speak", "password": "correct horse"}
    assert client.post("/login", data=right).status_code == 200
    visitor = Visitor(place, client)
    assert visitor.upload("a.png", b"x").status_code == 200
    tries = [
      client.post("/login", data=right | {"password": "y"}).status_code
      for _ in range(25)
    ]
    assert tries[-1] == 429


def test_no_other_host_is_asked_for(tmp_path, monkeypatch):
  """From the start to the result, of the page's process."""
  asked: list = []

  def resolving(host, *rest, real=socket.getaddrinfo, **more):
    if host not in ("127.0.0.1", "localhost", None):
      asked.append(host)
      raise OSError("no network here")
    return real(host, *rest, **more)

  def connecting(self, address, real=socket.socket.connect):
    if self.family != socket.AF_UNIX and address[0] != "127.0.0.1":
      asked.append(address)
      raise OSError("no network here")
    return real(self, address)

  monkeypatch.setattr(socket, "getaddrinfo", resolving)
  monkeypatch.setattr(socket.socket, "connect", connecting)
  with pytest.raises(OSError, match="no network"):
    socket.create_connection(("192.0.2.1", 80), 1)
  asked.clear()
  with served(tmp_path) as place:
    visitor = Visitor(place)
    page = visitor.client.get("/")
    assert "default-src 'self'" in page.headers["content-security-policy"]
    picture = visitor.uploaded("a.png", np.zeros(9, np.uint8).tobytes())
    voice = visitor.uploaded("a.wav", b"x")
    assert "done" in visitor.end(visitor.begin(picture, voice))["status-one"]
  assert asked == []
