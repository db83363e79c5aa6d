"""Pictures with a C2PA manifest, signed by a certificate that the tests make."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from functools import cache
from io import BytesIO

import c2pa
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_USES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)
_DAY = timedelta(days=1)


def _name(common: str) -> x509.Name:
    parts = ((NameOID.COMMON_NAME, common), (NameOID.ORGANIZATION_NAME, "Tests"))
    return x509.Name([x509.NameAttribute(*part) for part in parts])


def _begin(
    subject: str, key: ec.EllipticCurvePrivateKey, uses: set[str]
) -> x509.CertificateBuilder:
    allowed = x509.KeyUsage(**{name: name in uses for name in _USES})
    is_root = "key_cert_sign" in uses
    return (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(_name("Root"))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.now(UTC) - _DAY)
        .not_valid_after(datetime.now(UTC) + _DAY)
        .add_extension(x509.BasicConstraints(ca=is_root, path_length=None), critical=True)
        .add_extension(allowed, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


@cache
def make_signer(ocsp: str | None = None) -> c2pa.Signer:
    """Make a root and a signer, whose status may be asked for at an address."""
    root_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    root = _begin("Root", root_key, {"key_cert_sign", "crl_sign"})
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key())
    purpose = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])
    leaf = _begin("Signer", key, {"digital_signature"})
    leaf = leaf.add_extension(purpose, critical=True).add_extension(issuer, critical=False)
    if ocsp:
        place = x509.UniformResourceIdentifier(ocsp)
        asked = x509.AccessDescription(x509.oid.AuthorityInformationAccessOID.OCSP, place)
        leaf = leaf.add_extension(x509.AuthorityInformationAccess([asked]), critical=False)
    chain = [one.sign(root_key, hashes.SHA256()) for one in (leaf, root)]
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    pem = b"".join(one.public_bytes(Encoding.PEM) for one in chain)
    return c2pa.Signer.from_info(c2pa.C2paSignerInfo(b"es256", pem, private, None))


def sign(
    raw: bytes,
    mime: str,
    *,
    action: str = "c2pa.created",
    source: str = "trainedAlgorithmicMedia",
    ocsp: str | None = None,
    remote: str | None = None,
) -> bytes:
    """Sign a file as created by a program, whether or not that is sound.

    With a remote address the manifest isn't embedded.
    """
    done = {
        "action": action,
        "digitalSourceType": f"http://cv.iptc.org/newscodes/digitalsourcetype/{source}",
        "softwareAgent": {"name": "A program of the tests"},
    }
    manifest = {
        "claim_generator_info": [{"name": "tests", "version": "1"}],
        "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": [done]}}],
    }
    unchecked = c2pa.Settings.from_dict({"verify": {"verify_after_sign": False}})
    builder = c2pa.Builder(json.dumps(manifest), context=c2pa.Context(unchecked))
    if remote:
        builder.set_remote_url(remote)
        builder.set_no_embed()
    out = BytesIO()
    builder.sign(make_signer(ocsp), mime, BytesIO(raw), out)
    return out.getvalue()
