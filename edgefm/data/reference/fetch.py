"""Getting files over the network: downloads that go on where they stopped, Debian's archive without root."""

from __future__ import annotations

import importlib.util
import shutil
import threading
from pathlib import Path
from typing import Any

from edgefm.core import scratch, subprocesses
from edgefm.core.errors import DataError
from edgefm.core.progress import SILENT, Progress
from edgefm.core.subprocesses import CommandError, TimeLimitError

CONNECT_SECONDS = 3.05
READ_SECONDS = 10.0
# A whole first answer, name lookup included: the system's resolver alone can hang for half a minute offline.
FIRST_ANSWER_SECONDS = 6.0
APT_SECONDS = 300.0

# What a broken connection can lose: a chunk that did not arrive whole is not written.
CHUNK_BYTES = 1 << 14
_ATTEMPTS_WITHOUT_PROGRESS = 3


def download(url: str, folder: Path, *, progress: Progress = SILENT) -> Path:
    """Download a file into a folder and return its path; an interrupted download goes on where it stopped.

    Until the file is whole it is called `<name>.part`; a later call continues it with an HTTP range. The
    caller checks the content, holds a lock on the folder, and removes a file that is wrong.

    Raises:
      DataError: no answer, a refusal, or a connection that broke again and again.
    """
    import pooch

    name = url.rsplit("/", 1)[1]
    files = pooch.create(path=folder, base_url=url.removesuffix(name), registry={name: None})

    def continued(url: str, output_file: str, _: Any) -> None:
        part = folder / f"{name}.part"
        _complete(url, part, progress=progress)
        part.replace(output_file)

    _quiet_pooch()
    return Path(files.fetch(name, downloader=continued))


def check_libraries() -> None:
    """Raise a DataError where the libraries of a download are not installed."""
    lacking = [name for name in ("pooch", "requests") if importlib.util.find_spec(name) is None]
    if lacking:
        raise DataError(f"a download needs {' and '.join(lacking)}: pip install 'edgefm[data]'")


def check_reachable(url: str, *, seconds: float = FIRST_ANSWER_SECONDS) -> None:
    """Raise a DataError unless a server answers for `url` within `seconds`, name lookup included."""
    import requests

    failure: list[str] = [f"no answer from {url} in {seconds:g} s"]

    def ask() -> None:
        try:
            answer = requests.head(url, timeout=(CONNECT_SECONDS, seconds), allow_redirects=True)
            failure[0] = "" if answer.ok else f"{url} answers {answer.status_code} {answer.reason}"
        except requests.RequestException as error:
            failure[0] = f"cannot reach {url} ({_cause(error)})"

    # A daemon: nothing can interrupt the resolver, and it must not hold up the process.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(seconds)
    if failure[0]:
        raise DataError(failure[0])


def unpack_debian_package(package: str, folder: Path, *, progress: Progress = SILENT) -> Path:
    """Download a package of the Debian archive with apt and unpack it below `folder`; return `folder`.

    Nothing is installed and no root is needed. Where the system has no package lists (as in a slim
    container), fresh ones are fetched into a temporary folder.

    Raises:
      DataError: this system has no apt-get or dpkg-deb, or they failed, with their own last words.
    """
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise DataError(f"{tool} is not installed: this is not Debian or Ubuntu")
    with scratch.folder("apt") as temporary:
        progress.note(f"Fetching Debian's package {package} with apt-get download")
        try:
            _run(["apt-get", *_APT_OPTIONS, "download", package], cwd=temporary)
        except DataError as error:
            if not any(words in error.message for words in _NOT_IN_LISTS):
                raise
            lists = _private_lists(temporary)
            progress.note("Fetching package lists, since this system has none of that package")
            _run(["apt-get", *_APT_OPTIONS, *lists, "update"], cwd=temporary)
            _run(["apt-get", *_APT_OPTIONS, *lists, "download", package], cwd=temporary)
        archives = sorted(temporary.glob("*.deb"))
        if not archives:
            raise DataError(f"apt-get download {package} wrote no package")
        _run(["dpkg-deb", "-x", str(archives[0]), str(folder)], cwd=temporary)
    return folder


_APT_OPTIONS = (
    *("-q", "-o", "Acquire::Retries=1"),
    *("-o", "Acquire::http::Timeout=10", "-o", "Acquire::https::Timeout=10"),
)
_NOT_IN_LISTS = ("Unable to locate package", "Can't find a source to download")


def _private_lists(folder: Path) -> list[str]:
    for name in ("lists/partial", "cache/archives/partial"):
        (folder / name).mkdir(parents=True)
    return ["-o", f"Dir::State::lists={folder / 'lists'}", "-o", f"Dir::Cache={folder / 'cache'}"]


def _run(command: list[str], *, cwd: Path) -> None:
    """Run a tool in a folder; on failure raise a DataError with the last line it wrote."""
    try:
        result = subprocesses.run(command, cwd=cwd, seconds=APT_SECONDS)
    except TimeLimitError:
        raise DataError(f"'{command[0]}' took more than {APT_SECONDS:g} s") from None
    except CommandError as error:
        raise DataError(error.message, hint=error.hint) from error
    if result.code:
        lines = (result.errors + result.output).splitlines()
        reasons = "; ".join(line for line in lines if line.startswith(("E:", "dpkg-deb:")))
        raise DataError(f"{command[0]} failed: {reasons or f'exit code {result.code}'}")


def _complete(url: str, part: Path, *, progress: Progress) -> None:
    """Bring `part` to the whole length of `url`, trying again as long as bytes arrive."""
    import requests

    failures = 0
    while True:
        before = _size(part)
        try:
            if _continue_part(url, part, progress=progress):
                return
            reason = "the connection closed early"
        except requests.RequestException as error:
            reason = _cause(error)
        failures = 0 if _size(part) > before else failures + 1
        if failures >= _ATTEMPTS_WITHOUT_PROGRESS:
            raise DataError(
                f"the download of {url} was interrupted after {_size(part)} bytes ({reason}); "
                "the next attempt continues from there"
            )


def _continue_part(url: str, part: Path, *, progress: Progress) -> bool:
    """Append what is missing to `part`, and return whether it is whole now."""
    import requests

    have = _size(part)
    # 'identity': the bytes of the file itself are counted, not those of a transfer encoding.
    headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={have}-"} if have else {})}
    with requests.get(url, headers=headers, stream=True, timeout=(CONNECT_SECONDS, READ_SECONDS)) as answer:
        if answer.status_code == 416:
            # Nothing lies beyond what is here: it is whole, or not of this file.
            if answer.headers.get("Content-Range", "").endswith(f"/{have}"):
                return True
            part.unlink()
            return False
        if not answer.ok:
            raise DataError(f"{url} answers {answer.status_code} {answer.reason}")
        if answer.status_code != 206:
            have = 0
        total = have + int(answer.headers.get("Content-Length", 0))
        with part.open("ab" if have else "wb") as file:
            for chunk in answer.iter_content(CHUNK_BYTES):
                have += file.write(chunk)
                progress.step(f"{part.stem} (KB)", have // 1000, max(total, have) // 1000)
    return have >= total


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _cause(error: BaseException) -> str:
    """Return the innermost reason of a network error: what the system said, without the layers above."""
    inner: BaseException | None = error
    while inner is not None:
        error, inner = inner, inner.__cause__ or inner.__context__
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__


def _quiet_pooch() -> None:
    import logging

    import pooch

    pooch.get_logger().setLevel(logging.ERROR)
