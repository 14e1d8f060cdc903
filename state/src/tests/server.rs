//! A real etcd of one server, for tests.

use std::future::Future;
use std::io::ErrorKind;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nunatak_core::Result;
use nunatak_core::config::Etcd;
use tempfile::TempDir;

use super::PATIENCE;

/// The program of Debian's package, and the newest one, which `scripts/setup servers` builds.
const DEBIAN: &str = "etcd";
const NEWEST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../.cache/etcd/etcd");

/// A server over a folder of its own. It is killed when it is dropped.
pub(super) struct EtcdServer {
    program: &'static str,
    folder: TempDir,
    ports: [u16; 2],
    process: Child,
}

impl EtcdServer {
    /// Starts one of Debian's; `None`, with a word on it, if the program is not installed.
    pub(super) fn start() -> Option<Self> {
        Self::of(DEBIAN)
    }

    /// The same with the newest.
    pub(super) fn start_newest() -> Option<Self> {
        Self::of(NEWEST)
    }

    fn of(program: &'static str) -> Option<Self> {
        let free = || TcpListener::bind("127.0.0.1:0").unwrap();
        let (client, peer) = (free(), free());
        let ports = [client.local_addr().unwrap().port(), peer.local_addr().unwrap().port()];
        drop((client, peer));
        let folder = tempfile::tempdir().unwrap();
        match spawn(program, &folder, ports) {
            Ok(process) => Some(Self { program, folder, ports, process }),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                eprintln!("not tested: the program {program} is missing (scripts/setup servers)");
                None
            }
            Err(error) => panic!("etcd cannot be started: {error}"),
        }
    }

    pub(super) fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    pub(super) fn restart(&mut self) {
        self.process = spawn(self.program, &self.folder, self.ports).unwrap();
    }

    /// The configuration of a cluster in it.
    pub(super) fn config(&self, prefix: &str) -> Etcd {
        Etcd {
            endpoints: vec![format!("http://127.0.0.1:{}", self.ports[0])],
            prefix: prefix.to_owned(),
            user: None,
            password: None,
            ca: None,
            cert: None,
            key: None,
            start_wait: Duration::ZERO,
        }
    }
}

impl Drop for EtcdServer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What `start` gives, once the server answers.
pub(super) async fn once_up<T, W: Future<Output = Result<T>>>(start: impl Fn() -> W) -> T {
    let begin = Instant::now();
    loop {
        match start().await {
            Ok(started) => return started,
            Err(error) if begin.elapsed() > PATIENCE => panic!("{error}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

fn spawn(program: &str, folder: &TempDir, [client, peer]: [u16; 2]) -> std::io::Result<Child> {
    let (client, peer) = (format!("http://127.0.0.1:{client}"), format!("http://127.0.0.1:{peer}"));
    Command::new(program)
        .args(["--name", "m1", "--heartbeat-interval", "50", "--election-timeout", "500", "--initial-cluster", &format!("m1={peer}")])
        .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
        .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
        .arg("--data-dir")
        .arg(folder.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
}
