"""HDFS: NameNodes, DataNodes and a JournalNode, each a JVM of its own, from the jars that `scripts/setup servers` has put into .cache/."""

import collections
import concurrent.futures
import getpass
import json
import os
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request

from nunatak_testing.server import ROOT, free_port

from .process import READY_SECONDS, ServerProcess

JARS = ROOT / ".cache/hadoop/lib"
JAVA = ["java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx256m", "--add-opens=java.base/java.lang=ALL-UNNAMED"]
JAVA += ["--add-exports=java.security.jgss/sun.security.krb5=ALL-UNNAMED"]
NAMENODE = "org.apache.hadoop.hdfs.server.namenode.NameNode"
DATANODE = "org.apache.hadoop.hdfs.server.datanode.DataNode"
JOURNALNODE = "org.apache.hadoop.hdfs.qjournal.server.JournalNode"
DFS_ADMIN = "org.apache.hadoop.hdfs.tools.DFSAdmin"
EC_ADMIN = "org.apache.hadoop.hdfs.tools.ECAdmin"
HA_ADMIN = "org.apache.hadoop.hdfs.tools.DFSHAAdmin"
LOG = """log4j.rootLogger=INFO,stderr
log4j.appender.stderr=org.apache.log4j.ConsoleAppender
log4j.appender.stderr.target=System.err
log4j.appender.stderr.layout=org.apache.log4j.PatternLayout
log4j.appender.stderr.layout.ConversionPattern=%d{HH:mm:ss,SSS} %p %c{1}: %m%n
"""


class Daemon(ServerProcess):
    """One JVM, with a folder and a configuration of its own; ready when its page of metrics is there."""

    def __init__(self, folder, name, main, settings, http, kerberos):
        super().__init__(folder / name)
        self.name = name
        self.main = main
        self.http = http
        self.kerberos = kerberos
        (self.folder / "etc").mkdir(parents=True)
        # The jars want a folder for each web page, whatever is in it.
        for page in ("hdfs", "datanode", "journal", "static", "secondary"):
            (self.folder / "etc/webapps" / page).mkdir(parents=True)
        values = "".join(f"<property><name>{name}</name><value>{value}</value></property>\n" for name, value in settings.items())
        for file in ("core-site.xml", "hdfs-site.xml"):
            (self.folder / "etc" / file).write_text(f"<configuration>\n{values}</configuration>\n")
        (self.folder / "etc/log4j.properties").write_text(LOG)

    def java(self, main, *arguments):
        settings = [f"-Dhadoop.log.dir={self.folder}"]
        if self.kerberos is not None:
            settings.append(f"-Djava.security.krb5.conf={self.kerberos.config}")
        return [*JAVA, *settings, "-cp", f"{self.folder}/etc:{JARS}/*", main, *arguments]

    @property
    def command(self):
        return self.java(self.main)

    @property
    def environment(self):
        return os.environ | {"LC_ALL": "C.UTF-8"}

    @property
    def ready_url(self):
        return f"http://{self.http}/jmx?qry=java.lang:type=Runtime"

    def run(self, main, *arguments, timeout=60):
        """Runs a tool to its end."""
        done = subprocess.run(self.java(main, *arguments), capture_output=True, text=True, timeout=timeout, env=self.environment)
        if done.returncode:
            raise RuntimeError(f"{main} {' '.join(arguments)} of {self.name}: {done.stdout[-1000:]}{done.stderr[-2000:]}")

    def metric(self, bean, name):
        with urllib.request.urlopen(f"http://{self.http}/jmx?qry=Hadoop:service=NameNode,name={bean}", timeout=5) as answer:
            return json.load(answer)["beans"][0][name]


