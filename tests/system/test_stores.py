"""S3 where its users differ: roles that are assumed, by keys or by a token; objects that the server encrypts; a server whose certificate is of an authority of its own."""

import base64
import datetime
import re
import time

import pytest

from nunatak_testing.server import Cluster, in_mode, section
from servers.issuer import Issuer
from servers.minio import Minio
from servers.proxy import Proxy


# Of a role of AWS. MinIO takes any: what somebody may do with the credentials is what whoever has asked for them may do.
ROLE = "arn:aws:iam::123456789012:role/etl"
LASTS_SECONDS = 5
ENCRYPTED = {
    "own_key": {"s3.sse.type": "custom", "s3.sse.key": base64.b64encode(bytes(32)).decode(), "s3.checksum": "sha256"},
    "kms": {"s3.sse.type": "kms", "s3.sse.key": Minio.kms_key},
    "of_server": {"s3.sse.type": "s3"},
}
# What MinIO writes down beside an object.
MARKS = {"own_key": b"Server-Side-Encryption-Sealed-Key", "kms": b"Server-Side-Encryption-Kms-Sealed-Key", "of_server": b"Server-Side-Encryption-S3-Sealed-Key"}


def hadoop(name, settings):
    return section(name, {"type": "hadoop", "warehouse": f"s3://lake/{name}", **settings})


def soon(answer):
    """The same credentials, that are said to be good for a few seconds."""
    until = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=LASTS_SECONDS)
    return re.sub(rb"<Expiration>[^<]*", b"<Expiration>" + until.strftime("%Y-%m-%dT%H:%M:%SZ").encode(), answer)


@pytest.fixture(scope="module")
def issuer(tmp_path_factory):
    with Issuer(tmp_path_factory.mktemp("issuer")) as issuer:
        yield issuer


@pytest.fixture(scope="module")
def secure(tmp_path_factory, issuer):
    with Minio(tmp_path_factory.mktemp("secure"), "lake", secure=True, issuer=issuer) as secure:
        yield secure


@pytest.fixture(scope="module")
def watched(minio):
    """Before the server whose roles are assumed: sees what is asked of it."""
    with Proxy(minio.address) as watched:
        watched.seen = []
        watched.change = soon
        yield watched


@pytest.fixture(scope="module")
def cluster(tmp_path_factory, issuer, minio, secure, watched):
    folder = tmp_path_factory.mktemp("cluster")
    role = minio.settings | {
        "s3.endpoint": f"http://{watched.address}",
        "client.assume-role.arn": ROLE,
        "client.assume-role.region": "us-east-1",
        "client.assume-role.external-id": "ours",
        "client.assume-role.session-name": "nunatak-of-a-test",
        "client.assume-role.timeout-sec": "900",
        "s3.retry.timeout-ms": "500",
    }
    trusting = {name: value for name, value in secure.settings.items() if "access-key" not in name} | {"s3.ca-certificate": str(secure.authority)}
    with_keys = secure.settings | {"s3.ca-certificate": str(secure.authority)}
    token = lambda name: {"client.assume-role.arn": secure.role, "client.assume-role.web-identity-token-file": str(folder / name)}
    (folder / "token").write_text(issuer.token(secure.audience) + "\n")
    (folder / "old_token").write_text(issuer.token(secure.audience, seconds=-60))
    config = folder / "nunatak.toml"
    config.write_text(
        hadoop("role", role)
        + hadoop("no_role", role | {"s3.secret-access-key": "wrong"})
        + hadoop("no_sts", role | {"client.assume-role.endpoint": "http://127.0.0.1:9"})
        + hadoop("by_token", trusting | token("token"))
        + hadoop("old_token", trusting | token("old_token"))
        + hadoop("no_token", trusting | token("nowhere"))
        + "".join(hadoop(name, with_keys | settings) for name, settings in ENCRYPTED.items())
        + section("other_key", {"type": "hadoop", "warehouse": "s3://lake/own_key", **with_keys, **ENCRYPTED["own_key"], "s3.sse.key": base64.b64encode(bytes(range(32))).decode()})
        + hadoop("plain", with_keys | {"s3.unsigned-payload": "true"})
        + hadoop("untrusted", secure.settings | {"s3.retry.timeout-ms": "500"})
    )
    with Cluster(folder, "--config", config, executors=1, slots=1) as cluster:
        yield cluster


