"""The store of a search behind s3://, on moto's S3 server; what it holds is looked at with boto3.

Left out where s3fs or moto is not installed: `pip install s3fs 'moto[s3,server]'`.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edgefm.core import artefacts
from edgefm.searching.executors.passes import Passes
from edgefm.searching.executors.store import Store, StoreError

pytest.importorskip("s3fs")
pytest.importorskip("moto.server")

ROOT = Path(__file__).parents[2]
BUCKET = "searches"
ADDRESS = f"s3://{BUCKET}/one"
# More than s3fs sends in one request: the object comes in parts.
_LARGE = 105 << 20
_WRITER = """
import sys
from edgefm.searching.executors.store import Store
Store(sys.argv[1]).put(b"x" * int(sys.argv[2]))
"""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    yield f"http://{host}:{port}"
    moto.stop()


@pytest.fixture
def s3(server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A client of an empty server with one bucket, which new stores reach, too."""
    import boto3
    import s3fs

    urllib.request.urlopen(urllib.request.Request(f"{server}/moto-api/reset", method="POST")).close()
    for name, value in {
        "AWS_ENDPOINT_URL": server,
        "AWS_ACCESS_KEY_ID": "edgefm",
        "AWS_SECRET_ACCESS_KEY": "swordfish-9",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    client = boto3.client("s3")
    client.create_bucket(Bucket=BUCKET)
    yield client
    s3fs.S3FileSystem.clear_instance_cache()


def _key(sha256: str) -> str:
    return f"one/sha256/{sha256[:2]}/{sha256}"


def _content(s3: Any, key: str) -> bytes:
    return bytes(s3.get_object(Bucket=BUCKET, Key=key)["Body"].read())


def test_what_is_put_lies_in_the_bucket_and_is_made_again_when_damaged(s3: Any) -> None:
    sha256 = Store(ADDRESS).put(b"model")
    assert [one["Key"] for one in s3.list_objects_v2(Bucket=BUCKET)["Contents"]] == [_key(sha256)]
    assert _content(s3, _key(sha256)) == Store(ADDRESS).get(sha256) == b"model"
    s3.put_object(Bucket=BUCKET, Key=_key(sha256), Body=b"mod")
    with pytest.raises(StoreError, match=f"s3://searches/one/sha256/../{sha256} is damaged"):
        Store(ADDRESS).get(sha256)
    Store(ADDRESS).put(b"model")
    assert _content(s3, _key(sha256)) == Store(ADDRESS).get(sha256) == b"model"
    with pytest.raises(StoreError, match="s3://searches/one holds no 0000"):
        Store(ADDRESS).get("0" * 64)


def test_bucket_itself_may_be_the_store(s3: Any) -> None:
    assert Store(f"s3://{BUCKET}").get(Store(f"s3://{BUCKET}").put(b"model")) == b"model"


def test_pass_is_done_by_one_of_two_that_want_it_at_the_same_time(s3: Any, tmp_path: Path) -> None:
    done: list[str] = []

    def worker(name: str) -> None:
        folder = tmp_path / name / "slim-0123"
        with Passes(Store(ADDRESS)).shelf(folder):
            if not folder.exists():
                done.append(name)
                time.sleep(1.0)
                artefacts.write_bytes(folder / "model.keras", b"weights")

    workers = [threading.Thread(target=worker, args=(name,)) for name in "ab"]
    for one in workers:
        one.start()
    for one in workers:
        one.join()
    assert len(done) == 1
    assert [(tmp_path / name / "slim-0123" / "model.keras").read_bytes() for name in "ab"] == [b"weights"] * 2
    left = [one["Key"] for one in s3.list_objects_v2(Bucket=BUCKET, Prefix="one/passes/")["Contents"]]
    assert left == ["one/passes/slim-0123.json"]


def test_reader_beside_writers_of_the_same_sees_all_of_it_or_nothing(s3: Any) -> None:
    content = os.urandom(8 << 20)
    sha256, ended, seen = artefacts.sha256_bytes(content), threading.Event(), set[str]()

    def read() -> None:
        while not ended.is_set():
            try:
                seen.add("whole" if Store(ADDRESS).get(sha256) == content else "other")
            except StoreError as error:
                seen.add("none" if "holds no" in error.message else "error")

    reader = threading.Thread(target=read)
    writers = [threading.Thread(target=lambda: Store(ADDRESS).files.write(f"sha256/{sha256[:2]}/{sha256}", content))]
    writers += [threading.Thread(target=lambda: Store(ADDRESS).put(content)) for _ in range(3)]
    reader.start()
    for one in writers:
        one.start()
    for one in writers:
        one.join()
    ended.set()
    reader.join()
    # moto gives an error to who reads an object while another replaces it.
    assert "whole" in seen and "other" not in seen and Store(ADDRESS).get(sha256) == content


def test_writer_that_is_killed_midway_leaves_nothing_that_a_reader_takes(s3: Any) -> None:
    """It is killed when the server has some of the parts, as boto3 tells."""
    content = b"x" * _LARGE
    sha256 = artefacts.sha256_bytes(content)
    writer = subprocess.Popen([sys.executable, "-c", _WRITER, ADDRESS, str(_LARGE)], cwd=ROOT)
    try:
        until, parts = time.monotonic() + 60, 0
        while not parts and time.monotonic() < until and writer.poll() is None:
            uploads = s3.list_multipart_uploads(Bucket=BUCKET).get("Uploads", [])
            known = [s3.list_parts(Bucket=BUCKET, Key=one["Key"], UploadId=one["UploadId"]) for one in uploads]
            parts = sum(len(one.get("Parts", [])) for one in known)
            time.sleep(0.005)
    finally:
        writer.kill()
        writer.wait()
    assert parts and "Contents" not in s3.list_objects_v2(Bucket=BUCKET)
    with pytest.raises(StoreError, match="holds no"):
        Store(ADDRESS).get(sha256)
    assert Store(ADDRESS).get(Store(ADDRESS).put(content)) == content


def test_missing_bucket_is_said_and_not_made(s3: Any) -> None:
    with pytest.raises(StoreError, match="s3://serches/one cannot be used: FileNotFoundError") as missing:
        Store("s3://serches/one").put(b"model")
    assert missing.value.hint is not None and "may write there" in missing.value.hint
    with pytest.raises(StoreError, match="s3://serches cannot be used"):
        Store("s3://serches").put(b"model")
    assert [one["Name"] for one in s3.list_buckets()["Buckets"]] == [BUCKET]


def test_wrong_credentials_are_said_without_the_key(s3: Any, server: str) -> None:
    _refuse_after(server, "0")
    try:
        with pytest.raises(StoreError, match="s3://searches/one cannot be used: PermissionError") as refused:
            Store(ADDRESS).put(b"model")
    finally:
        _refuse_after(server, "1000000")
    assert "swordfish-9" not in str(refused.value)


def test_no_credentials_and_no_network_are_said(s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import s3fs

    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(StoreError, match=r"s3://searches/one cannot be used: .*[Cc]onnect"):
        Store(ADDRESS).put(b"model")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(StoreError, match=r"s3://searches/one cannot be used: .*credentials"):
        Store(ADDRESS).put(b"model")


def _refuse_after(server: str, actions: str) -> None:
    """Let moto check who asks after so many more requests."""
    content = {"Content-Type": "application/octet-stream"}
    asked = urllib.request.Request(f"{server}/moto-api/reset-auth", data=actions.encode(), headers=content)
    urllib.request.urlopen(asked).close()
