"""The trials of a search in PostgreSQL, behind Optuna's gRPC proxy in front of it, and in MariaDB, all of them real."""

from __future__ import annotations

import gc
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edgefm.core.errors import RecipeError
from edgefm.searching.driver import InProcess, Limits, drive
from edgefm.searching.journal import SearchError, opened
from edgefm.searching.storage import shared as shared_study
from edgefm.searching.storage.shared import SharedStudy
from tests.fixtures import mariadb, postgresql
from tests.fixtures.search_driver import SPACE, evaluate, identity, sampling, searched

DATABASES = [
    pytest.param("database", marks=pytest.mark.postgresql),
    pytest.param("mysql", marks=pytest.mark.mysql),
]
PROXY = pytest.param("proxy", marks=pytest.mark.postgresql)
PASSWORDS = (postgresql.PASSWORD, mariadb.PASSWORD)
ROOT = Path(__file__).parents[2]
_LEASE = 2.0


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    pytest.importorskip("psycopg")
    with postgresql.server() as address:
        yield address


@pytest.fixture(scope="module")
def mysql() -> Iterator[str]:
    with mariadb.server() as address:
        yield address


@pytest.fixture(scope="module")
def proxy(database: str) -> Iterator[str]:
    pytest.importorskip("grpc")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = (
        "from optuna.storages import RDBStorage, run_grpc_proxy_server\n"
        f"run_grpc_proxy_server(RDBStorage({database.replace('postgresql', 'postgresql+psycopg', 1)!r}), "
        f"host='127.0.0.1', port={port})"
    )
    process = subprocess.Popen([sys.executable, "-W", "ignore", "-c", program], stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 30
        while time.monotonic() < until:
            with socket.socket() as asked:
                if asked.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        yield f"grpc://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def _search(
    folder: Path,
    address: str,
    *,
    seed: int,
    trials: int,
    resume: bool = False,
    evaluate: Any = evaluate,
    **of: Any,
) -> Any:
    with _opened(folder, address, seed=seed, resume=resume, **of) as journal:
        return drive(journal, sampling(seed=seed), InProcess(evaluate), Limits(trials=trials))


def _opened(folder: Path, address: str, *, seed: int, resume: bool = False, **of: Any) -> Any:
    shared = SharedStudy.at(address, lease_seconds=_LEASE)
    return opened(folder, identity(seed=seed) | of, SPACE.distributions(), resume=resume, shared=shared)


def _results(trials: Any) -> Any:
    return [(trial.index, trial.params, trial.costs) for trial in trials]


@pytest.mark.parametrize("kind", [*DATABASES, PROXY])
def test_shared_trials_are_those_of_a_folder_and_go_on_from_another_one(
    tmp_path: Path, kind: str, request: pytest.FixtureRequest
) -> None:
    address, seed = request.getfixturevalue(kind), {"database": 7, "proxy": 8, "mysql": 7}[kind]
    first = _search(tmp_path / "a", address, seed=seed, trials=6)
    with pytest.raises(SearchError, match="holds this search already"):
        _search(tmp_path / "b", address, seed=seed, trials=12)
    both = _search(tmp_path / "b", address, seed=seed, trials=12, resume=True)
    assert _results(both[:6]) == _results(first)
    alone = searched(tmp_path / "alone", trials=12) if seed == 7 else _alone(tmp_path / "alone", seed)
    assert _results(both) == _results(alone)
    written = "".join(path.read_text(errors="replace") for path in (tmp_path / "a").iterdir() if path.is_file())
    assert not any(password in written for password in PASSWORDS) and "127.0.0.1:" in written


def _alone(folder: Path, seed: int) -> Any:
    with opened(folder, identity(seed=seed), SPACE.distributions(), resume=False) as journal:
        return drive(journal, sampling(seed=seed), InProcess(evaluate), Limits(trials=12))


