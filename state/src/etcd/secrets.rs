//! What the coordinators of a cluster share and nobody else may know: `secrets/handles`, the key by which they know what they have given out.

use std::sync::{Arc, Mutex};

use etcd_client::KeyValue;
use nunatak_core::config::Etcd;
use nunatak_core::expiring::lock;
use nunatak_core::{Code, Error, Result};

use super::mirror::{Mirror, Value};
use super::patience;
use crate::HandleKey;

/// The name of the key of handles.
const HANDLES: &str = "handles";

/// The secrets.
#[derive(Debug)]
pub(super) struct Secrets {
    mirror: Arc<Mirror<HandleKey>>,
    /// The key as it was seen last: an etcd that has lost its data makes no handle a bad one before another key is there.
    handles: Mutex<HandleKey>,
}

impl Value for HandleKey {
    fn read(pair: &KeyValue) -> serde_json::Result<Self> {
        serde_json::from_slice(pair.value())
    }
}

impl Secrets {
    /// Reads what is there, makes what is not, and follows it as long as the secrets are referred to.
    ///
    /// Errors: those of [`Mirror::start`], `CONFIGURATION_INVALID` for a secret that cannot be read.
    pub(super) async fn start(etcd: &Etcd) -> Result<Self> {
        let mirror = Mirror::<HandleKey>::start(etcd, "secrets").await?;
        // Of several coordinators that begin at once one makes it, and all have that one.
        let generated = HandleKey::generate();
        patience::until_answered(etcd, || mirror.put(HANDLES, &generated, None, None)).await?;
        let unreadable = || {
            let message = format!("the key '{}' in etcd has no secret that can be read", super::prefix(etcd, "secrets/") + HANDLES);
            Error::new(Code::ConfigurationInvalid, message)
                .with_hint("delete it: another one is made then, and clients ask for their statements again")
        };
        let handles = patience::until_answered(etcd, || mirror.get(HANDLES)).await?.ok_or_else(unreadable)?;
        Ok(Self { mirror, handles: Mutex::new(handles) })
    }

    /// The key of handles and tickets.
    pub(super) fn handles(&self) -> HandleKey {
        let mut last = lock(&self.handles);
        if let Some(known) = self.mirror.known(HANDLES) {
            *last = known;
        }
        last.clone()
    }
}
