"""Stores that refuse, that answer with nonsense, that overwrite what is to be made once, and places that are somebody else's."""

import hashlib
import os
import re
import subprocess
import time
import urllib.parse

import pyarrow.fs
import pytest

from nunatak_testing.server import MODES, in_mode
from servers.http_proxy import HttpProxy


@pytest.fixture(scope="module")
def objects(minio):
    """The same server by another client."""
    return pyarrow.fs.S3FileSystem(access_key=minio.user, secret_key=minio.password, endpoint_override=minio.address, scheme="http", region="us-east-1")


@pytest.fixture(scope="module")
def proxy(minio):
    with HttpProxy(minio.endpoint) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def faulty(server, minio, proxy, tmp_path_factory):
    """Two catalogs whose requests to storage pass the proxy, each with a table."""
    settings = minio.settings | {"s3.endpoint": proxy.endpoint, "s3.retry.timeout-ms": "300"}
    create(server, "folders", "hadoop", settings | {"warehouse": "s3://lake/folders"})
    create(server, "rows", "sql", settings | {"warehouse": "s3://lake/rows", "uri": f"sqlite://{tmp_path_factory.mktemp('rows')}/rows.sqlite"})
    for catalog in ("folders", "rows"):
        server.rows(f"CREATE SCHEMA {catalog}.s")
        server.rows(f"CREATE TABLE {catalog}.s.t AS SELECT 1 AS a")
    yield proxy


@pytest.fixture
def answers(faulty):
    """Sets what the proxy answers, for one test."""

    def answers(method, pattern, status, text, headers=None):
        faulty.answer = lambda asked, path, *_: (status, text, headers or {}) if asked == method and re.search(pattern, path) else None

    yield answers
    faulty.answer = None


def create(server, name, kind, properties):
    written = ", ".join(f"\"{key}\" = '{value}'" for key, value in properties.items())
    server.rows(f"CREATE CATALOG {name} USING {kind} WITH ({written})")


def error(code, more=""):
    return f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>So it is.</Message>{more}<RequestId>1</RequestId></Error>'


@pytest.mark.parametrize(
    ("status", "code", "more", "headers", "hint"),
    [
        (400, "ExpiredToken", "", {}, "the credentials have expired"),
        (403, "RequestTimeTooSkewed", "", {}, "the clock of this machine"),
        (403, "InvalidAccessKeyId", "", {}, "check s3.access-key-id"),
        (403, "SignatureDoesNotMatch", "", {}, "check s3.secret-access-key"),
        (403, "AccessDenied", "", {}, "what their owner may do there"),
        (400, "AuthorizationHeaderMalformed", "<Region>eu-west-1</Region>", {}, "set s3.region to 'eu-west-1'"),
        (301, "PermanentRedirect", "<Endpoint>lake.s3.amazonaws.com</Endpoint>", {"x-amz-bucket-region": "eu-west-1"}, "set s3.region to 'eu-west-1'"),
        (301, "PermanentRedirect", "<Endpoint>lake.s3.eu-west-1.amazonaws.com</Endpoint>", {}, "the bucket is at 'lake.s3.eu-west-1.amazonaws.com'"),
    ],
)
def test_what_a_store_refuses_is_told(server, failure, faulty, answers, status, code, more, headers, hint):
    answers("GET", "", status, error(code, more), headers)
    text = failure(server, "SHOW TABLES FROM folders.s")
    assert f"STORAGE_ACCESS_DENIED: storage refused access to 's3://lake/folders/s': {code}: So it is" in text, text
    assert hint in text and f"request: GET {faulty.endpoint}/lake" in text, text


def test_a_page_is_no_empty_folder(server, failure, faulty, answers):
    answers("GET", "", 200, "<html>log in</html>", {"Content-Type": "text/html"})
    for sql in ("SHOW TABLES FROM folders.s", "SHOW SCHEMAS FROM folders"):
        text = failure(server, sql)
        assert "STORAGE_UNAVAILABLE" in text and "is not a server of S3: its answer begins with '<html>log in" in text and faulty.endpoint in text, text