def write_and_read(cluster, catalog):
    cluster.rows(f"CREATE SCHEMA {catalog}.s")
    cluster.rows(f"CREATE TABLE {catalog}.s.t AS SELECT n, 'text of row ' || n AS text FROM (SELECT unnest(range(0, 1000)) AS n)")
    for mode in ("local", "fault_tolerant"):
        cluster.rows(f"INSERT INTO {catalog}.s.t SELECT n + 1000, text FROM {catalog}.s.t WHERE n < 10", headers=in_mode(mode))
        assert cluster.value(f"SELECT count(DISTINCT text) FROM {catalog}.s.t", headers=in_mode(mode)) == 1000


def test_a_role_is_assumed_by_keys(cluster, minio, watched):
    """Each process asks once, and again before the credentials run out; the keys are used for nothing else."""
    asked = lambda: b"".join(watched.seen).count(b"Action=AssumeRole&")
    write_and_read(cluster, "role")
    first = asked()
    assert first >= 2, "the executor has not asked"
    time.sleep(LASTS_SECONDS)
    assert cluster.value("SELECT count(*) FROM role.s.t") == 1020
    assert asked() > first
    seen = b"".join(watched.seen)
    assert b"RoleArn=arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2Fetl" in seen and b"ExternalId=ours" in seen and b"DurationSeconds=900" in seen
    users = {(key.decode(), service.decode()) for key, service in re.findall(rb"Credential=([^/]+)/\d+/us-east-1/(\w+)/aws4_request", seen)}
    assert {service for key, service in users if key == minio.user} == {"sts"}
    assert {service for key, service in users if key != minio.user} == {"s3"}
    for process in cluster.everybody():
        assert minio.password not in process.text() and "SessionToken" not in process.text()


def test_a_role_is_assumed_by_a_token(cluster):
    write_and_read(cluster, "by_token")


@pytest.mark.parametrize("catalog", ENCRYPTED)
def test_objects_are_encrypted(cluster, secure, catalog):
    """What is on the server's disk is no Parquet file, and is marked as what it was encrypted with."""
    write_and_read(cluster, catalog)
    on_disk = lambda name: b"".join(path.read_bytes() for path in (secure.folder / "data/lake" / name).rglob("*") if path.is_file())
    assert b"PAR1" not in on_disk(catalog) and b"text of row" not in on_disk(catalog) and MARKS[catalog] in on_disk(catalog)


def test_objects_without_encryption(cluster, secure):
    write_and_read(cluster, "plain")
    on_disk = b"".join(path.read_bytes() for path in (secure.folder / "data/lake/plain").rglob("*") if path.is_file())
    assert b"PAR1" in on_disk and not any(mark in on_disk for mark in MARKS.values())


@pytest.mark.parametrize(
    ("catalog", "code", "messages"),
    [
        ("no_role", "STORAGE_ACCESS_DENIED", [f"role '{ROLE}' cannot be assumed: STS at 'http://127.0.0.1:", "refuses it: AccessDenied: The request signature"]),
        ("no_sts", "STORAGE_UNAVAILABLE", [f"role '{ROLE}' cannot be assumed: STS at 'http://127.0.0.1:9' cannot be reached"]),
        ("old_token", "STORAGE_ACCESS_DENIED", ["cannot be assumed: STS at 'https://127.0.0.1:", "Token is expired"]),
        ("no_token", "STORAGE_ACCESS_DENIED", ["cannot be assumed: its token", "cannot be read"]),
        ("untrusted", "STORAGE_UNAVAILABLE", ["storage of 's3://lake/untrusted/s", "request: "]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_who_is_not_let_in(cluster, failure, catalog, code, messages):
    for sql in (f"CREATE SCHEMA {catalog}.s", f"SELECT * FROM {catalog}.s.t"):
        text = failure(cluster, sql)
        assert code in text and all(message in text for message in messages), text
    assert cluster.value("SELECT 1") == 1


def test_objects_with_another_key(cluster, failure):
    """Who has another key reads nothing of it."""
    cluster.rows("CREATE SCHEMA IF NOT EXISTS own_key.other")
    cluster.rows("CREATE TABLE own_key.other.t AS SELECT 1 AS a")
    text = failure(cluster, "SELECT * FROM other_key.other.t")
    assert "STORAGE_ACCESS_DENIED" in text and "s3://lake/own_key/other/t" in text, text
