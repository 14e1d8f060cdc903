"""etcd: servers that hold the state of a cluster, as Debian packages them and as they are released."""

import itertools
import json
import os
import subprocess

from nunatak_testing.server import ROOT, free_port

from .process import ServerProcess

# The program by its version: Debian's, and the one that scripts/setup builds.
PROGRAMS = {"3.4": "etcd", "3.7": ROOT / ".cache/etcd/etcd"}


class EtcdMember(ServerProcess):
    """One server of several."""

    name = "etcd"

    def __init__(self, folder, number, program, scheme, files, space_bytes):
        super().__init__(folder)
        self.space_bytes = space_bytes
        self.program = program
        self.folder.mkdir(parents=True)
        self.member = f"m{number}"
        self.files = files
        self.client, self.peer = f"{scheme}://127.0.0.1:{free_port()}", f"http://127.0.0.1:{free_port()}"
        # What tells how it is asks for no certificate.
        self.metrics = f"http://127.0.0.1:{free_port()}"
        self.members = []

    @property
    def command(self):
        tls = []
        if self.files:
            tls = ["--cert-file", self.files / "server.crt", "--key-file", self.files / "server.key"]
            tls += ["--trusted-ca-file", self.files / "ca.crt", "--client-cert-auth"]
        return [
            self.program, "--name", self.member, "--data-dir", self.folder / "data",
            "--listen-client-urls", self.client, "--advertise-client-urls", self.client,
            "--listen-peer-urls", self.peer, "--initial-advertise-peer-urls", self.peer,
            "--initial-cluster", ",".join(f"{other.member}={other.peer}" for other in self.members),
            "--listen-metrics-urls", self.metrics, "--quota-backend-bytes", str(self.space_bytes), *tls,
        ]

    @property
    def environment(self):
        return dict(os.environ)

    @property
    def ready_url(self):
        return f"{self.metrics}/health"


class Etcd:
    """A cluster of `count` servers. With `user` and `password` it has one server that speaks TLS, knows its clients by certificates, and lets that user write below /nunatak/.

    There is another user then, `worker` with the same password, who may write below /nunatak/members/ alone. `space_bytes` is how much each server keeps; 0 is its default.
    """

    def __init__(self, folder, version="3.7", count=3, user=None, password=None, space_bytes=0):
        self.user, self.password = user, password
        self.files = None
        if user is not None:
            self.files = folder / "tls"
            make_certificates(self.files)
        self.members = [EtcdMember(folder / f"m{number}", number, PROGRAMS[version], "https" if user else "http", self.files, space_bytes) for number in range(count)]
        for member in self.members:
            member.members = self.members

    @property
    def endpoints(self):
        return ",".join(member.client for member in self.members)

    def start(self):
        for member in self.members:
            member.spawn()
        for member in self.members:
            member.wait_until_ready()
        return self

    def stop(self):
        for member in self.members:
            if member.process is not None and member.process.poll() is None:
                member.stop()

    def leader(self):
        """The server that leads the others."""
        for line in json.loads(self.ctl("endpoint", "status", "-w", "json")):
            if line["Status"]["leader"] == line["Status"]["header"]["member_id"]:
                return next(member for member in self.members if member.client == line["Endpoint"])
        raise AssertionError("etcd has no leader")

    def ctl(self, *arguments, given=None):
        """What `etcdctl` says, which is `given` that as its input."""
        command = ["etcdctl", "--endpoints", self.endpoints]
        if self.files:
            command += ["--cacert", self.files / "ca.crt", "--cert", self.files / "root.crt", "--key", self.files / "root.key"]
        done = subprocess.run([*map(str, command), *arguments], input=given, capture_output=True, text=True, timeout=30, env=os.environ | {"ETCDCTL_API": "3"})
        assert done.returncode == 0, done.stderr
        return done.stdout

    def keys(self, prefix="/nunatak/"):
        return self.ctl("get", "--prefix", "--keys-only", prefix).split()

    def fill(self):
        """Until there is no space left."""
        for number in itertools.count():
            try:
                self.ctl("put", f"/filler/{number}", given="x" * 500_000)
            except AssertionError as error:
                assert "database space exceeded" in str(error), error
                return

    def make_space(self):
        self.ctl("del", "--prefix", "/filler/")
        (status, *_) = json.loads(self.ctl("endpoint", "status", "-w", "json"))
        self.ctl("compact", str(status["Status"]["header"]["revision"]))
        self.ctl("defrag")
        self.ctl("alarm", "disarm")

    def enable_users(self):
        """From now on a client has to be somebody: its user's name is in its certificate, or it says it, with the password."""
        for command in [
            "user add root:rootpw", "role add root", "user grant-role root root",
            "role add nunatak", "role grant-permission nunatak --prefix=true readwrite /nunatak/",
            f"user add {self.user}:{self.password}", f"user grant-role {self.user} nunatak",
            "role add members", "role grant-permission members --prefix=true readwrite /nunatak/members/",
            f"user add worker:{self.password}", "user grant-role worker members", "auth enable",
        ]:
            self.ctl(*command.split())

    def __enter__(self):
        self.start()
        if self.user is not None:
            self.enable_users()
        return self

    def __exit__(self, *_):
        self.stop()


def make_certificates(folder):
    """A CA, a certificate of a server at 127.0.0.1, and those of the clients `root`, `nobody` and `expired`, by openssl."""
    folder.mkdir(parents=True)

    def openssl(*arguments):
        subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, cwd=folder)

    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    openssl("req", "-x509", *key, "-days", "30", "-subj", "/CN=test-ca", "-keyout", "ca.key", "-out", "ca.crt")
    server = "subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n"
    client = "extendedKeyUsage=clientAuth\n"
    for name, extensions, days in [("server", server, 30), ("root", client, 30), ("nobody", client, 30), ("expired", client, -1)]:
        (folder / f"{name}.ext").write_text(extensions)
        openssl("req", *key, "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr")
        openssl(
            "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", days,
            "-out", f"{name}.crt", "-extfile", f"{name}.ext",
        )
