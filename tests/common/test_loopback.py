import pytest

from speak_jax.common import loopback


@pytest.mark.parametrize(
  ("host", "ours"),
  [
    ("localhost", True),
    ("127.0.0.1", True),
    ("127.8.9.1", True),
    ("::1", True),
    ("0.0.0.0", False),
    ("192.168.0.2", False),
    ("localhost.example.org", False),
    ("", False),
  ],
)
def test_what_is_this_machines_alone(host, ours):
  assert loopback.is_loopback(host) == ours


@pytest.mark.parametrize("url", ["http://[", "//[::1", "http://[x]/", ""])
def test_a_malformed_url_has_no_host(url):
  assert not loopback.parsed(url).hostname
