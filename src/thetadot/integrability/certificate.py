"""Certificates: proofs as plain JSON that a program which shares nothing with this one can check."""

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

from thetadot.integrability.errors import CertificateError

FORMAT = "thetadot-certificate/1"


@dataclasses.dataclass(frozen=True)
class Certificate:
    """A proof as data that JSON can hold; `thetadot verify-certificate` checks it.

    Attributes:
        data: the proof, with keys `format`, `kind`, `digest` and those of its kind.

    Example:
        >>> import sympy
        >>> from thetadot.integrability import second_order_galois
        >>> x = sympy.Symbol("x")
        >>> second_order_galois(x, x).certificate.kind
        'sl2'
    """

    data: dict[str, Any]

    @property
    def kind(self) -> str:
        """`sl2`, `liouville`, `integrals`, `monodromy` or `verdict`."""
        return str(self.data["kind"])

    @property
    def digest(self) -> str:
        """SHA-256 of the JSON without the digest: guards against accidents."""
        return str(self.data["digest"])

    @property
    def content(self) -> dict[str, Any]:
        """The data without the digest."""
        return {key: value for key, value in self.data.items() if key != "digest"}

    @classmethod
    def sealed(cls, content: dict[str, Any]) -> "Certificate":
        """A certificate of this content, with its digest."""
        return cls(content | {"digest": digest_of(content)})

    def save(self, path: str | Path) -> Path:
        """Write the certificate to a JSON file."""
        file = Path(path)
        try:
            file.write_text(json.dumps(self.data, indent=1, ensure_ascii=True) + "\n")
        except OSError as error:
            raise CertificateError(
                f"{file} cannot be written ({error.strerror}): choose another file"
            ) from error
        return file

    @classmethod
    def load(cls, path: str | Path) -> "Certificate":
        """Read a certificate; it is not checked.

        Raises:
            CertificateError: the file is missing or holds no certificate.
        """
        file = Path(path)
        try:
            data = json.loads(file.read_text())
        except OSError as error:
            raise CertificateError(f"{file} cannot be read ({error.strerror})") from error
        except ValueError as error:
            raise CertificateError(f"{file} is not JSON: expected a certificate") from error
        if not isinstance(data, dict) or data.get("format") != FORMAT or "kind" not in data:
            raise CertificateError(f"{file} is not a certificate: expected an object with format {FORMAT!r}")
        if data.get("digest") != digest_of(data):
            raise CertificateError(f"{file} is damaged: its digest does not fit its content")
        return cls(data)


def digest_of(data: dict[str, Any]) -> str:
    """SHA-256 of the canonical JSON of `data`."""
    content = {key: value for key, value in data.items() if key != "digest"}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()