@pytest.mark.parametrize(
    ("status", "code", "messages"),
    [
        (403, "AccessDenied", ["STORAGE_ACCESS_DENIED: storage refused access to 's3://lake/rows/", "AccessDenied: So it is"]),
        (503, "SlowDown", ["STORAGE_UNAVAILABLE: storage of 's3://lake/rows/", "SlowDown: So it is"]),
        (404, "NoSuchBucket", ["STORAGE_UNAVAILABLE: the bucket of 's3://lake/rows/"]),
    ],
)
def test_manifests_that_cannot_be_written(server, failure, answers, status, code, messages):
    answers("PUT", r"\.avro", status, error(code))
    text = failure(server, "INSERT INTO rows.s.t VALUES (2)")
    assert all(message in text for message in messages) and ".avro" in text, text
    assert server.value("SELECT count(*) FROM rows.s.t") == 1


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        (403, "AccessDenied", "STORAGE_ACCESS_DENIED: storage refused access to '{}': AccessDenied: So it is"),
        (503, "SlowDown", "STORAGE_UNAVAILABLE: storage of '{}' cannot be reached: SlowDown: So it is"),
        (404, "NoSuchKey", "ICEBERG_MISSING_DATA: data file '{}' does not exist"),
        (404, "NoSuchBucket", "STORAGE_UNAVAILABLE: the bucket of '{}' does not exist"),
    ],
)
def test_data_files_that_cannot_be_read(server, failure, answers, status, code, message):
    """Its error names the file as the table's metadata does: without its bucket nobody would find it."""
    table = f"unread_{code.lower()}"
    server.rows(f"CREATE TABLE rows.s.{table} AS SELECT 1 AS a")
    ((file,),) = server.rows(f'SELECT file_path FROM rows.s."{table}$files"')
    answers("GET", r"\.parquet", status, error(code))
    for mode in MODES:
        text = failure(server, f"SELECT * FROM rows.s.{table}", headers=in_mode(mode))
        assert message.format(file) in text and file.startswith("s3://lake/rows/"), text


def test_a_page_is_no_object(server, failure, faulty, answers):
    """Neither one that is read, nor one that was written or deleted."""
    server.rows("CREATE TABLE rows.s.paged AS SELECT 1 AS a")
    answers("GET", r"\.parquet", 200, "<html>log in</html>", {"Content-Type": "text/html"})
    texts = [failure(server, "SELECT * FROM rows.s.paged")]
    answers("PUT", r"\.parquet", 200, "<html>log in</html>", {"Content-Type": "text/html; charset=utf-8"})
    texts += [failure(server, "INSERT INTO rows.s.paged VALUES (2)")]
    for text in texts:
        assert "STORAGE_UNAVAILABLE: storage of 's3://lake/rows/" in text and "its answer begins with '<html>log in" in text and faulty.endpoint in text, text
    faulty.answer = None
    assert server.rows("SELECT * FROM rows.s.paged") == [(1,)]


def test_a_store_that_has_everything(server, failure, faulty, answers):
    """Each version of a table is there, whichever is asked for: it is not asked for ever."""
    answers("HEAD", "metadata.json", 200, "", {"ETag": '"1"'})
    text = failure(server, "SELECT * FROM folders.s.t")
    assert "STORAGE_UNAVAILABLE" in text and "lists no such file" in text and "s3://lake/folders/s/t/metadata/v" in text, text
    faulty.answer = None
    assert server.value("SELECT a FROM folders.s.t") == 1


def test_a_listing_that_leads_back(server, failure, faulty, answers):
    """Its first page says that there is another one, which says so of itself."""
    pages = "<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>again</NextContinuationToken></ListBucketResult>"
    answers("GET", "list-type=2", 200, pages)
    text = failure(server, "SHOW TABLES FROM folders.s")
    assert "STORAGE_UNAVAILABLE" in text and "is not a server of S3" in text, text


def test_a_table_that_others_make_a_schema_of(server, tmp_path):
    """What was known to be the folder of a table is asked for again before a schema is said not to be there."""
    server.rows(f"CREATE CATALOG others USING hadoop WITH (warehouse = 'file://{tmp_path}')")
    server.rows("CREATE SCHEMA others.a")
    server.rows("CREATE TABLE others.a.b AS SELECT 1 AS n")
    assert server.rows("SHOW TABLES FROM others.a") == [("b",)]
    os.rename(tmp_path / "a/b", tmp_path / "a/b.old")
    os.mkdir(tmp_path / "a/b")
    server.rows('CREATE TABLE others."a.b".c AS SELECT 2 AS n')
    assert server.rows('SHOW TABLES FROM others."a.b"') == [("c",)] and server.value('SELECT n FROM others."a.b".c') == 2


