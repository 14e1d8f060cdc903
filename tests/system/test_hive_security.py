"""Hive Metastores that ask who comes and show who they are: Kerberos and TLS. What metastores do otherwise is in `test_hive`."""

import subprocess
import time

import pytest

from nunatak_testing.server import Server, section
from servers.hive import PASSWORD, Hive
from servers.kerberos import REALM, Kerberos
from servers.postgres import Postgres
from servers.proxy import Proxy

PROTECTIONS = ["authentication", "integrity", "privacy"]
TICKET_SECONDS = 4
# Its entry is longer than the 64 KiB that a frame of a metastore with Kerberos may have.
MANY_COLUMNS = ", ".join(f"a_column_with_a_rather_long_name_{n} bigint" for n in range(1200))


@pytest.fixture(scope="module")
def kerberos(tmp_path_factory):
    with Kerberos(tmp_path_factory.mktemp("kerberos")) as kerberos:
        yield kerberos


@pytest.fixture(scope="module")
def postgres(tmp_path_factory):
    with Postgres(tmp_path_factory.mktemp("postgres")) as postgres:
        yield postgres


@pytest.fixture(scope="module")
def metastores(tmp_path_factory, kerberos, postgres):
    """One that wants tickets, and one with TLS; they start at the same time."""
    certificate = postgres.export_certificate(tmp_path_factory.mktemp("certificate") / "server.p12", PASSWORD)
    both = Hive(tmp_path_factory.mktemp("secure"), postgres, kerberos=kerberos), Hive(tmp_path_factory.mktemp("tls"), postgres, certificate=certificate)
    try:
        for hive in both:
            hive.spawn()
        for hive in both:
            hive.wait_until_ready()
        yield both
    finally:
        for hive in both:
            if hive.process is not None and hive.process.poll() is None:
                hive.kill()


@pytest.fixture(scope="module")
def proxy(metastores):
    """Before the one that wants tickets."""
    with Proxy(f"127.0.0.1:{metastores[0].port}") as proxy:
        yield proxy


@pytest.fixture(scope="module")
def brief(kerberos):
    """A user whose tickets last for some seconds."""
    return kerberos.user("brief", TICKET_SECONDS)


@pytest.fixture(scope="module")
def strange_authority(tmp_path_factory):
    folder = tmp_path_factory.mktemp("authority")
    new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", "ca.key"]
    subprocess.run(["openssl", "req", "-x509", *new_key, "-out", "ca.crt", "-subj", "/CN=somebody else", "-days", "2"], check=True, capture_output=True, cwd=folder)
    return folder / "ca.crt"


