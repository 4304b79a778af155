"""Certificates checked from Python: the file is read here, the checking shares nothing with the proving."""

import json
from pathlib import Path
from typing import Any

from thetadot.integrability.certificate import Certificate
from thetadot.integrability.errors import CertificateError
from thetadot.integrability.verifier import FORMAT, MOST_BYTES, Check, Verification, verify


def verify_certificate(certificate: "Certificate | dict[str, Any] | str | Path") -> Verification:
    """Check a certificate without trusting the program that wrote it.

    Arguments:
        certificate: a `Certificate`, its data, or a path to its JSON file.

    Returns:
        Whether it is valid, what it proves, and every check.

    Raises:
        CertificateError: the file cannot be read, is no JSON, or is larger than 50 MB.

    Example:
        >>> import sympy
        >>> from thetadot.integrability import second_order_galois
        >>> x = sympy.Symbol("x")
        >>> verify_certificate(second_order_galois(x, x).certificate).valid
        True
    """
    if isinstance(certificate, Certificate):
        return verify(certificate.data)
    if isinstance(certificate, dict):
        return verify(certificate)
    return verify(_read(Path(certificate)))


def _read(file: Path) -> Any:
    try:
        if file.stat().st_size > MOST_BYTES:
            raise CertificateError(f"{file} has more than {MOST_BYTES} bytes: no certificate is that large")
        data = json.loads(file.read_text())
    except OSError as error:
        raise CertificateError(
            f"{file} cannot be read ({error.strerror}): name a certificate's JSON file"
        ) from error
    except (ValueError, RecursionError) as error:
        raise CertificateError(f"{file} is not JSON: name a certificate's JSON file") from error
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise CertificateError(f"{file} is not a certificate: expected an object with format {FORMAT!r}")
    return data


__all__ = ["Check", "Verification", "verify_certificate"]
