"""Whom to trust: the TLS context, made at the first https request and shared by all clients of the process."""

from __future__ import annotations

import functools
import os
import ssl

import certifi


def context() -> ssl.SSLContext:
    """Trusts what httpx does: SSL_CERT_FILE, or SSL_CERT_DIR, or the certificates of the package certifi."""
    return _context(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))


@functools.lru_cache(maxsize=8)
def _context(cert_file: str | None, cert_dir: str | None) -> ssl.SSLContext:
    # Loading the certificates takes tens of milliseconds: once for a process, not once for a client.
    if cert_file:
        made = ssl.create_default_context(cafile=cert_file)
    elif cert_dir:
        made = ssl.create_default_context(capath=cert_dir)
    else:
        made = ssl.create_default_context(cafile=certifi.where())
    made.set_alpn_protocols(["http/1.1"])
    return made
