"""MIT Kerberos: the servers' and the users' keys, and who gives out tickets for them."""

import os
import shutil
import socket
import subprocess
import time

from nunatak_testing.server import free_port

from .process import READY_SECONDS, ServerProcess

REALM = "LAB.TEST"
# Debian has the servers where only root looks for programs.
PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
# Whom the servers of HDFS run as, and a metastore.
SERVICE = "hdfs/localhost"
METASTORE = "hive/localhost"


class Kerberos(ServerProcess):
    """A realm with keys for the servers of HDFS and for a metastore. `config` is what clients know it by (`KRB5_CONFIG`)."""

    name = "Kerberos"

    def __init__(self, folder):
        super().__init__(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.address = f"127.0.0.1:{free_port()}"
        self.config = self.folder / "krb5.conf"
        self.config.write_text(
            f"[libdefaults]\ndefault_realm = {REALM}\nudp_preference_limit = 1\ndns_lookup_realm = false\ndns_lookup_kdc = false\n"
            "rdns = false\ndns_canonicalize_hostname = false\nqualify_shortname = \"\"\n"
            f"[realms]\n{REALM} = {{\n kdc = {self.address}\n}}\n[domain_realm]\nlocalhost = {REALM}\n"
        )
        (self.folder / "kdc.conf").write_text(
            f"[kdcdefaults]\nkdc_listen = {self.address}\nkdc_tcp_listen = {self.address}\n"
            f"[realms]\n{REALM} = {{\n database_name = {self.folder}/principals\n key_stash_file = {self.folder}/stash\n}}\n"
        )
        self.service_keytab = self.folder / "service.keytab"

    @property
    def environment(self):
        return os.environ | {"KRB5_CONFIG": str(self.config), "KRB5_KDC_PROFILE": str(self.folder / "kdc.conf"), "PATH": PATH}

    @property
    def command(self):
        return [shutil.which("krb5kdc", path=PATH), "-n", "-P", self.folder / "pid"]

    @property
    def hadoop_settings(self):
        """What servers of HDFS need to have, to ask for tickets."""
        service = f"{SERVICE}@{REALM}"
        return {
            "hadoop.security.authentication": "kerberos",
            "hadoop.security.authorization": "true",
            "dfs.block.access.token.enable": "true",
            **{f"dfs.{server}.kerberos.principal": service for server in ("namenode", "datanode")},
            **{f"dfs.{server}.keytab.file": self.service_keytab for server in ("namenode", "datanode")},
            "dfs.web.authentication.kerberos.principal": f"HTTP/localhost@{REALM}",
            "dfs.web.authentication.kerberos.keytab": self.service_keytab,
            "dfs.http.policy": "HTTP_ONLY",
            # Ports that anybody may listen at.
            "ignore.secure.ports.for.testing": "true",
        }

    @property
    def metastore_settings(self):
        """What a metastore needs to have, to ask for tickets. It takes all three protections: a client chooses."""
        return {
            "hadoop.security.authentication": "kerberos",
            "hadoop.rpc.protection": "authentication,integrity,privacy",
            "metastore.sasl.enabled": "true",
            "metastore.kerberos.principal": f"{METASTORE}@{REALM}",
            "metastore.kerberos.keytab.file": self.service_keytab,
        }

    def start(self):
        self.run("kdb5_util", "create", "-s", "-r", REALM, "-P", "master")
        for service in (SERVICE, METASTORE, "HTTP/localhost"):
            self.admin(f"addprinc -randkey {service}@{REALM}", f"ktadd -k {self.service_keytab} {service}@{REALM}")
        return super().start()

    def wait_until_ready(self):
        host, _, port = self.address.partition(":")
        until = time.monotonic() + READY_SECONDS
        while self.process.poll() is None and time.monotonic() < until:
            with socket.socket() as probe:
                if probe.connect_ex((host, int(port))) == 0:
                    return
            time.sleep(0.05)
        raise RuntimeError(f"{self.name} is not ready: {(self.folder / 'log').read_text()[-2000:]}")

    def run(self, *command, **environment):
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=30, env=self.environment | environment)
        if done.returncode:
            raise RuntimeError(f"{' '.join(map(str, command))}: {done.stdout}{done.stderr}")
        return done.stdout

    def admin(self, *queries):
        for query in queries:
            self.run("kadmin.local", "-q", query)

    def user(self, name, ticket_seconds=3600):
        """Makes a user whose tickets last so long, and gives the name and a keytab."""
        keytab = self.folder / f"{name}.keytab"
        self.admin(f'addprinc -randkey -maxlife "{ticket_seconds} seconds" {name}@{REALM}', f"ktadd -k {keytab} {name}@{REALM}")
        return f"{name}@{REALM}", keytab

    def get_ticket(self, user, cache):
        """Puts a ticket of a user of ours into a file (`kinit`)."""
        principal, keytab = user
        self.run("kinit", "-k", "-t", keytab, "-c", cache, principal)
