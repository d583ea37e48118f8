"""A client of tests: requests of any kind, good and bad."""

import http.client
import json
import socket

TOKEN = "a token of the tests"


class Client:
  """Asks one server."""

  def __init__(self, port: int, token: str = ""):
    self.port, self.token = port, token
    self.url = f"http://127.0.0.1:{port}"

  def ask(self, method, path, body=None, **headers):
    """(status, JSON or bytes)."""
    if self.token:
      headers.setdefault("Authorization", f"Bearer {self.token}")
    connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
    try:
      connection.request(method, path, body, headers)
      answer = connection.getresponse()
      data = answer.read()
    finally:
      connection.close()
    if answer.headers.get_content_type() == "application/json":
      return answer.status, json.loads(data)
    return answer.status, data

  def post(self, parts, query="", **headers):
    """Posts a form of (name, file name or None, bytes)."""
    edge = b"--edge"
    body = b""
    for name, file, data in parts:
      head = f'Content-Disposition: form-data; name="{name}"'
      head += "" if file is None else f'; filename="{file}"'
      body += edge + b"\r\n" + head.encode() + b"\r\n\r\n" + data + b"\r\n"
    body += edge + b"--\r\n"
    kind = {"Content-Type": "multipart/form-data; boundary=edge"}
    return self.ask("POST", f"/generate{query}", body, **kind, **headers)

  def raw(self, data: bytes, wait: float = 10.0) -> bytes:
    """What comes back for bytes of any kind."""
    with socket.create_connection(("127.0.0.1", self.port), wait) as plug:
      plug.sendall(data)
      out = b""
      try:
        while piece := plug.recv(65_536):
          out += piece
      except TimeoutError:
        return out + b"<open>"
      except ConnectionError:
        pass
      return out