def test_why_a_store_cannot_be_reached(server, failure, minio):
    """A name that nobody knows, a port where nobody listens, and TLS where there is none: each is told."""
    for name, endpoint, why in (
        ("nameless", "http://nowhere.invalid:9000", "(lookup|dns|name)"),
        ("unheard", "http://127.0.0.1:9", "Connection refused"),
        ("plain", minio.endpoint.replace("http:", "https:"), "(TLS|corrupt|message|handshake)"),
    ):
        create(server, name, "hadoop", minio.settings | {"warehouse": "s3://lake/x", "s3.endpoint": endpoint, "s3.retry.timeout-ms": "300"})
        text = failure(server, f"SHOW SCHEMAS FROM {name}")
        assert re.search(f"STORAGE_UNAVAILABLE: storage of 's3://lake/x' cannot be reached: .*{why}.*, request: GET {endpoint}/lake", text), text
        server.rows(f"DROP CATALOG {name}")


def test_a_file_system_that_is_only_read(server, failure, tmp_path):
    if os.getuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "none", tmp_path], capture_output=True).returncode != 0:
        pytest.skip("nothing can be mounted")
    mounted = lambda how: subprocess.run(["mount", "-o", f"remount,{how}", tmp_path], check=True)
    catalogs = {"kept_folders": ("hadoop", {}), "kept_rows": ("sql", {"uri": f"sqlite://{server.data_dir}/kept.sqlite"})}
    try:
        for name, (kind, properties) in catalogs.items():
            create(server, name, kind, {"warehouse": f"file://{tmp_path}/{name}"} | properties)
            server.rows(f"CREATE SCHEMA {name}.s")
            server.rows(f"CREATE TABLE {name}.s.t AS SELECT 1 AS a")
        mounted("ro")
        before = sorted(tmp_path.rglob("*"))
        for name in catalogs:
            for sql in (f"INSERT INTO {name}.s.t VALUES (2)", f"DELETE FROM {name}.s.t", f"CREATE TABLE {name}.s.u (a int)", f"CREATE TABLE {name}.s.u AS SELECT 1 AS a"):
                text = failure(server, sql)
                assert f"STORAGE_ACCESS_DENIED: storage refused access to 'file://{tmp_path}/{name}/s/" in text and "for reading only" in text, text
            assert server.rows(f"SELECT a FROM {name}.s.t") == [(1,)]
        mounted("rw")
        assert sorted(tmp_path.rglob("*")) == before
        for name in catalogs:
            server.rows(f"INSERT INTO {name}.s.t VALUES (2)")
            assert server.rows(f"SHOW TABLES FROM {name}.s") == [("t",)] and server.value(f"SELECT count(*) FROM {name}.s.t") == 2
            server.rows(f"DROP CATALOG {name}")
    finally:
        subprocess.run(["umount", "-l", tmp_path])


def test_files_that_are_not_deleted(server, failure, faulty, answers):
    """Also where the answer names objects that nobody has asked for, at which object_store stops with a panic."""
    result = "<DeleteResult>{}</DeleteResult>".format
    refused = "<Error><Key>{}</Key><Code>AccessDenied</Code><Message>So it is.</Message></Error>".format
    server.rows("CREATE TABLE folders.s.u AS SELECT 1 AS a")
    keys = lambda body: re.findall(r"<Key>(.*?)</Key>", body.decode())
    is_delete = lambda method, path: method == "POST" and "delete" in path
    refuse = lambda method, path, _, body: (200, result("".join(map(refused, keys(body)))), {}) if is_delete(method, path) else None
    faulty.answer = refuse
    text = failure(server, "DROP TABLE folders.s.u")
    assert "STORAGE_ACCESS_DENIED: storage refused access to 's3://lake/folders/s/u" in text and "AccessDenied: So it is" in text, text
    server.rows("CREATE TABLE IF NOT EXISTS folders.s.v AS SELECT 1 AS a")
    for nonsense in (result(refused("k")), "<html>log in</html>"):
        answers("POST", "delete", 200, nonsense)
        with server.connect() as connection, connection.cursor() as cursor:
            with pytest.raises(Exception) as caught:
                cursor.execute("DROP TABLE folders.s.v").fetch_arrow_table()
            text = str(caught.value)
            assert re.search("ICEBERG_FILESYSTEM_ERROR: .*its answer cannot be read|STORAGE_UNAVAILABLE: .*is not a server of S3", text), text
            # The connection is as it was.
            assert cursor.execute("SELECT 1").fetchone() == (1,)


