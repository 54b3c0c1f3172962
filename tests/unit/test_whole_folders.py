import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from edgefm.core import artefacts, scratch, whole_folders
from edgefm.core.errors import by_final_names

OLD = {"a.txt": b"old a", "b.txt": b"old b", "gone.txt": b"old gone"}
NEW = {"a.txt": b"new a", "b.txt": b"new b", "c.txt": b"new c"}


def _content(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder, hidden ones too."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _folder(path: Path, files: dict[str, bytes]) -> Path:
    path.mkdir(parents=True)
    for name, content in files.items():
        (path / name).write_bytes(content)
    return path


def _write(folder: Path) -> None:
    whole_folders.write(folder, NEW, gone=("gone.txt", "never.txt"))


# What lies in the folder before, and what a folder of this kind holds afterwards.
KINDS = [
    pytest.param(None, NEW, id="new"),
    pytest.param({}, NEW, id="empty"),
    pytest.param(OLD, NEW, id="former files"),
    pytest.param({**OLD, "mine.txt": b"mine"}, {**NEW, "mine.txt": b"mine"}, id="with files of others"),
]


@pytest.mark.parametrize(("before", "after"), KINDS)
def test_folder_holds_all_files_and_nothing_else(
    before: dict[str, bytes] | None, after: dict[str, bytes], tmp_path: Path
) -> None:
    folder = tmp_path / "deep" / "out"
    if before is not None:
        _folder(folder, before)
    _write(folder)
    assert _content(tmp_path) == {f"deep/out/{name}": content for name, content in after.items()}
    assert folder.stat().st_mode & 0o777 == 0o755 and (folder / "a.txt").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("exchange", [True, False], ids=["exchange", "two renames"])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "full"), KeyboardInterrupt(), ValueError("a fault")], ids=repr)