@pytest.fixture(scope="module")
def server(tmp_path_factory, kerberos, postgres, metastores, proxy, brief, strange_authority):
    folder = tmp_path_factory.mktemp("server")
    secure, tls = metastores
    alice = kerberos.user("alice")
    kerberos.get_ticket(alice, folder / "alice.tickets")
    # A keytab whose key is not that of the user any more.
    old = kerberos.user("bob")
    kerberos.admin(f"cpw -randkey {old[0]}")
    service = {"hive.metastore.sasl.enabled": "true", "hive.metastore.kerberos.principal": f"hive/_HOST@{REALM}"}
    keytab = lambda user: service | {"hdfs.kerberos.principal": user[0], "hdfs.kerberos.keytab": user[1]}
    cache = lambda user, file: service | {"hdfs.kerberos.principal": user[0], "hdfs.kerberos.cache": f"FILE:{folder}/{file}"}
    called = lambda name: keytab(alice) | {"hive.metastore.kerberos.principal": name}
    trusting = lambda file: {"hive.metastore.use.SSL": "true", "hive.ca-certificate": file}
    by_proxy = f"thrift://localhost:{proxy.address.rpartition(':')[2]}"
    catalogs = {name: (by_proxy, keytab(alice) | {"hadoop.rpc.protection": name}) for name in PROTECTIONS} | {
        # The realm is that of the host; the first of its servers is away.
        "process": (f"thrift://localhost:9,{secure.uri}", service | {"hive.metastore.kerberos.principal": "hive/_HOST"}),
        "cached": (by_proxy, cache(brief, "brief.tickets")),
        "renewed": (by_proxy, keytab(brief)),
        "no_ticket": (secure.uri, cache(alice, "nowhere")),
        "not_hers": (secure.uri, service | {"hdfs.kerberos.principal": brief[0], "hdfs.kerberos.cache": f"FILE:{folder}/alice.tickets"}),
        "old_key": (secure.uri, keytab(old)),
        "unheard_of": (secure.uri, called(f"hive/elsewhere@{REALM}")),
        "another": (secure.uri, called(f"hdfs/localhost@{REALM}")),
        "no_realm": (secure.uri, keytab(("alice@NOWHERE.TEST", alice[1]))),
        "in_words": (secure.uri, {}),
        "tls": (tls.uri, trusting(postgres.authority) | {"hive.user": "tina"}),
        "untrusted": (tls.uri, trusting(strange_authority)),
        "misnamed": (f"thrift://127.0.0.1:{tls.port}", trusting(postgres.authority)),
        "without_tls": (tls.uri, {}),
        "needless_tls": (secure.uri, trusting(postgres.authority)),
    }
    config = folder / "nunatak.toml"
    common = {"type": "hive", "warehouse": f"file://{folder}/warehouse", "hive.max-retries": "0"}
    config.write_text("".join(section(name, common | {"uri": uri} | values) for name, (uri, values) in catalogs.items()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KRB5_CONFIG", str(kerberos.config))
        patch.setenv("KRB5CCNAME", f"FILE:{folder}/alice.tickets")
        with Server(folder / "data", "--config", config) as server:
            yield server


def owners(hive, schema):
    """Who owns a schema and its tables."""
    tables = f"""SELECT "OWNER" FROM "TBLS" JOIN "DBS" USING ("DB_ID") WHERE "NAME" = '{schema}'"""
    return set(hive.postgres.sql(hive.database, f"""SELECT "OWNER_NAME" FROM "DBS" WHERE "NAME" = '{schema}' UNION {tables}""").split())


def work(server, schema):
    """What a catalog is there for."""
    server.rows(f"CREATE SCHEMA {schema}")
    server.rows(f"CREATE TABLE {schema}.t AS SELECT 1 AS a")
    server.rows(f"INSERT INTO {schema}.t VALUES (2)")
    assert server.rows(f"SELECT sum(a) FROM {schema}.t") == [(3,)]
    server.rows(f"CREATE VIEW {schema}.v AS SELECT a FROM {schema}.t")
    assert server.rows(f"SELECT count(*) FROM {schema}.v") == [(2,)]


@pytest.mark.parametrize("protection", PROTECTIONS)
def test_protections(server, metastores, proxy, protection):
    proxy.seen = []
    work(server, f"{protection}.by_{protection}")
    assert owners(metastores[0], f"by_{protection}") == {"alice"}
    sent = b"".join(proxy.seen)
    assert b"GSSAPI" in sent and (b"get_table" in sent) == (protection != "privacy")
    proxy.seen = None


def test_long_entries(server):
    """They take several frames."""
    for protection in ("authentication", "privacy"):
        table = f"{protection}.long_{protection}.t"
        server.rows(f"CREATE SCHEMA {protection}.long_{protection}")
        server.rows(f"CREATE TABLE {table} ({MANY_COLUMNS})")
        assert server.rows(f"SELECT count(*) FROM {table}") == [(0,)]


def test_tickets_of_the_process(server, metastores):
    work(server, "process.of_the_process")
    assert owners(metastores[0], "of_the_process") == {"alice"}


@pytest.mark.parametrize(
    ("catalog", "code", "message", "hint"),
    [
        ("no_ticket", "CATALOG_ACCESS_DENIED", "nowhere", "kinit"),
        ("not_hers", "CATALOG_ACCESS_DENIED", f"are those of alice@{REALM}, not of brief@{REALM}", "kinit"),
        ("old_key", "CATALOG_ACCESS_DENIED", f"no ticket for bob@{REALM} to be had", "hdfs.kerberos.keytab"),
        ("unheard_of", "CATALOG_ACCESS_DENIED", "KDC_ERR_S_PRINCIPAL_UNKNOWN", "hive.metastore.kerberos.principal"),
        ("another", "CATALOG_ACCESS_DENIED", "does not let us in: GSS initiate failed", "hive.metastore.kerberos.principal"),
        ("no_realm", "CATALOG_UNAVAILABLE", "no KDC for NOWHERE.TEST", "krb5.conf"),
        ("in_words", "CATALOG_UNAVAILABLE", "broke off the connection", "hive.metastore.sasl.enabled"),
        ("untrusted", "CATALOG_UNAVAILABLE", "is not trusted: invalid peer certificate: UnknownIssuer", "hive.ca-certificate"),
        ("misnamed", "CATALOG_UNAVAILABLE", "is not trusted: invalid peer certificate", "as its certificate does"),
        ("without_tls", "CATALOG_UNAVAILABLE", "cannot be used", "hive.metastore.use.SSL"),
        ("needless_tls", "CATALOG_UNAVAILABLE", "broke off the connection instead of answering to TLS", "hive.metastore.use.SSL"),
    ],
)
def test_who_is_not_let_in(server, failure, catalog, code, message, hint):
    text = failure(server, f"CREATE SCHEMA {catalog}.s")
    assert code in text and message in text and hint in text and f"of catalog '{catalog}'" in text


def test_tickets_run_out(server, kerberos, proxy, brief, failure):
    """One from a keytab is renewed where it is needed; one that somebody else gets is good again when he has got it."""
    tickets = server.data_dir.parent / "brief.tickets"
    kerberos.get_ticket(brief, tickets)
    for catalog in ("cached", "renewed"):
        assert ("default",) in server.rows(f"SHOW SCHEMAS FROM {catalog}")
    time.sleep(TICKET_SECONDS + 0.5)
    # A connection outlives the ticket that it was made with.
    assert ("default",) in server.rows("SHOW SCHEMAS FROM cached")
    proxy.cut()
    assert ("default",) in server.rows("SHOW SCHEMAS FROM renewed")
    text = failure(server, "SHOW SCHEMAS FROM cached")
    assert "CATALOG_ACCESS_DENIED" in text and "still good" in text and "kinit" in text
    kerberos.get_ticket(brief, tickets)
    assert ("default",) in server.rows("SHOW SCHEMAS FROM cached")


def test_tls(server, metastores):
    work(server, "tls.encrypted")
    assert owners(metastores[1], "encrypted") == {"tina"}
