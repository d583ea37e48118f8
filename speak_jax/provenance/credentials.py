"""Certificates that sign manifests: the user's, or one made for a file.

A self-made one proves that a file was not changed since it was made, and
nothing about who made it; its names say so. It is made for one file and its
key is never stored: a key that is kept would tie all videos of a person to
each other, and would have to be guarded without being worth any trust.
"""

import datetime
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from speak_jax.common.files import FileError

SELF_MADE = "Self-made, not verified"  # the organisation of such certificates
_NAME = "Made for one file: says nothing about who made it"
_YEARS = 30
# Variables that name the user's own, if flags do not.
CERTIFICATE, KEY = "SPEAK_CERTIFICATE", "SPEAK_CERTIFICATE_KEY"


class Credentials(NamedTuple):
  """What signs.

  Attributes:
    chain: Certificates in PEM, the signer's first.
    key: Its private key in PEM.
    algorithm: As C2PA names it.
  """

  chain: bytes
  key: bytes
  algorithm: str


def chosen(
  certificate: str | os.PathLike | None = None,
  key: str | os.PathLike | None = None,
) -> Credentials | None:
  """The user's credentials, by path or by variable; None: there are none.

  Raises:
    FileError: One of both is not named, or they cannot be used; one line.
  """
  certificate = certificate or os.environ.get(CERTIFICATE) or None
  key = key or os.environ.get(KEY) or None
  if certificate is None and key is None:
    return None
  if certificate is None:
    raise FileError(key or "", f"a key without a certificate ({CERTIFICATE})")
  if key is None:
    raise FileError(certificate, f"a certificate without its key ({KEY})")
  return read(certificate, key)


def read(certificate: str | os.PathLike, key: str | os.PathLike) -> Credentials:
  """Reads a certificate chain and its private key, both PEM.

  Raises:
    FileError: Not there, not PEM, locked by a password, of a kind that C2PA
      does not take, expired, or not of each other.
  """
  from cryptography.hazmat.primitives import serialization

  chain, secret = _content(certificate), _content(key)
  signer = _certificates(certificate, chain)[0]
  public = signer.public_key()
  try:
    private = serialization.load_pem_private_key(secret, None)
  except TypeError:
    raise FileError(key, "is locked by a password; unlock it first") from None
  except ValueError:
    raise FileError(key, "holds no private key in PEM") from None
  spki = (
    serialization.Encoding.DER,
    serialization.PublicFormat.SubjectPublicKeyInfo,
  )
  if private.public_key().public_bytes(*spki) != public.public_bytes(*spki):
    raise FileError(key, f"is not the key of {os.fspath(certificate)}")
  now = datetime.datetime.now(datetime.UTC)
  if now > signer.not_valid_after_utc:
    day = signer.not_valid_after_utc.date()
    raise FileError(certificate, f"has expired on {day}")
  if now < signer.not_valid_before_utc:
    day = signer.not_valid_before_utc.date()
    raise FileError(certificate, f"is not valid before {day}")
  algorithm = _algorithm(private)
  if algorithm is None:
    raise FileError(
      key, "is of a kind that C2PA does not sign with; take ECDSA on P-256"
    )
  return Credentials(chain, secret, algorithm)


def anchors(paths: Sequence[str | os.PathLike]) -> str:
  """Certificates in PEM of issuers whom somebody trusts, one after another.

  Raises:
    FileError: A file cannot be read or holds no certificates in PEM.
  """
  chains = [_content(path) for path in paths]
  for path, chain in zip(paths, chains, strict=True):
    _certificates(path, chain)
  return "\n".join(chain.decode("ascii", "ignore") for chain in chains)


def _certificates(path: str | os.PathLike, pem: bytes) -> list:
  """The certificates of a file's content, one at least."""
  from cryptography import x509

  try:
    return x509.load_pem_x509_certificates(pem)
  except ValueError:
    raise FileError(path, "holds no certificates in PEM") from None


def _content(path: str | os.PathLike) -> bytes:
  try:
    return Path(path).read_bytes()
  except OSError as error:
    raise FileError(path, f"cannot be read ({error.strerror})") from None


def _algorithm(private: object) -> str | None:
  """C2PA's name of what a key signs with."""
  from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

  if isinstance(private, ec.EllipticCurvePrivateKey):
    curves = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}
    return curves.get(private.curve.name)
  if isinstance(private, rsa.RSAPrivateKey) and private.key_size >= 2048:
    return "ps256"
  return "ed25519" if isinstance(private, ed25519.Ed25519PrivateKey) else None


def self_made() -> Credentials:
  """Makes a certificate for one file, whose issuer is forgotten at once."""
  from cryptography import x509
  from cryptography.hazmat.primitives import hashes, serialization
  from cryptography.hazmat.primitives.asymmetric import ec
  from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

  now = datetime.datetime.now(datetime.UTC)
  issuer_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))

  def named(what: str) -> x509.Name:
    return x509.Name(
      [
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, SELF_MADE),
        x509.NameAttribute(NameOID.COMMON_NAME, what),
      ]
    )

  issuer = named("Issuer of one certificate")

  def made(subject: x509.Name, public: ec.EllipticCurvePublicKey, is_ca: bool):
    usage = x509.KeyUsage(
      digital_signature=not is_ca,
      key_cert_sign=is_ca,
      crl_sign=is_ca,
      content_commitment=False,
      key_encipherment=False,
      data_encipherment=False,
      key_agreement=False,
      encipher_only=False,
      decipher_only=False,
    )
    builder = (
      x509.CertificateBuilder()
      .subject_name(subject)
      .issuer_name(issuer)
      .public_key(public)
      .serial_number(x509.random_serial_number())
      .not_valid_before(now - datetime.timedelta(days=1))
      .not_valid_after(now + datetime.timedelta(days=365 * _YEARS))
      .add_extension(x509.BasicConstraints(is_ca, None), critical=True)
      .add_extension(usage, critical=True)
      .add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_public_key(
          issuer_key.public_key()
        ),
        critical=False,
      )
      .add_extension(
        x509.SubjectKeyIdentifier.from_public_key(public), critical=False
      )
    )
    if not is_ca:  # a purpose that C2PA takes
      purpose = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])
      builder = builder.add_extension(purpose, critical=False)
    signed = builder.sign(issuer_key, hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM)

  chain = made(named(_NAME), key.public_key(), False)
  chain += made(issuer, issuer_key.public_key(), True)
  secret = key.private_bytes(
    serialization.Encoding.PEM,
    serialization.PrivateFormat.PKCS8,
    serialization.NoEncryption(),
  )
  return Credentials(chain, secret, "es256")