def test_stores_are_those_of_catalogs(server, minio):
    settings = minio.settings | {"warehouse": "s3://lake/twins", "s3.request-timeout-ms": "59000"}
    of = lambda name: server.rows(f"SELECT catalogs, requests FROM system.storage WHERE store = 's3://lake' AND catalogs LIKE '%{name}%'")
    for name in ("twin_a", "twin_b"):
        create(server, name, "hadoop", settings)
    server.rows("SHOW SCHEMAS FROM twin_a")
    ((names, requests),) = of("twin")
    assert names == "twin_a, twin_b" and requests > 0
    server.rows("DROP CATALOG twin_a")
    assert [names for names, _ in of("twin")] == ["twin_b"]
    server.rows("DROP CATALOG twin_b")
    assert of("twin") == []


@pytest.mark.parametrize("store", ["local", "s3"])
def test_a_place_with_files_is_no_place_for_a_table(server, failure, faulty, objects, tmp_path, store):
    """A table that is dropped takes all that is in its folder with it."""
    if store == "local":
        catalog, place = "lake", f"file://{tmp_path}/full"
        (tmp_path / "full").mkdir()
        (tmp_path / "full/other").write_text("of somebody else")
    else:
        catalog, place = "rows", "s3://lake/full"
        with objects.open_output_stream("lake/full/other") as file:
            file.write(b"of somebody else")
    server.rows(f"CREATE SCHEMA IF NOT EXISTS {catalog}.s")
    for what in ("(a int) WITH (location = '{}')", "WITH (location = '{}') AS SELECT 1 AS a"):
        text = failure(server, f"CREATE TABLE {catalog}.s.full {what.format(place)}")
        assert "INVALID_TABLE_PROPERTY" in text and "is not empty" in text, text
    assert server.rows(f"SHOW TABLES FROM {catalog}.s LIKE 'full'") == []
    # A folder with nothing in it; in a bucket it is an object that a console has made.
    (tmp_path / "full_not").mkdir() if store == "local" else objects.create_dir("lake/full_not")
    server.rows(f"CREATE TABLE {catalog}.s.beside (a int) WITH (location = '{place}_not')")
    server.rows(f"DROP TABLE {catalog}.s.beside")
    kept = (tmp_path / "full/other").exists() if store == "local" else objects.get_file_info("lake/full/other").type == pyarrow.fs.FileType.File
    assert kept


def test_two_catalogs_over_one_warehouse(server, failure, minio, tmp_path):
    """What has the folder that a hadoop catalog would give a table is not touched, whoever has it."""
    settings = minio.settings | {"warehouse": "s3://lake/common"}
    create(server, "common_rows", "sql", settings | {"uri": f"sqlite://{tmp_path}/common.sqlite"})
    create(server, "common_folders", "hadoop", settings)
    server.rows("CREATE SCHEMA common_rows.s")
    server.rows("CREATE TABLE common_rows.s.a WITH (location = 's3://lake/common/s/a') AS SELECT 7 AS a")
    server.rows("CREATE SCHEMA IF NOT EXISTS common_folders.s")
    for what in ("(b int)", "AS SELECT 1 AS b"):
        text = failure(server, f"CREATE TABLE common_folders.s.a {what}")
        assert "TABLE_ALREADY_EXISTS" in text and "holds a table of another catalog" in text, text
    assert server.rows("SELECT a FROM common_rows.s.a") == [(7,)]


@pytest.mark.parametrize("others", [3, 4])
def test_a_writer_that_stood_still_takes_nothing_back(server, minio, others):
    """Others have made its version meanwhile, gone on from there, and deleted it: its place is free."""
    with HttpProxy(minio.endpoint) as proxy:
        for name, endpoint in [("slow", proxy.endpoint), ("quick", minio.endpoint)]:
            create(server, f"{name}_{others}", "hadoop", minio.settings | {"s3.endpoint": endpoint, "warehouse": f"s3://lake/still_{others}"})
        slow, quick = (f"{name}_{others}.s.t" for name in ("slow", "quick"))
        server.rows(f"CREATE SCHEMA quick_{others}.s")
        properties = "ARRAY['write.metadata.delete-after-commit.enabled', 'write.metadata.previous-versions-max'], ARRAY['true', '1']"
        server.rows(f"CREATE TABLE {quick} (a bigint) WITH (extra_properties = MAP({properties}))")
        stood = []

        def answer(method, path, *_):
            if method == "PUT" and path.endswith("/metadata/v2.metadata.json") and not stood:
                stood.append(path)
                for value in range(others):
                    server.rows(f"INSERT INTO {quick} VALUES ({value})")

        proxy.answer = answer
        server.rows(f"INSERT INTO {slow} VALUES (100)")
        assert stood and server.rows(f"SELECT a FROM {quick} ORDER BY a") == [(value,) for value in [*range(others), 100]]
        for name in ("slow", "quick"):
            server.rows(f"DROP CATALOG {name}_{others}")