@pytest.mark.parametrize("kind", DATABASES)
def test_second_driver_is_refused_and_a_dead_one_is_followed(
    tmp_path: Path, kind: str, request: pytest.FixtureRequest
) -> None:
    """The first is another process, which is killed while it does a trial."""
    database = request.getfixturevalue(kind)
    driver = subprocess.Popen(
        [sys.executable, "-m", "tests.fixtures.search_on_storage", str(tmp_path / "a"), database, "9"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert driver.stdout is not None and driver.stdout.readline().strip() == "trial 3"
    with pytest.raises(SearchError, match=f"another process: {driver.pid} on"):
        _search(tmp_path / "b", database, seed=9, trials=8, resume=True)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    followed = _search(tmp_path / "b", database, seed=9, trials=8, resume=True)
    assert _results(followed) == _results(_alone(tmp_path / "alone", 9))[:8] and len(followed) == 8
    assert _results(followed) == _results(_search(tmp_path / "c", database, seed=9, trials=8, resume=True))


@pytest.mark.postgresql
def test_driver_that_slept_finds_that_it_was_followed_and_writes_nothing(tmp_path: Path, database: str) -> None:
    """It is stopped as a suspended machine is, for longer than its lease, then goes on."""
    driver = subprocess.Popen(
        [sys.executable, "-m", "tests.fixtures.search_on_storage", str(tmp_path / "a"), database, "10", "elsewhere"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert driver.stdout is not None and driver.stdout.readline().strip() == "trial 3"
    os.kill(driver.pid, signal.SIGSTOP)
    try:
        started = time.monotonic()
        followed = _search(tmp_path / "b", database, seed=10, trials=8, resume=True)
        assert time.monotonic() - started >= _LEASE
    finally:
        os.kill(driver.pid, signal.SIGCONT)
    _, errors = driver.communicate(timeout=30)
    assert driver.returncode != 0 and "another process has taken this search over" in errors
    assert _results(_search(tmp_path / "c", database, seed=10, trials=8, resume=True)) == _results(followed)


@pytest.mark.postgresql
def test_of_two_that_follow_at_the_same_time_one_goes_on(tmp_path: Path, database: str) -> None:
    _search(tmp_path / "first", database, seed=11, trials=1)
    outcomes: list[str] = []

    def follow(name: str) -> None:
        def slowly(task: Any) -> Any:
            time.sleep(1.0)
            return evaluate(task)

        try:
            _search(tmp_path / name, database, seed=11, trials=2, resume=True, evaluate=slowly)
            outcomes.append("searched")
        except SearchError as error:
            outcomes.append(error.message)

    both = [threading.Thread(target=follow, args=(name,)) for name in ("a", "b")]
    for one in both:
        one.start()
    for one in both:
        one.join()
    assert sorted(outcome.partition(":")[0] for outcome in outcomes) == [
        "searched",
        "this search is being done by another process",
    ]


@pytest.mark.postgresql
def test_search_by_another_measure_is_another_one_and_that_of_an_older_edgefm_goes_on(
    tmp_path: Path, database: str
) -> None:
    _search(tmp_path / "a", database, seed=14, trials=1, quality="accuracy")
    with pytest.raises(SearchError, match="holds no trials of this search"):
        _search(tmp_path / "b", database, seed=14, trials=2, resume=True, quality="auc")
    assert len(_search(tmp_path / "b", database, seed=14, trials=2, resume=True, quality="accuracy")) == 2
    older = _search(tmp_path / "old", database, seed=15, trials=3)  # its name says nothing of the quality
    for name in ("old", "elsewhere"):
        assert len(_search(tmp_path / name, database, seed=15, trials=3, resume=True, quality="accuracy")) == len(older)


@pytest.mark.postgresql
def test_folder_whose_search_has_no_trial_yet_takes_another_one(tmp_path: Path, database: str) -> None:
    with _opened(tmp_path / "a", database, seed=16):
        pass  # as where nothing can meet its budgets
    assert len(_search(tmp_path / "a", database, seed=17, trials=1)) == 1
    assert json.loads((tmp_path / "a" / "search.json").read_text())["seed"] == 17
    with pytest.raises(SearchError, match=r"differs in seed \(17, now 16\)"):
        _search(tmp_path / "a", database, seed=16, trials=1)
    assert len(_search(tmp_path / "b", database, seed=16, trials=1)) == 1, "it was not begun before"


@pytest.mark.postgresql
def test_connections_are_closed_with_the_search(tmp_path: Path, database: str) -> None:
    import psycopg

    def connections() -> int:
        with psycopg.connect(database) as asked:
            query = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
            (row,) = asked.execute(query).fetchall()
            return int(row[0])

    gc.collect()
    gc.disable()  # it would close them at some time
    try:
        before = connections()
        with _opened(tmp_path / "a", database, seed=21):
            pass
        assert not SharedStudy.at(database).may_have_trials(tmp_path / "a")
        until = time.monotonic() + 5
        while connections() > before and time.monotonic() < until:
            time.sleep(0.1)
        assert connections() <= before
    finally:
        gc.enable()


@pytest.mark.postgresql
def test_driver_that_was_killed_before_it_wrote_what_is_searched_is_followed(tmp_path: Path, database: str) -> None:
    first = _search(tmp_path / "a", database, seed=18, trials=1)
    (tmp_path / "a" / "search.json").unlink()
    assert _results(_search(tmp_path / "a", database, seed=18, trials=1, resume=True)) == _results(first)
    assert json.loads((tmp_path / "a" / "search.json").read_text())["seed"] == 18


@pytest.mark.postgresql
def test_another_processor_goes_on_with_the_cost_model_of_the_first_one_alone(
    tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_study, "cpu_model", lambda: "CPU A")
    with _opened(tmp_path / "a", database, seed=19):
        pass
    monkeypatch.setattr(shared_study, "cpu_model", lambda: "CPU B")
    _search(tmp_path / "b", database, seed=19, trials=1, resume=True)  # it had no trial yet
    _search(tmp_path / "elsewhere", database, seed=19, trials=2, resume=True)
    monkeypatch.setattr(shared_study, "cpu_model", lambda: "CPU A")
    with pytest.raises(SearchError, match=r"is of another processor: CPU B \(.*\); this one is CPU A \("):
        _search(tmp_path / "c", database, seed=19, trials=3, resume=True)
    shutil.copytree(tmp_path / "b", tmp_path / "copied")
    (tmp_path / "copied" / "cost-model.json").touch()
    assert len(_search(tmp_path / "copied", database, seed=19, trials=3, resume=True)) == 3


@pytest.mark.postgresql
def test_another_optuna_does_not_go_on_with_a_search(tmp_path: Path, database: str) -> None:
    first = _search(tmp_path / "a", database, seed=20, trials=1, optuna="4.0")
    with pytest.raises(SearchError, match=r"was begun with Optuna 4\.0; here is 5\.0, which may try other points"):
        _search(tmp_path / "b", database, seed=20, trials=2, resume=True, optuna="5.0")
    assert _results(_search(tmp_path / "c", database, seed=20, trials=2, resume=True, optuna="4.0")[:1]) == _results(
        first
    )


@pytest.mark.postgresql
def test_versions_that_a_search_was_begun_with_are_known_to_another_folder(tmp_path: Path, database: str) -> None:
    _search(tmp_path / "a", database, seed=21, trials=1, versions={"keras": "3.0"})
    with _opened(tmp_path / "b", database, seed=21, resume=True, versions={"keras": "4.0"}) as journal:
        assert journal.versions == {"keras": "3.0"} and len(journal.trials()) == 1
    assert json.loads((tmp_path / "b" / "search.json").read_text())["versions"] == {"keras": "3.0"}


@pytest.mark.postgresql
def test_tables_of_another_optuna_are_said(tmp_path: Path, database: str) -> None:
    engine, address = _new_database(database, "older")
    from optuna.storages import RDBStorage

    RDBStorage(address.replace("postgresql", "postgresql+psycopg", 1)).engine.dispose()
    with engine.begin() as connection:
        connection.exec_driver_sql("update alembic_version set version_num = 'v3.0.0.d'")
    with pytest.raises(SearchError, match="/older holds tables of another version of Optuna") as refused:
        _search(tmp_path / "a", address, seed=21, trials=1)
    assert "optuna storage upgrade" in str(refused.value.hint)
    with pytest.raises(SearchError, match="another version of Optuna"):
        SharedStudy.at(address).may_have_trials(tmp_path)


@pytest.mark.postgresql
def test_storage_that_goes_while_a_driver_waits_for_another_is_said(tmp_path: Path, database: str) -> None:
    """The first driver gave no sign of an end; the server lets nobody in any more."""
    engine, address = _new_database(database, "closed")
    _search(tmp_path / "a", address, seed=22, trials=1)
    with engine.begin() as connection:
        connection.exec_driver_sql("delete from study_user_attributes where key in ('ended', 'driver')")

    def close() -> None:
        time.sleep(0.7)
        with _engine(database).connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("alter database closed allow_connections false")
            connection.exec_driver_sql(
                "select pg_terminate_backend(pid) from pg_stat_activity where datname = 'closed'"
            )

    closing = threading.Thread(target=close)
    closing.start()
    with pytest.raises(SearchError, match=r"/closed cannot be reached: .*not currently accepting connections"):
        _search(tmp_path / "b", address, seed=22, trials=2, resume=True)
    closing.join()


def _engine(address: str) -> Any:
    import sqlalchemy

    return sqlalchemy.create_engine(
        address.replace("postgresql", "postgresql+psycopg", 1), poolclass=sqlalchemy.pool.NullPool
    )


def _new_database(database: str, name: str) -> tuple[Any, str]:
    """Make a database, and return an engine for it, and its address."""
    with _engine(database).connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql(f"create database {name}")
    address = database.replace("/postgres", f"/{name}")
    return _engine(address), address


@pytest.mark.postgresql
def test_trials_elsewhere_are_named_and_passwords_never(tmp_path: Path, database: str) -> None:
    _search(tmp_path / "a", database, seed=12, trials=1)
    with pytest.raises(SearchError, match="are not in it but in postgresql://"):
        _alone_again(tmp_path / "a", 12)
    other = database.replace("/postgres", "/template1")
    with pytest.raises(SearchError, match=r"are in postgresql://\S+/postgres, not in postgresql://\S+/template1"):
        _search(tmp_path / "a", other, seed=12, trials=1, resume=True)


@pytest.mark.parametrize("kind", DATABASES)
def test_storage_that_does_not_let_in_or_is_not_there_is_said_without_its_password(
    tmp_path: Path, kind: str, request: pytest.FixtureRequest
) -> None:
    address = request.getfixturevalue(kind)
    scheme, password = {"database": ("postgresql", PASSWORDS[0]), "mysql": ("mysql", PASSWORDS[1])}[kind]
    with pytest.raises(SearchError, match=r"cannot be reached: .*(password authentication|Access denied)") as refused:
        _search(tmp_path / "new", address.replace(password, f"wrong-{password}"), seed=12, trials=1)
    assert password not in str(refused.value)
    with pytest.raises(SearchError, match=rf"{scheme}://127\.0\.0\.1:9/none cannot be reached: .*refused") as absent:
        _search(tmp_path / "new", f"{scheme}://me:secret@127.0.0.1:9/none", seed=12, trials=1)
    assert "secret" not in str(absent.value)


@pytest.mark.mysql
def test_password_of_mysql_may_stand_in_a_file(tmp_path: Path, mysql: str) -> None:
    options = tmp_path / "my.cnf"
    options.write_text(f"[client]\nuser=edgefm\npassword={mariadb.PASSWORD}\n")
    host = mysql.partition("@")[2]
    assert len(_search(tmp_path / "a", f"mysql://{host}?read_default_file={options}", seed=13, trials=1)) == 1


def _alone_again(folder: Path, seed: int) -> None:
    with opened(folder, identity(seed=seed), SPACE.distributions(), resume=True):
        pass


@pytest.mark.parametrize(
    "address", ["sqlite:///a.db", "postgresql://me:secret@host", "grpc://host", "grpc://host:secret", "secret"]
)
def test_address_of_another_form_is_refused_unseen(address: str) -> None:
    with pytest.raises(RecipeError, match="has not the form") as refused:
        SharedStudy.at(address)
    assert "secret" not in str(refused.value)