class Hdfs:
    """A file system. With `ha` it is the name service `lake` of two NameNodes, the first of them active; otherwise one NameNode. With `kerberos` it wants tickets.

    `uri` is what its locations begin with, `settings` are those of a catalog's storage.
    """

    service = "lake"

    def __init__(self, folder, datanodes=3, replication=2, ha=False, kerberos=None):
        self.kerberos = kerberos
        address = lambda: f"127.0.0.1:{free_port()}"
        rpc, http = [address() for _ in range(1 + ha)], [address() for _ in range(1 + ha)]
        self.rpc = rpc
        common = {
            "hadoop.tmp.dir": f"{folder}/tmp",
            "dfs.replication": replication,
            "dfs.namenode.datanode.registration.ip-hostname-check": "false",
            "dfs.namenode.safemode.extension": 0,
            # A DataNode that is gone is noticed within seconds.
            "dfs.heartbeat.interval": 1,
            "dfs.namenode.heartbeat.recheck-interval": 2000,
            "dfs.namenode.stale.datanode.interval": 3000,
            "dfs.namenode.avoid.read.stale.datanode": "true",
            "dfs.namenode.avoid.write.stale.datanode": "true",
            "dfs.blockreport.initialDelay": 0,
            # What it looks like when there is little room would be that of the machine.
            "dfs.namenode.resource.du.reserved": 0,
            "dfs.datanode.du.reserved": 0,
        }
        self.settings = {}
        if ha:
            self.uri = f"hdfs://{self.service}"
            self.settings = {
                "dfs.nameservices": self.service,
                f"dfs.ha.namenodes.{self.service}": "nn1,nn2",
                **{f"dfs.namenode.rpc-address.{self.service}.nn{n + 1}": rpc[n] for n in (0, 1)},
            }
            journal = address()
            common |= {
                **{f"dfs.namenode.http-address.{self.service}.nn{n + 1}": http[n] for n in (0, 1)},
                f"dfs.client.failover.proxy.provider.{self.service}": "org.apache.hadoop.hdfs.server.namenode.ha.ConfiguredFailoverProxyProvider",
                "dfs.namenode.shared.edits.dir": f"qjournal://{journal}/{self.service}",
                "dfs.ha.fencing.methods": "shell(/bin/true)",
                "dfs.ha.tail-edits.in-progress": "true",
                "dfs.ha.tail-edits.period": "1s",
                # Who asks a NameNode that was killed does not ask for long.
                "ipc.client.connect.max.retries": 1,
            }
        else:
            self.uri = f"hdfs://{rpc[0]}"
            common |= {"dfs.namenode.rpc-address": rpc[0], "dfs.namenode.http-address": http[0]}
        if kerberos is not None:
            self.settings |= {"dfs.data.transfer.protection": "privacy"}
            common |= kerberos.hadoop_settings | {"hadoop.rpc.protection": "privacy"}
        common |= self.settings | {"fs.defaultFS": self.uri}
        self.java_settings = {name: value for name, value in common.items() if name in self.settings or name.startswith("dfs.client.failover.")}
        daemon = lambda name, main, http, settings: Daemon(folder, name, main, common | settings, http, kerberos)
        self.journals = []
        if ha:
            page = address()
            own = {"dfs.journalnode.rpc-address": journal, "dfs.journalnode.http-address": page, "dfs.journalnode.edits.dir": f"{folder}/journal/edits"}
            self.journals = [daemon("journal", JOURNALNODE, page, own)]
        self.namenodes = []
        for number, page in enumerate(http, 1):
            own = {"dfs.namenode.name.dir": f"file://{folder}/nn{number}/name"} | ({"dfs.ha.namenode.id": f"nn{number}"} if ha else {})
            self.namenodes.append(daemon(f"nn{number}", NAMENODE, page, own))
        self.datanodes = []
        for number in range(1, datanodes + 1):
            page = address()
            own = {
                "dfs.datanode.data.dir": f"file://{folder}/dn{number}/blocks",
                "dfs.datanode.address": address(),
                "dfs.datanode.ipc.address": address(),
                "dfs.datanode.http.address": page,
                "dfs.datanode.hostname": "127.0.0.1",
            }
            self.datanodes.append(daemon(f"dn{number}", DATANODE, page, own))
        self.active = self.namenodes[0]

    def start(self):
        for daemon in self.journals + self.datanodes:
            daemon.spawn()
        for journal in self.journals:
            journal.wait_until_ready()
        first, *others = self.namenodes
        first.run(NAMENODE, "-format", "-force", "-nonInteractive")
        for other in others:
            # What `-bootstrapStandby` does, without a NameNode that runs.
            shutil.copytree(first.folder / "name", other.folder / "name")
        for namenode in self.namenodes:
            namenode.spawn()
        for namenode in self.namenodes:
            namenode.wait_until_ready()
        if others:
            self.run_admin_soon("-transitionToActive", "nn1")
        self.wait_until_writable()
        return self

    def wait_until_writable(self, seconds=60):
        until = time.monotonic() + seconds
        is_writable = lambda: (
            self.active.metric("FSNamesystemState", "NumLiveDataNodes") == sum(node.process.poll() is None for node in self.datanodes)
            and self.active.metric("FSNamesystemState", "FSState") == "Operational"
        )
        while True:
            try:
                if is_writable():
                    return
            except (urllib.error.URLError, OSError, IndexError, KeyError):
                pass
            if time.monotonic() > until:
                raise RuntimeError(f"HDFS is not ready: {(self.active.folder / 'log').read_text(errors='replace')[-2000:]}")
            time.sleep(0.1)

    def run_admin(self, *arguments):
        self.active.run(HA_ADMIN, *arguments)

    def run_admin_soon(self, *arguments):
        """The same once NameNodes can do it: one that was started has to listen, to be ready for it, and to hear of all blocks first."""
        until = time.monotonic() + READY_SECONDS
        while True:
            try:
                return self.run_admin(*arguments)
            except RuntimeError as error:
                reasons = ("safemode", "Connection refused", "still not started")
                if not any(reason in str(error) for reason in reasons) or time.monotonic() > until:
                    raise

    def administer(self, *arguments):
        """What `hdfs dfsadmin` does."""
        self.active.run(DFS_ADMIN, *arguments)

    def erasure_code(self, path, policy):
        """What is made below a folder from now on is coded so."""
        self.active.run(EC_ADMIN, "-enablePolicy", "-policy", policy)
        self.active.run(EC_ADMIN, "-setPolicy", "-path", path, "-policy", policy)

    def policies(self, path):
        """How many files in a folder are coded by which policy."""
        entries = self._web("GET", path, "LISTSTATUS")["FileStatuses"]["FileStatus"]
        return collections.Counter(entry.get("ecPolicy") for entry in entries)

    def fail_over(self):
        """Kills the active NameNode, and lets the other one take its place."""
        killed = self.active
        (standby,) = (node for node in self.namenodes if node is not killed)
        killed.kill()
        standby.run(HA_ADMIN, "-failover", "--forcefence", "--forceactive", killed.name, standby.name)
        self.active = standby

    def hand_over(self):
        """Makes the other NameNode the active one, with the consent of both."""
        (standby,) = (node for node in self.namenodes if node is not self.active)
        self.run_admin_soon("-failover", self.active.name, standby.name)
        self.active = standby

    def restart(self, daemon):
        daemon.start()
        self.wait_until_writable()

    def files(self, path):
        """The paths of all files below a folder, as the NameNode has them."""
        found, folders = [], [path]
        while folders:
            folder = folders.pop()
            try:
                entries = self._web("GET", folder, "LISTSTATUS")["FileStatuses"]["FileStatus"]
            except urllib.error.HTTPError as error:
                if error.code != 404:
                    raise
                continue
            for entry in entries:
                place = f"{folder.rstrip('/')}/{entry['pathSuffix']}"
                (folders if entry["type"] == "DIRECTORY" else found).append(place)
        return found

    def make_folder(self, path, mode):
        """Makes one of the file system's owner."""
        self._web("PUT", path, "MKDIRS", permission=mode)

    def set_mode(self, path, mode):
        """Says who may do what with it, as `hdfs dfs -chmod` does."""
        self._web("PUT", path, "SETPERMISSION", permission=mode)

    def give(self, path, user):
        """Makes it another user's."""
        self._web("PUT", path, "SETOWNER", owner=user)

    def _web(self, method, path, operation, **parameters):
        owner = getpass.getuser() if self.kerberos is None else "hdfs"
        parameters |= {"op": operation, "user.name": owner}
        url = f"http://{self.active.http}/webhdfs/v1{urllib.parse.quote(path)}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=10) as answer:
            return json.loads(answer.read() or "null")

    def stop(self):
        daemons = [daemon for daemon in self.datanodes + self.namenodes + self.journals if daemon.process and daemon.process.poll() is None]
        # What it holds is a test's.
        with concurrent.futures.ThreadPoolExecutor(max(len(daemons), 1)) as pool:
            list(pool.map(lambda daemon: daemon.stop(signal.SIGKILL), daemons))

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(self, *_):
        self.stop()
