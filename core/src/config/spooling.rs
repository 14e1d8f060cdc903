//! `[spooling]`: where results lie for clients of Trino's protocol that fetch them from there, and for how long.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use figment::value::Dict;
use serde::{Deserialize, Serialize};

use super::scalar::Scalar;
use super::{Invalid, Key, catalog};
use crate::units::{ByteSize, HumanDuration};

pub(super) const KEYS: &[Key] = &[
    Key {
        name: "location",
        description: "Where results are spooled for clients that ask for it: a folder such as file:///data/spooled or s3://bucket/spooled, for this cluster alone; 'none' for nowhere. Unless it is named, `standalone` has a folder in its data directory, and `coordinator` spools nothing.",
    },
    Key { name: "segment_initial", description: "What the first segment of a result aims at, before it is compressed; the next ones grow." },
    Key { name: "segment_max", description: "What a segment aims at most. One has a row at least." },
    Key { name: "inline_rows", description: "Up to so many rows come in the answers themselves; 0 spools all of them." },
    Key { name: "inline_max", description: "Up to this size rows come in the answers themselves." },
    Key { name: "ttl", description: "For how long a segment can be fetched; then it is deleted, if its client has not said before that it has it." },
    Key {
        name: "retrieval",
        description: "How segments are fetched: 'coordinator' from this server, 'storage' from the store by addresses that it has signed, which clients must reach.",
    },
    Key {
        name: "secret",
        description: "What addresses of segments are signed with: text, ${ENV:NAME} or ${FILE:/path}, 32 characters or more, the same for all coordinators. Without it, the key that a cluster in etcd has, or one of this process.",
    },
];

/// The section in it with the properties of the storage, by the names that catalogs have for them.
pub(super) const STORAGE: &str = "spooling.storage";

/// Trino's own defaults.
const SEGMENT_INITIAL: ByteSize = ByteSize(8 << 20);
const SEGMENT_MAX: ByteSize = ByteSize(16 << 20);
const INLINE_ROWS: u64 = 1_000;
const INLINE_MAX: ByteSize = ByteSize(128 << 10);
const TTL: Duration = Duration::from_secs(12 * 60 * 60);
/// Smaller ones are more requests than rows.
const SEGMENT_MIN: ByteSize = ByteSize(4 << 10);
/// Clients have the size of a segment as a number of 32 bits, and one is in memory as a whole.
const SEGMENT_LIMIT: ByteSize = ByteSize(256 << 20);
const INLINE_LIMIT: ByteSize = ByteSize(16 << 20);
/// Who guesses it reads the results of others.
const SECRET_CHARS_MIN: usize = 32;
/// No store signs addresses for longer.
const SIGNED_MAX: Duration = Duration::from_secs(7 * 24 * 60 * 60);
const TTL_MIN: Duration = Duration::from_secs(1);

/// Where results lie for clients that fetch them from there.
#[derive(Clone, PartialEq, Eq)]
pub struct Spooling {
    /// Where.
    pub location: SpoolLocation,
    /// How it is reached, by the names that catalogs have for properties of storage.
    pub storage: BTreeMap<String, String>,
    /// What the first segment of a result aims at, in bytes before they are compressed.
    pub segment_initial_bytes: usize,
    /// What segments aim at most, in bytes before they are compressed.
    pub segment_bytes_max: usize,
    /// Rows up to this number come in the answers.
    pub inline_rows_max: u64,
    /// Rows up to this size in bytes come in the answers.
    pub inline_bytes_max: usize,
    /// How long a segment can be fetched.
    pub ttl: Duration,
    /// Where it is fetched from.
    pub retrieval: Retrieval,
    /// What addresses are signed with, if that is not the key of the cluster.
    pub secret: Option<String>,
}

/// Where segments lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SpoolLocation {
    /// Nobody has said where.
    Unnamed,
    /// Results are not spooled.
    Nowhere,
    /// In the data directory.
    DataDir,
    /// In a folder, by its location.
    At(String),
}

/// Where segments are fetched from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Retrieval {
    /// From any coordinator.
    Coordinator,
    /// From the store, by an address that is signed for a time.
    Storage,
}

/// Without secrets.
impl fmt::Debug for Spooling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let storage: BTreeMap<&str, _> = self.storage.iter().map(|(name, value)| (name.as_str(), catalog::shown(name, value))).collect();
        f.debug_struct("Spooling")
            .field("location", &self.location)
            .field("storage", &storage)
            .field("segment_initial_bytes", &self.segment_initial_bytes)
            .field("segment_bytes_max", &self.segment_bytes_max)
            .field("inline_rows_max", &self.inline_rows_max)
            .field("inline_bytes_max", &self.inline_bytes_max)
            .field("ttl", &self.ttl)
            .field("retrieval", &self.retrieval)
            .field("secret", &self.secret.as_ref().map(|_| "***"))
            .finish()
    }
}