def test_a_store_that_overwrites_is_none_for_folders(server, failure, minio, objects):
    """A hadoop catalog is safe only where one of all writers makes a version; some servers pass over the condition that S3 has for it."""
    settings = minio.settings | {"warehouse": "s3://lake/overwritten"}
    create(server, "exclusive", "hadoop", settings)
    server.rows("CREATE SCHEMA exclusive.s")

    def overwrite(method, path, headers, body):
        if method != "PUT" or "if-none-match" not in headers:
            return None
        # Not by the server itself: the condition is a part of what was signed.
        with objects.open_output_stream(urllib.parse.unquote(path.partition("?")[0])[1:]) as file:
            file.write(body)
        return 200, "", {"ETag": f'"{hashlib.md5(body).hexdigest()}"'}

    with HttpProxy(minio.endpoint) as proxy:
        proxy.answer = overwrite
        create(server, "overwriting", "hadoop", settings | {"s3.endpoint": proxy.endpoint})
        assert server.rows("SHOW SCHEMAS FROM overwriting LIKE 's'") == [("s",)]
        for what in ("(a int)", "AS SELECT 1 AS a"):
            text = failure(server, f"CREATE TABLE overwriting.s.t {what}")
            assert "NOT_SUPPORTED" in text, text
        server.rows("DROP CATALOG overwriting")
    assert server.rows("SHOW TABLES FROM exclusive.s") == []
    server.rows("CREATE TABLE exclusive.s.t AS SELECT 1 AS a")
    assert server.rows("SELECT a FROM exclusive.s.t") == [(1,)]


def test_folders_that_are_objects(server, objects, minio):
    """Hadoop's client, and consoles, make an object of each folder, whose name ends with a slash. They are folders, and go with what they are the folder of."""
    create(server, "marked", "hadoop", minio.settings | {"warehouse": "s3://lake/marked"})
    for folder in ("marked", "marked/empty", "marked/full", "marked/full/t", "marked/full/t/metadata", "marked/full/t/data"):
        objects.create_dir(f"lake/{folder}", recursive=False)
    server.rows("CREATE TABLE marked.full.t AS SELECT 1 AS a")
    assert server.rows("SHOW SCHEMAS FROM marked LIKE '%l%' ") == [("full",)]
    assert server.rows("SHOW TABLES FROM marked.full") == [("t",)] and server.rows("SHOW TABLES FROM marked.empty") == []
    server.rows("DROP TABLE marked.full.t")
    for schema in ("full", "empty"):
        server.rows(f"DROP SCHEMA marked.{schema}")
    assert server.rows("SHOW SCHEMAS FROM marked") == [("information_schema",), ("system",)]
    assert objects.get_file_info(pyarrow.fs.FileSelector("lake/marked", recursive=True, allow_not_found=True)) == []


def test_a_store_that_is_to_be_asked_later(server, faulty, minio, proxy):
    """It is left alone for as long as it asks for."""
    create(server, "later", "hadoop", minio.settings | {"s3.endpoint": proxy.endpoint, "warehouse": "s3://lake/later"})
    server.rows("CREATE SCHEMA later.s")
    asked = []

    def answer(method, path, *_):
        if method == "GET" and "list-type=2" in path:
            asked.append((path, time.monotonic()))
            return (503, error("SlowDown"), {"Retry-After": "3"}) if len(asked) == 1 else None

    faulty.answer = answer
    try:
        assert server.rows("SHOW TABLES FROM later.s") == []
    finally:
        faulty.answer = None
    # Other listings may go on meanwhile.
    refused, again, *_ = [at for path, at in asked if path == asked[0][0]]
    assert again - refused >= 3
