//! The members of a cluster.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An executor of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecutorMember {
    /// The process: a new one each time it starts, even at the same address.
    pub id: String,
    /// The host by which other members reach it.
    pub host: String,
    /// The port of its cluster service.
    pub port: u16,
    /// How many partitions it runs at the same time.
    pub slots: usize,
    /// Memory of its queries, in bytes.
    pub memory_bytes: u64,
    /// Whether it ends what it runs and takes nothing new.
    pub draining: bool,
}

impl ExecutorMember {
    /// `host:port` of its cluster service.
    pub fn address(&self) -> String {
        authority(&self.host, self.port)
    }

    /// `http://host:port`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }
}

impl fmt::Display for ExecutorMember {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}:{}", self.id, self.host, self.port)
    }
}

/// A coordinator of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CoordinatorMember {
    /// The process: a new one each time it starts, even at the same address.
    pub id: String,
    /// The host by which other members reach it.
    pub host: String,
    /// The port of its cluster service.
    pub port: u16,
    /// Where clients reach it by Flight SQL, `host:port`.
    pub flight: String,
    /// Where clients reach it by HTTP, `host:port`.
    pub http: String,
}

impl CoordinatorMember {
    /// `host:port` of its cluster service.
    pub fn address(&self) -> String {
        authority(&self.host, self.port)
    }
}

impl fmt::Display for CoordinatorMember {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}:{}", self.id, self.host, self.port)
    }
}

/// `host:port`; an IPv6 address stands in brackets.
pub fn authority(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// A process that announces itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Member {
    /// An executor.
    Executor(ExecutorMember),
    /// A coordinator.
    Coordinator(CoordinatorMember),
}

impl Member {
    /// Its id.
    pub fn id(&self) -> &str {
        match self {
            Self::Executor(executor) => &executor.id,
            Self::Coordinator(coordinator) => &coordinator.id,
        }
    }
}

/// An executor that is alive, and since when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    /// The executor.
    pub executor: ExecutorMember,
    /// Which of all joins of the cluster was its: a higher one for an executor that was gone and came back.
    pub number: u64,
}

/// The members of a cluster at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Membership {
    /// The executors that are alive, those that drain too, by id.
    pub executors: Vec<Joined>,
    /// How many executors have been lost or have left so far.
    pub departures: u64,
    /// The coordinators that are alive, by id.
    pub coordinators: Vec<CoordinatorMember>,
    /// The id of the coordinator that leads, if one does.
    pub leader: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        let executor = |host: &str| ExecutorMember { id: "a".into(), host: host.into(), port: 1, slots: 2, memory_bytes: 3, draining: false };
        assert_eq!(executor("a").url(), "http://a:1");
        assert_eq!(executor("::1").url(), "http://[::1]:1");
    }

    #[test]
    fn members_are_read_by_other_versions() {
        let text = r#"{"id":"a","host":"h","port":1,"flight":"h:2","http":"h:3","version":"9.9"}"#;
        let coordinator: CoordinatorMember = serde_json::from_str(text).unwrap();
        assert_eq!((coordinator.address().as_str(), coordinator.http.as_str()), ("h:1", "h:3"));
    }
}