@pytest.mark.parametrize(("before", "after"), KINDS)
def test_folder_stays_as_it_was_wherever_writing_stops(
    before: dict[str, bytes] | None,
    after: dict[str, bytes],
    error: BaseException,
    exchange: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = 0
    stop = 0

    def stopping(call: Callable[..., object]) -> Callable[..., object]:
        def either(*arguments: object, **named: object) -> object:
            nonlocal calls
            calls += 1
            if calls == stop:
                raise error
            return call(*arguments, **named)

        return either

    def tried(place: int) -> bool:
        nonlocal calls, stop
        calls, stop = 0, place
        folder = tmp_path / str(place) / "out"
        if before is not None:
            _folder(folder, before)
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", stopping(os.fsync))
            exchanged = whole_folders._exchanged if exchange else lambda one, other: False
            patch.setattr(whole_folders, "_exchanged", stopping(exchanged))
            for name in ("rename", "replace"):
                patch.setattr(Path, name, stopping(getattr(Path, name)))
            try:
                _write(folder)
            except type(error):
                assert _content(folder.parent) == {f"out/{name}": kept for name, kept in (before or {}).items()}
                assert folder.exists() == (before is not None)
                return True
        assert _content(folder.parent) == {f"out/{name}": kept for name, kept in after.items()}
        return False

    stopped = [tried(place) for place in range(1, 60)]
    assert stopped == sorted(stopped, reverse=True)
    assert 6 < sum(stopped) < 59, "it was stopped at each file and at each renaming"


@pytest.mark.parametrize("exchange", [True, False], ids=["exchange", "two renames"])
def test_folder_that_is_put_in_the_place_of_another_is_there_before_that_one_is_removed(
    exchange: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written, folder = _folder(tmp_path / "out.partial", NEW), _folder(tmp_path / "out", OLD)
    rmtree, seen = shutil.rmtree, []

    def looking(path: Path, **options: bool) -> None:
        rmtree(path, **options)
        seen.append(_content(folder))

    monkeypatch.setattr(shutil, "rmtree", looking)
    if not exchange:
        monkeypatch.setattr(whole_folders, "_exchanged", lambda one, other: False)
    whole_folders.put(written, folder)
    assert all(content in (OLD, NEW) for content in seen) and seen[-1] == NEW
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_folder_that_cannot_be_renamed_is_filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = _folder(tmp_path / "out", OLD)
    monkeypatch.chdir(folder)
    before = folder.stat().st_ino
    _write(Path())
    assert folder.stat().st_ino == before, "a shell that stands in it would be lost"
    assert _content(tmp_path) == {f"out/{name}": content for name, content in NEW.items()}


TREE = {"a.txt": b"a", "golden/0.bin": b"0", "golden/deep/1.bin": b"1"}


def test_empty_folder_that_is_exchanged_stays_the_same_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = _folder(tmp_path / "out", {})
    monkeypatch.chdir(folder)
    before = folder.stat().st_ino
    whole_folders.exchange(Path(), TREE, replace=False)
    assert folder.stat().st_ino == before, "a shell that stands in it would be lost"
    assert _content(tmp_path) == {f"out/{name}": content for name, content in TREE.items()}


def test_empty_folder_that_is_exchanged_stays_empty_wherever_filling_it_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, rename, calls = _folder(tmp_path / "out", {}), Path.rename, 0

    def stopped(self: Path, target: Path) -> Path:
        nonlocal calls
        calls += 1
        if calls == stop:
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", stopped)
    for stop in (1, 2, 3, 4):
        calls = 0
        with pytest.raises(KeyboardInterrupt):
            whole_folders.exchange(folder, TREE, replace=False)
        assert not list(folder.iterdir()), f"stopped at renaming {stop}"


def test_folder_that_another_process_fills_meanwhile_is_not_exchanged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, write_bytes = tmp_path / "out", artefacts.write_bytes

    def slowly(path: Path, content: bytes) -> Path:
        if not folder.exists():
            _folder(folder, OLD)
        return write_bytes(path, content)

    monkeypatch.setattr(artefacts, "write_bytes", slowly)
    with pytest.raises(OSError, match="not empty"):
        whole_folders.exchange(folder, TREE, replace=False)
    assert _content(tmp_path) == {f"out/{name}": content for name, content in OLD.items()}


@pytest.mark.parametrize("before", [None, ("one",), ("one", "two", "three")], ids=str)
def test_folders_take_their_places_together_or_none_does(
    before: tuple[str, ...] | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename, calls, stop = Path.rename, 0, 0

    def stopped(self: Path, target: Path) -> Path:
        nonlocal calls
        calls += 1
        if calls == stop:
            raise OSError(errno.ENOSPC, "full")
        return rename(self, target)

    def tried(place: int) -> bool:
        nonlocal calls, stop
        folder = tmp_path / str(place) / "out"
        for name in before or ():
            _folder(folder / name, OLD)
        was = _content(tmp_path / str(place)) if before else {}
        calls, stop = 0, place
        try:
            with whole_folders.together(folder) as staged:
                for name in ("one", "two"):
                    _folder(staged / name / "deep", NEW)
        except OSError:
            assert _content(tmp_path / str(place)) == was and folder.exists() == bool(before)
            return True
        new = {f"out/{name}/deep/{file}": content for name in ("one", "two") for file, content in NEW.items()}
        kept = {file: content for file, content in was.items() if file.startswith("out/three")}
        assert _content(tmp_path / str(place)) == {**new, **kept}
        return False

    monkeypatch.setattr(Path, "rename", stopped)
    stopped_at = [tried(place) for place in range(1, 12)]
    assert stopped_at == sorted(stopped_at, reverse=True) and 3 < sum(stopped_at) < 11


def test_link_to_a_folder_stays_a_link(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "real", OLD)
    (tmp_path / "out").symlink_to(folder)
    _write(tmp_path / "out")
    assert (tmp_path / "out").is_symlink() and _content(folder) == NEW


def test_folder_in_the_place_of_a_file_is_kept(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "out", OLD)
    (folder / "c.txt").mkdir()
    (folder / "c.txt" / "mine").write_text("mine")
    before = _content(tmp_path)
    with pytest.raises(IsADirectoryError):
        _write(folder)
    assert _content(tmp_path) == before


def test_leftovers_of_killed_processes_go_and_those_of_running_ones_stay(tmp_path: Path) -> None:
    left, running = (_folder(tmp_path / f".out.abcdefg{end}.partial", {"x": b""}) for end in "hi")
    former, formers = (_folder(tmp_path / f".out.abcdefg{end}.former", {"x": b""}) for end in "ji")
    other = _folder(tmp_path / ".outer.abcdefgh.partial", {"x": b""})
    with scratch.held(running):
        _write(tmp_path / "out")  # which is made
        _write(tmp_path / "out")  # which is replaced
    assert not left.exists() and not former.exists()
    assert running.exists() and formers.exists() and other.exists()


@pytest.mark.parametrize("others", [{}, {"mine.txt": b"mine"}], ids=["own folder", "with files of others"])
def test_error_names_the_file_that_was_to_be_written(
    others: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _folder(tmp_path / "out", others)

    def full(path: Path, target: Path) -> Path:
        raise OSError(errno.ENOSPC, "full", str(path))

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="full") as caught:
        _write(tmp_path / "out")
    assert by_final_names(f": {caught.value.filename}") == f": {tmp_path}/out/a.txt"


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is of Unix")
def test_killed_process_leaves_the_former_folder_whole_or_none(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from edgefm.core import whole_folders\n"
        "print(flush=True)\n"
        "for turn in range(10_000):\n"
        "    files = {f'{place}.txt': b'%d' % turn for place in range(8)}\n"
        "    whole_folders.write(Path(sys.argv[1]), files)\n"
    )
    seen = set()
    for turn in range(12):
        folder = tmp_path / str(turn) / "out"
        with subprocess.Popen([sys.executable, "-c", program, str(folder)], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            while not folder.exists():
                time.sleep(0.001)
            time.sleep(0.0037 * turn)
            process.send_signal(signal.SIGKILL)
        if folder.exists():
            found = _content(folder)
            assert len(found) == 8 and len(set(found.values())) == 1
            seen.add(next(iter(found.values())))
        _write(folder)
        shutil.rmtree(tmp_path / str(turn))
    assert seen


# Kills itself at the call of `rename`, `replace`, `rmtree` or the exchange that has a number; of 0, none.
KILLED = """
import os, shutil, signal, sys
from pathlib import Path
from edgefm.core import whole_folders

left = int(sys.argv[2])

def killing(call):
    def either(*arguments, **named):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*arguments, **named)
    return either

for name in ("rename", "replace"):
    setattr(Path, name, killing(getattr(Path, name)))
shutil.rmtree = killing(shutil.rmtree)
exchanged = whole_folders._exchanged if sys.argv[3] == "exchange" else lambda one, other: False
whole_folders._exchanged = killing(exchanged)
files = {"a.txt": b"new a", "b.txt": b"new b", "c.txt": b"new c"}
whole_folders.write(Path(sys.argv[1]), files, gone=("gone.txt", "never.txt"))
"""


def _killed(folder: Path, place: int, how: str) -> bool:
    """Write into a folder in a process that kills itself at a place; return whether it came there."""
    return subprocess.run([sys.executable, "-c", KILLED, str(folder), str(place), how], check=False).returncode != 0


@pytest.mark.skipif(sys.platform != "linux", reason="other systems exchange no folders")
def test_folder_of_its_own_is_whole_at_every_moment_of_a_kill(tmp_path: Path) -> None:
    seen = []
    for place in range(1, 20):
        folder = _folder(tmp_path / str(place) / "out", OLD)
        killed = _killed(folder, place, "exchange")
        assert _content(folder) in (OLD, NEW)
        seen.append(_content(folder))
        _write(folder)
        assert _content(folder.parent) == {f"out/{name}": content for name, content in NEW.items()}
        if not killed:
            break
    assert not killed and OLD in seen and NEW in seen[:-1]


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is of Unix")
@pytest.mark.parametrize("others", [{}, {"mine.txt": b"mine"}], ids=["own folder", "with files of others"])
def test_next_call_undoes_what_a_kill_cut_off(
    others: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "full")

    for place in range(1, 40):
        folder = _folder(tmp_path / str(place) / "out", {**OLD, **others})
        killed = _killed(folder, place, "two renames")
        with monkeypatch.context() as patch, pytest.raises(OSError, match="full"):
            patch.setattr(os, "fsync", full)
            _write(folder)
        assert _content(folder.parent) in [
            {f"out/{name}": content for name, content in {**whole, **others}.items()} for whole in (OLD, NEW)
        ]
        _write(folder)
        assert _content(folder) == {**NEW, **others}
        if not killed:
            break
    assert not killed and place > 8


@pytest.mark.parametrize("name", ["new", "former", "absent"])
def test_a_hidden_folder_given_by_somebody_else_moves_and_removes_nothing_elsewhere(name: str, tmp_path: Path) -> None:
    elsewhere = _folder(tmp_path / "elsewhere", {"a.txt": b"secret", "b.txt": b"secret"})
    folder = _folder(tmp_path / "out", {"a.txt": b"old", "mine.txt": b"mine"})
    planted = folder / ".edgefm.abcdefgh.former"
    for part in ("new", "former", "absent"):
        planted.mkdir(exist_ok=True)
        (planted / part).symlink_to(elsewhere) if part == name else (planted / part).mkdir()
    _write(folder)
    assert _content(elsewhere) == {"a.txt": b"secret", "b.txt": b"secret"}
    assert (folder / "mine.txt").read_bytes() == b"mine" and (folder / "a.txt").read_bytes() == b"new a"


def test_folder_that_the_file_system_does_not_rename_is_filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = _folder(tmp_path / "out", OLD)
    rename = Path.rename

    def refuse(path: Path, target: Path) -> Path:
        if path == folder:
            raise OSError(errno.EXDEV, "another device", str(path))
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", refuse)
    monkeypatch.setattr(whole_folders, "_exchanged", lambda one, other: False)
    _write(folder)
    assert _content(tmp_path) == {f"out/{name}": content for name, content in NEW.items()}
