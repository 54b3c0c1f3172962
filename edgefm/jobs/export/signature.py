"""The signature of a bundle: who wrote it, by an elliptic-curve key, in OpenSSF's model signing format.

Source: OpenSSF Model Signing v1.0, a Sigstore bundle over the sha256 of every file; written and checked by
`model-signing`, so that its own command checks it as well.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgefm.core import artefacts, scratch
from edgefm.core.errors import RecipeError, missing_extra
from edgefm.core.given import regular

FILE_NAME = "model.sig"
PASSWORD_VARIABLE = "EDGEFM_KEY_PASSWORD"
# A key is a few hundred bytes, a signature two hundred bytes a file.
_LARGEST_KEY = 100_000
_LARGEST_SIGNATURE = 10_000_000
_KEYS = "elliptic-curve key (secp256r1, secp384r1 or secp521r1) in PEM"


def check_key(key: Path) -> None:
    """Raise an error unless a file is a private key that bundles can be signed with.

    Raises:
      RecipeError: it is missing, no such key, or its password is wrong or not given.
      RuntimeUnavailableError: model-signing is not installed.
    """
    _signing()
    with scratch.folder("key") as folder:
        _signed_by(key, folder, folder / FILE_NAME)


def with_signature(files: Mapping[str, bytes], key: Path) -> dict[str, bytes]:
    """Return the files of a bundle and the signature over all of them, by path.

    ECDSA draws a random number for each signature: this file alone differs from time to time.

    Args:
      files: content by path, with '/' between folders; the manifest among them.
      key: private key in PEM; where it has a password, EDGEFM_KEY_PASSWORD holds it.
    Raises:
      RecipeError, RuntimeUnavailableError: see `check_key`.
    """
    with scratch.folder("sign") as folder:
        for name, content in files.items():
            artefacts.write_bytes(folder / "bundle" / name, content)
        _signed_by(key, folder / "bundle", folder / FILE_NAME)
        return {**files, FILE_NAME: (folder / FILE_NAME).read_bytes()}


def problem_of(bundle: Path, public_key: Path) -> str | None:
    """Return why a bundle is not signed by the key that belongs to a public one, or None where it is.

    Raises:
      RecipeError: the public key is missing, or none.
      RuntimeUnavailableError: model-signing is not installed.
    """
    _, verifying, hashing = _signing()
    content = _read(public_key, _LARGEST_KEY, "public key")
    signature = bundle / FILE_NAME
    if not signature.is_file():
        return f"it is not signed: there is no {FILE_NAME}"
    with scratch.folder("key") as folder:
        (folder / "key.pem").write_bytes(content)
        # Read once here, so that a link or an endless file is never followed.
        (folder / FILE_NAME).write_bytes(_read(signature, _LARGEST_SIGNATURE, "signature"))
        try:
            config = verifying.Config().use_elliptic_key_verifier(public_key=folder / "key.pem")
        except (ValueError, TypeError, AttributeError) as error:
            raise RecipeError(
                f"{public_key} is no public {_KEYS}", hint=f"Write one from the private key: {_HOW}"
            ) from error
        config.set_hashing_config(hashing.Config().set_ignored_paths(paths=[FILE_NAME], ignore_git_paths=False))
        try:
            config.verify(bundle, folder / FILE_NAME)
        except Exception as error:  # of any kind: the file is another's
            return f"{FILE_NAME} is not the signature of these files by {public_key}: {_first_line(error)}"
    return None


_HOW = "openssl ec -in private.pem -pubout -out public.pem"


def _signed_by(key: Path, bundle: Path, signature: Path) -> None:
    signing, _, hashing = _signing()
    content = _read(key, _LARGEST_KEY, "private key")
    password = os.environ.get(PASSWORD_VARIABLE)
    with scratch.folder("key") as folder:
        held = folder / "key.pem"
        held.touch(mode=0o600)
        held.write_bytes(content)
        try:
            config = signing.Config().use_elliptic_key_signer(
                private_key=held, password=None if password is None else password.encode()
            )
        except (ValueError, TypeError, AttributeError) as error:
            why = "it is a key of another kind" if isinstance(error, AttributeError) else _first_line(error)
            raise RecipeError(
                f"{key} cannot be used as a private {_KEYS}: {why}",
                hint=f"Make one with: openssl ecparam -name prime256v1 -genkey -noout -out private.pem. "
                f"The password of a key is taken from {PASSWORD_VARIABLE}.",
            ) from error
        config.set_hashing_config(hashing.Config().set_ignored_paths(paths=[FILE_NAME], ignore_git_paths=False))
        config.sign(bundle, signature)


def _read(path: Path, most: int, what: str) -> bytes:
    with regular.open_file(path, RecipeError, missing=f"there is no {what} {path}") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise RecipeError(f"{path} is larger than any {what}: over {most:,} bytes")
    return bytes(content)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]


def _signing() -> tuple[Any, Any, Any]:
    try:
        from model_signing import hashing, signing, verifying
    except ImportError:
        raise missing_extra("model-signing with pyOpenSSL", "sign") from None
    return signing, verifying, hashing