impl Spooling {
    /// Spools into the data directory, unless somebody has said where, or that nothing is spooled.
    pub fn in_data_dir(&mut self) {
        if self.location == SpoolLocation::Unnamed {
            self.location = SpoolLocation::DataDir;
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    location: String,
    segment_initial: ByteSize,
    segment_max: ByteSize,
    inline_rows: Rows,
    inline_max: ByteSize,
    ttl: HumanDuration,
    retrieval: Retrieval,
    secret: String,
    #[serde(default, skip_serializing_if = "Dict::is_empty")]
    storage: Dict,
}

/// A number of rows. The environment always gives text.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(try_from = "Scalar", into = "u64")]
struct Rows(u64);

impl TryFrom<Scalar> for Rows {
    type Error = String;

    fn try_from(scalar: Scalar) -> Result<Self, String> {
        let text = scalar.to_string();
        text.trim().parse().map(Self).map_err(|_| format!("'{text}' is not a number of rows"))
    }
}

impl From<Rows> for u64 {
    fn from(rows: Rows) -> Self {
        rows.0
    }
}

impl Default for Raw {
    fn default() -> Self {
        Self {
            location: String::new(),
            segment_initial: SEGMENT_INITIAL,
            segment_max: SEGMENT_MAX,
            inline_rows: Rows(INLINE_ROWS),
            inline_max: INLINE_MAX,
            ttl: HumanDuration(TTL),
            retrieval: Retrieval::Coordinator,
            secret: String::new(),
            storage: Dict::new(),
        }
    }
}

impl Raw {
    pub(super) fn check(self) -> Result<Spooling, Invalid> {
        let size = |key: &'static str, size: ByteSize, min: ByteSize, max: ByteSize| {
            if size < min || size > max {
                return Err(Invalid::new(key, format!("{size} is not between {min} and {max}")));
            }
            Ok(usize::try_from(size.0).unwrap_or(usize::MAX))
        };
        let segment_bytes_max = size("spooling.segment_max", self.segment_max, SEGMENT_MIN, SEGMENT_LIMIT)?;
        let segment_initial_bytes = size("spooling.segment_initial", self.segment_initial, SEGMENT_MIN, SEGMENT_LIMIT)?.min(segment_bytes_max);
        let inline_bytes_max = size("spooling.inline_max", self.inline_max, ByteSize(0), INLINE_LIMIT)?;
        let location = match self.location.trim() {
            "" => SpoolLocation::Unnamed,
            "none" => SpoolLocation::Nowhere,
            place if place.starts_with('/') || place.contains(":/") => SpoolLocation::At(place.trim_end_matches('/').to_owned()),
            other => {
                let why = format!("'{other}' is not a place such as file:///data/spooled or s3://bucket/spooled, nor 'none'");
                return Err(Invalid::new("spooling.location", why));
            }
        };
        if self.ttl.0 < TTL_MIN {
            return Err(Invalid::new("spooling.ttl", format!("{} is less than the minimum of {}", self.ttl, HumanDuration(TTL_MIN))));
        }
        if self.retrieval == Retrieval::Storage && self.ttl.0 > SIGNED_MAX {
            let why = format!("{} is longer than the {} for which stores sign addresses (spooling.retrieval)", self.ttl, HumanDuration(SIGNED_MAX));
            return Err(Invalid::new("spooling.ttl", why));
        }
        let secret = catalog::resolve(self.secret.trim()).map_err(|why| Invalid::new("spooling.secret", why))?;
        let secret = Some(secret.trim().to_owned()).filter(|secret| !secret.is_empty());
        if secret.as_ref().is_some_and(|secret| secret.chars().count() < SECRET_CHARS_MIN) {
            return Err(Invalid::new("spooling.secret", format!("it is shorter than {SECRET_CHARS_MIN} characters")));
        }
        let mut storage = BTreeMap::new();
        for (name, value) in catalog::flat(&self.storage) {
            let value = catalog::resolve(&value).map_err(|why| Invalid::new(format!("{STORAGE}.{name}"), why))?;
            storage.insert(name, value);
        }
        if !storage.is_empty() && !matches!(location, SpoolLocation::At(_)) {
            return Err(Invalid::new("spooling.location", format!("it is missing; there are properties of its storage ({STORAGE})")));
        }
        if self.retrieval == Retrieval::Storage && !matches!(location, SpoolLocation::At(_) | SpoolLocation::Nowhere) {
            let why = "'storage' needs a spooling.location in a store that signs addresses, such as s3://bucket/spooled";
            return Err(Invalid::new("spooling.retrieval", why));
        }
        if self.retrieval == Retrieval::Storage && storage.get("s3.sse.type").is_some_and(|kind| kind == "custom") {
            return Err(Invalid::new("spooling.retrieval", "'storage' would need the key of s3.sse.type 'custom' in each client"));
        }
        Ok(Spooling {
            location,
            storage,
            segment_initial_bytes,
            segment_bytes_max,
            inline_rows_max: self.inline_rows.0,
            inline_bytes_max,
            ttl: self.ttl.0,
            retrieval: self.retrieval,
            secret,
        })
    }
}
