"""What machines share: bytes by their sha256, and the finished passes that are made of them.

Bytes are written once, under the name of their content, and held against it whenever they are read, so that it does not
matter who writes first, or twice. A folder is written by edgefm itself; any other address by fsspec.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit
from urllib.request import url2pathname

from edgefm.core import artefacts, whole_folders
from edgefm.core.documents import inside
from edgefm.core.errors import EdgefmError, missing_extra
from edgefm.core.given import regular

_CONTENTS, _PASSES = "sha256", "passes"
_HINT = "Check that all machines reach it and may write there."


class StoreError(EdgefmError):
    """A store cannot be reached, or does not hold what it should."""


class _Files(Protocol):
    """Named bytes; a write is whole or not there."""

    def read(self, name: str) -> bytes | None: ...

    def has(self, name: str) -> bool: ...

    def write(self, name: str, content: bytes) -> None: ...


class Store:
    """Bytes by their sha256 in a folder or behind a URL that all machines reach."""

    def __init__(self, address: str) -> None:
        """Take a folder, or a URL that fsspec knows: 'file:///...', 's3://bucket/folder'.

        Raises:
          StoreError: the URL's kind is unknown, or what reads it is not installed.
          RuntimeUnavailableError: fsspec is not installed.
        """
        self.address = address
        folder = local_folder(address)
        self._files: _Files = _Remote(address) if folder is None else _Folder(folder)

    def put(self, content: bytes) -> str:
        """Write bytes unless they are there, and return their sha256."""
        sha256 = artefacts.sha256_bytes(content)
        if not self._files.has(_name(sha256)):
            self._files.write(_name(sha256), content)
        return sha256

    def get(self, sha256: str) -> bytes:
        """Return the bytes of a sha256.

        Raises:
          StoreError: they are not there, or are others.
        """
        content = self._files.read(_name(sha256))
        if content is None:
            raise StoreError(f"{self.address} holds no {sha256}", hint=_HINT)
        if artefacts.sha256_bytes(content) != sha256:
            raise StoreError(
                f"{self.address}/{_name(sha256)} is damaged: its content has another sha256",
                hint="Remove it and go on with the search: it is written again.",
            )
        return content

    @contextmanager
    def shelf(self, folder: Path) -> Iterator[None]:
        """Bring a finished pass into its folder before the block, if anybody did it; share it after the block.

        Args:
          folder: of the pass; its name ends in its key.
        """
        name = f"{_PASSES}/{folder.name}.json"
        shared = self._files.read(name)
        if shared is not None and not folder.exists():
            self._bring(folder, shared)
        yield
        if shared is None and folder.is_dir():
            files = {path.name: self.put(path.read_bytes()) for path in sorted(folder.iterdir())}
            self._files.write(name, json.dumps(files).encode())

    def _bring(self, folder: Path, listed: bytes) -> None:
        """Write a pass's files; where one is gone or damaged none: the pass is done again."""
        try:
            named: dict[str, Any] = dict(json.loads(listed))
            files = {name: self.get(str(sha256)) for name, sha256 in named.items()}
            for name in files:
                inside(folder, name, where=folder, error=StoreError)
        except (StoreError, ValueError, TypeError):
            return
        whole_folders.write(folder, files)


def local_folder(address: str) -> Path | None:
    """Return the folder that an address means; None where it is another kind of URL.

    >>> local_folder("s3://bucket/folder"), local_folder("file:///data").as_posix(), local_folder("data").as_posix()
    (None, '/data', 'data')
    """
    parts = urlsplit(address)
    if "://" not in address:
        return Path(address)
    return Path(url2pathname(parts.path)) if parts.scheme in ("file", "local") else None


def _name(sha256: str) -> str:
    return f"{_CONTENTS}/{sha256[:2]}/{sha256}"


class _Folder:
    """Files in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, name: str) -> bytes | None:
        path = self._folder / name
        if not path.exists():
            return None
        with regular.open_file(path, StoreError, missing=f"{path} is gone", hint=_HINT) as file:
            return file.read()

    def has(self, name: str) -> bool:
        return (self._folder / name).exists()

    def write(self, name: str, content: bytes) -> None:
        artefacts.write_bytes(self._folder / name, content)


class _Remote:
    """Objects behind a URL; an object store shows them when they are whole."""

    def __init__(self, url: str) -> None:
        try:
            from fsspec.core import url_to_fs
        except ImportError as error:
            raise missing_extra("fsspec", "cluster") from error
        try:
            self._system, self._root = url_to_fs(url)
        except (ValueError, ImportError) as error:
            raise StoreError(
                f"{url} cannot be used as a store: {error}",
                hint="Give a folder that all machines reach, or a URL whose library is installed (s3fs for s3://).",
            ) from None
        self._url = url

    def read(self, name: str) -> bytes | None:
        try:
            return bytes(self._system.cat_file(f"{self._root}/{name}"))
        except FileNotFoundError:
            return None
        except Exception as error:  # each library has its own
            raise self._error(error) from error

    def has(self, name: str) -> bool:
        try:
            return bool(self._system.exists(f"{self._root}/{name}"))
        except Exception as error:  # each library has its own
            raise self._error(error) from error

    def write(self, name: str, content: bytes) -> None:
        path = f"{self._root}/{name}"
        try:
            self._system.makedirs(path.rpartition("/")[0], exist_ok=True)
            self._system.pipe_file(path, content)
        except Exception as error:  # each library has its own
            raise self._error(error) from error

    def _error(self, error: Exception) -> StoreError:
        return StoreError(f"{self._url} cannot be used: {type(error).__name__}: {error}", hint=_HINT)
