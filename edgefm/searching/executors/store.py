"""What machines share: bytes by their sha256, in a folder that edgefm writes, or behind a URL that fsspec writes.

Bytes lie under the name of their content and are held against it whenever they are read, so that it does not matter who
writes first, or twice. A write is whole or not there: a file is renamed when it is complete, and an object store shows
an object when its last part has come. What fsspec writes in place (sftp, smb, ftp) may be half there, which its sha256
tells.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit
from urllib.request import url2pathname

from edgefm.core import artefacts
from edgefm.core.errors import EdgefmError, missing_extra
from edgefm.core.given import regular

_CONTENTS = "sha256"
# A file that nobody has finished for so long is of a process that was killed.
_STILL_SECONDS = 600.0
_HINT = "Check that all machines reach it and may write there."


class StoreError(EdgefmError):
    """A store cannot be reached, or does not hold what it should."""


class Files(Protocol):
    """Named bytes; a write is whole or not there."""

    def read(self, name: str) -> bytes | None:
        """Return the bytes of a name; None where there are none."""

    def write(self, name: str, content: bytes) -> None:
        """Write the bytes of a name; the last who writes is right."""

    def remove(self, name: str) -> None:
        """Remove a name; nothing is raised where it is gone."""


class Store:
    """Bytes by their sha256 in a folder or behind a URL that all machines reach."""

    def __init__(self, address: str) -> None:
        """Take a folder, or a URL that fsspec knows: 'file:///...', 's3://bucket/folder'.

        Raises:
          StoreError: the URL's kind is unknown, or what reads it is not installed.
          RuntimeUnavailableError: fsspec is not installed.
        """
        self.address, self.place = address, shown(address)
        folder = local_folder(address)
        self.files: Files = _Remote(address) if folder is None else _Folder(folder)

    def put(self, content: bytes) -> str:
        """Write bytes unless they are there, undamaged, and return their sha256.

        Raises:
          StoreError: they cannot be written.
        """
        sha256 = artefacts.sha256_bytes(content)
        if self.files.read(_name(sha256)) != content:
            self.files.write(_name(sha256), content)
        return sha256

    def get(self, sha256: str) -> bytes:
        """Return the bytes of a sha256.

        Raises:
          StoreError: they are not there, or are others.
        """
        content = self.files.read(_name(sha256))
        if content is None:
            raise StoreError(f"{self.place} holds no {sha256}", hint=_HINT)
        if artefacts.sha256_bytes(content) != sha256:
            raise StoreError(
                f"{self.place}/{_name(sha256)} is damaged: its content has another sha256",
                hint="Go on with the search by resume: it is written again.",
            )
        return content


@contextmanager
def swept(
    address: str, *, seconds: float = _STILL_SECONDS, clock: Callable[[], float] = time.monotonic
) -> Iterator[None]:
    """Remove from a folder, after the block, what killed processes had not finished to write there before it.

    That is what stood still from the block's beginning to its end; where the block was shorter nothing is removed. An
    object store shows nothing of the kind.

    Args:
      address: of the store.
      seconds: of the block, at least: a process that writes may be another search's.
      clock: seconds that only grow.
    """
    folder = local_folder(address)
    before, since = {} if folder is None else _unfinished(folder), clock()
    try:
        yield
    finally:
        if folder is not None and clock() - since >= seconds:
            for path, state in _unfinished(folder).items():
                with suppress(OSError):  # of another user, say: it stays
                    if before.get(path) == state:
                        path.unlink()


def _unfinished(folder: Path) -> Mapping[Path, tuple[int, int]]:
    """Return the files of a store that are not finished, with their sizes and times."""
    found = {}
    for below in (path for path in folder.rglob("*") if path.is_dir()):
        for path in artefacts.unfinished(below):
            with suppress(FileNotFoundError):  # it was finished meanwhile
                found[path] = (path.stat().st_size, path.stat().st_mtime_ns)
    return found


def local_folder(address: str) -> Path | None:
    """Return the folder that an address means; None where it is another kind of URL.

    >>> local_folder("s3://bucket/folder"), local_folder("file:///data").as_posix(), local_folder("data").as_posix()
    (None, '/data', 'data')
    """
    parts = urlsplit(address)
    if "://" not in address:
        return Path(address)
    return Path(url2pathname(parts.path)) if parts.scheme in ("file", "local") else None


def shown(address: str) -> str:
    """Return an address without user and password.

    >>> shown("sftp://me:secret@host/data"), shown("s3://bucket/folder"), shown("data")
    ('sftp://host/data', 's3://bucket/folder', 'data')
    """
    scheme, mark, rest = address.partition("://")
    authority, slash, path = rest.partition("/")
    return f"{scheme}{mark}{authority.rpartition('@')[2]}{slash}{path}"


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

    def write(self, name: str, content: bytes) -> None:
        artefacts.write_bytes(self._folder / name, content)

    def remove(self, name: str) -> None:
        (self._folder / name).unlink(missing_ok=True)


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
                f"{shown(url)} cannot be used as a store: {error}",
                hint="Give a folder that all machines reach, or a URL whose library is installed (s3fs for s3://).",
            ) from None
        self._url, self._place = url, shown(url)

    def read(self, name: str) -> bytes | None:
        try:
            return bytes(self._system.cat_file(f"{self._root}/{name}"))
        except FileNotFoundError:
            return None
        except Exception as error:  # each library has its own
            raise self._error(error) from error

    def write(self, name: str, content: bytes) -> None:
        path = f"{self._root}/{name}"
        try:
            try:
                self._system.pipe_file(path, content)
            except FileNotFoundError:  # no object store: it has folders, and lacks one; or a bucket is missing
                self._make_folders(path)
                self._system.pipe_file(path, content)
        except Exception as error:  # each library has its own
            raise self._error(error) from error

    def _make_folders(self, path: str) -> None:
        """Make the folders of a file from the store's own on; never a bucket, which a wrong address would name."""
        below = path.removeprefix(self._root).split("/")[1:-1]
        folders = ["/".join([self._root, *below[:count]]) for count in range(len(below) + 1)]
        for folder in folders:
            if "/" in folder.strip("/"):
                with suppress(FileExistsError):
                    self._system.mkdir(folder, create_parents=False)

    def remove(self, name: str) -> None:
        try:
            self._system.rm_file(f"{self._root}/{name}")
        except FileNotFoundError:
            return
        except Exception as error:  # each library has its own
            raise self._error(error) from error

    def _error(self, error: Exception) -> StoreError:
        said = str(error).replace(self._url, self._place)
        return StoreError(f"{self._place} cannot be used: {type(error).__name__}: {said}", hint=_HINT)
