"""The trials of a search in a database (PostgreSQL, MySQL), or behind Optuna's gRPC proxy in front of one.

The folder of the search keeps where its trials are (`storage.json`), never the user or the password. The study is named
by what is searched, so that the same search is the same study from every machine, and another one never is.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

from edgefm.core import artefacts
from edgefm.core.documents import read_json
from edgefm.core.environment import cpu_features, cpu_model
from edgefm.core.errors import RecipeError, missing_extra
from edgefm.searching.journal import STORAGE_FILE, SearchError
from edgefm.searching.on_targets.prediction import COST_MODEL_FILE
from edgefm.searching.sampling import optuna_here, quiet
from edgefm.searching.storage import lease
from edgefm.searching.trials import OBJECTIVES

GRPC = "grpc"
# Scheme of the address -> what SQLAlchemy calls it with its driver, the driver's module.
DATABASES = {"postgresql": ("postgresql+psycopg", "psycopg"), "mysql": ("mysql+pymysql", "pymysql")}
_PORTS = {"postgresql": 5432, "mysql": 3306}
_FORMS = "postgresql://USER@HOST/DATABASE, mysql://USER@HOST/DATABASE or grpc://HOST:PORT"
# What the names of studies of an older edgefm do not tell apart.
_LATER = ("quality", "head", "value_range")
# A connection that says nothing for so long is given up.
_CONNECT_SECONDS = 10


@dataclass(frozen=True, kw_only=True)
class SharedStudy:
    """Where the trials of searches are kept beside their folders.

    Attributes:
      address: with user and password; not shown.
      place: the same without them.
      lease_seconds: without a sign of life after which a driver counts as gone.
    """

    address: str = field(repr=False)
    place: str
    lease_seconds: float = lease.SECONDS

    @classmethod
    def at(cls, address: str, *, lease_seconds: float = lease.SECONDS) -> SharedStudy:
        """Return the storage of an address.

        >>> SharedStudy.at("postgresql://me:secret@db.lab/searches")
        SharedStudy(place='postgresql://db.lab:5432/searches', lease_seconds=30.0)

        Raises:
          RecipeError: the address has another form; it is not repeated, for it may hold a password.
        """
        parts = _parts(address)
        port = parts.port or _PORTS.get(parts.scheme)
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        return cls(
            address=address,
            place=f"{parts.scheme}://{host or ''}{f':{port}' if port else ''}{parts.path}",
            lease_seconds=lease_seconds,
        )

    @contextmanager
    def study(self, folder: Path, identity: Mapping[str, Any], *, resume: bool) -> Iterator[tuple[Any, lease.Lease]]:
        """Give the study of a search, and the right to write it.

        Args:
          folder: of the search, which this process holds.
          identity: what is searched.
          resume: go on with the search.
        Raises:
          SearchError: the storage cannot be reached, another driver writes there, the folder's trials are elsewhere,
            or the search was begun there and `resume` does not ask for it, or was not and it does; or the p50 of its
            trials is that of another processor, and the folder does not hold the cost model that predicted it; or it
            was begun with another version of Optuna.
          RuntimeUnavailableError: what reaches the storage is not installed.
        """
        optuna = optuna_here()
        name = _named(identity)
        self._check(folder)
        with ExitStack() as stack:
            with quiet(), self._told():
                storage = stack.enter_context(self._storage())
                studies = {study.study_name for study in storage.get_all_studies()}
                if resume and name not in studies:
                    name = _named(identity, without=_LATER)
                begun = name in studies and bool(storage.get_n_trials(storage.get_study_id_from_name(name)))
            if begun and not resume:
                raise SearchError(
                    f"{self.place} holds this search already", hint="Go on with it by resume, or give another storage."
                )
            if resume and name not in studies:
                raise SearchError(
                    f"{self.place} holds no trials of this search",
                    hint="Give the storage that it was begun with, or leave resume out to begin one.",
                )
            with self._told(), lease.held(storage, name, seconds=self.lease_seconds) as held:
                with quiet():
                    study = optuna.create_study(
                        study_name=name,
                        storage=storage,
                        directions=["minimize"] * len(OBJECTIVES),
                        load_if_exists=True,
                    )
                    if "lag" not in study.user_attrs:
                        study.set_user_attr("lag", identity["lag"])
                    if not begun:
                        study.set_user_attr("cpu", _cpu())
                        for told in ("optuna", "versions"):
                            study.set_user_attr(told, identity.get(told))
                    there = study.user_attrs
                self._check_optuna(there.get("optuna"), identity.get("optuna"))
                self._check_processor(there.get("cpu", _cpu()), folder)
                artefacts.write_json(folder / STORAGE_FILE, {"place": self.place, "study": name})
                yield study, held

    def may_have_trials(self, folder: Path) -> bool:
        """Return whether the study that a folder's storage.json names has trials; True where the study is gone.

        Args:
          folder: of a search, with a storage.json.
        Raises:
          SearchError: the storage cannot be reached, or the folder's trials are in another one.
        """
        self._check(folder)
        name = _kept(folder).get("study")
        with quiet(), self._told(), self._storage() as storage:
            try:
                return bool(storage.get_n_trials(storage.get_study_id_from_name(name)))
            except KeyError:
                return True

    def _check(self, folder: Path) -> None:
        known = _kept(folder).get("place")
        if known is not None and known != self.place:
            raise SearchError(
                f"the trials of {folder} are in {known}, not in {self.place}",
                hint="Give the storage it was begun with.",
            )

    def _check_optuna(self, there: str | None, here: str | None) -> None:
        if None not in (there, here) and there != here:
            raise SearchError(
                f"the search in {self.place} was begun with Optuna {there}; here is {here}, which may try other points",
                hint="Install that version to go on with it.",
            )

    def _check_processor(self, there: str, folder: Path) -> None:
        if there != _cpu() and not (folder / COST_MODEL_FILE).exists():
            raise SearchError(
                f"the p50 of the trials in {self.place} is of another processor: {there}; this one is {_cpu()}",
                hint=f"Copy the search's folder with its {COST_MODEL_FILE} here and give it, or go on elsewhere.",
            )

    @contextmanager
    def _storage(self) -> Iterator[Any]:
        """Give Optuna's storage; its connections are closed at the end."""
        parts = _parts(self.address)
        if parts.scheme == GRPC:
            with closing(_proxy(parts)) as proxy:
                yield proxy
            return
        dialect, module = DATABASES[parts.scheme]
        if importlib.util.find_spec(module) is None:
            raise missing_extra(module, "cluster")
        from optuna.storages import RDBStorage

        try:
            storage = RDBStorage(
                dialect + self.address.removeprefix(parts.scheme),
                engine_kwargs={"pool_pre_ping": True, "connect_args": {"connect_timeout": _CONNECT_SECONDS}},
            )
        except RuntimeError as error:  # so Optuna says that its tables are of another version, and nothing else
            raise SearchError(
                f"{self.place} holds tables of another version of Optuna than here, {optuna_here().__version__}",
                hint="Install the same version on all machines; or bring older tables up to this one with "
                "`optuna storage upgrade --storage URL`, while no search uses them.",
            ) from error
        try:
            yield storage
        finally:
            storage.remove_session()
            storage.engine.dispose()

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Turn what Optuna's storages raise within the block into an error without the address."""
        from optuna.exceptions import StorageInternalError

        failures: tuple[type[Exception], ...] = (StorageInternalError,)
        if importlib.util.find_spec("sqlalchemy") is not None:
            from sqlalchemy.exc import SQLAlchemyError

            failures = (*failures, SQLAlchemyError)
        if importlib.util.find_spec("grpc") is not None:
            from grpc import FutureTimeoutError, RpcError

            failures = (*failures, RpcError, FutureTimeoutError)
        try:
            yield
        except failures as error:
            raise SearchError(
                f"the storage {self.place} cannot be reached: {self._reason(error)}",
                hint="Check that it runs and lets you in. Go on by resume: nothing that had ended is lost.",
            ) from None

    def _reason(self, error: Exception) -> str:
        """Return the cause in a line without the password."""
        cause: BaseException = error
        while (below := getattr(cause, "orig", None) or cause.__cause__) is not None:
            cause = below
        details = getattr(cause, "details", None)
        # PyMySQL's have a number before the text.
        text = str(details()) if callable(details) else str(cause.args[-1] if cause.args else cause)
        line = (text.strip().splitlines() or [type(cause).__name__])[0]
        password = _parts(self.address).password
        return line.replace(password, "***") if password else line


def _kept(folder: Path) -> dict[str, Any]:
    """Return what storage.json says; {} where the trials are in the folder itself."""
    path = folder / STORAGE_FILE
    if not path.exists():
        return {}
    about = read_json(path, what="place of a search's trials", error=SearchError, hint="Give another folder.")
    return about if isinstance(about, dict) else {}


def _cpu() -> str:
    return f"{cpu_model()} ({', '.join(cpu_features())})"


def _named(identity: Mapping[str, Any], *, without: Sequence[str] = ()) -> str:
    # Those of who began it are kept in the study.
    known = {key: value for key, value in identity.items() if key not in ("lag", "optuna", "versions", *without)}
    return f"edgefm-{artefacts.sha256_json(known)[:32]}"


def _parts(address: str) -> SplitResult:
    parts = urlsplit(address)
    try:
        port = parts.port
    except ValueError:
        port = -1
    known = (GRPC, *DATABASES)
    complete = bool(parts.hostname and port) if parts.scheme == GRPC else len(parts.path) > 1
    if parts.scheme not in known or not complete or port == -1:
        raise RecipeError(
            f"the storage's address has not the form {_FORMS}",
            hint="What was given is not shown: it may hold a password. One in ~/.pgpass need not stand in it.",
        )
    return parts


def _proxy(parts: SplitResult) -> Any:
    """Return a client of Optuna's gRPC proxy that answers."""
    import warnings

    if importlib.util.find_spec("grpc") is None:
        raise missing_extra("grpcio", "cluster")
    import grpc
    from optuna.storages import GrpcStorageProxy

    assert parts.hostname is not None and parts.port is not None, "an address of gRPC has both"
    with grpc.insecure_channel(f"{parts.hostname}:{parts.port}") as channel:
        grpc.channel_ready_future(channel).result(timeout=_CONNECT_SECONDS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Optuna calls it experimental
        return GrpcStorageProxy(host=parts.hostname, port=parts.port)
