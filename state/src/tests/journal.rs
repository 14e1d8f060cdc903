//! The journal of all coordinators.

use std::time::{Duration, Instant};

use etcd_client::{Client, Txn, TxnOp};
use nunatak_core::Code;
use serde_json::json;

use super::PATIENCE;
use super::server::{EtcdServer, once_up};
use crate::EtcdJournal;

#[tokio::test]
async fn all_write_it_and_the_newest_entries_are_kept() {
    let Some(server) = EtcdServer::start() else { return };
    let config = server.config("/one");
    let one = once_up(|| EtcdJournal::start(&config)).await;
    let other = once_up(|| EtcdJournal::start(&config)).await;
    let (first, second) = (json!({"a": 1}), json!({"b": 2}));
    let mut client = Client::connect([&config.endpoints[0]], None).await.unwrap();
    let lead = |mut client: Client, id: &'static str| async move {
        client.delete("/one/members/leader", None).await.unwrap();
        u64::try_from(client.put("/one/members/leader", id, None).await.unwrap().header().unwrap().revision()).unwrap()
    };
    let term = lead(client.clone(), "x").await;
    let (a, b) = tokio::join!(one.append(&first, term), other.append(&second, term));
    let (a, b) = (a.unwrap(), b.unwrap());
    assert_ne!(a, b);
    other.replace(a, &second, term).await.unwrap();
    other.replace(99, &second, term).await.unwrap();
    assert_eq!(other.entries(), [(a, second.clone()), (b, second.clone())].into());

    // Whose term has ended writes nothing, whether or not somebody leads.
    let (before, term) = (term, lead(client.clone(), "y").await);
    assert_eq!(one.append(&first, before).await.unwrap_err().code(), Code::ClusterStateUnavailable);
    assert_eq!(one.replace(a, &first, before).await.unwrap_err().code(), Code::ClusterStateUnavailable);
    client.delete("/one/members/leader", None).await.unwrap();
    assert_eq!(one.append(&first, term).await.unwrap_err().code(), Code::ClusterStateUnavailable);
    let term = lead(client.clone(), "z").await;
    assert_eq!(other.entries().len(), 2);

    for start in [3, 103, 203, 303, 403, 503, 603, 703, 803, 903] {
        let puts: Vec<TxnOp> = (start..start + 100).map(|number| TxnOp::put(format!("/one/maintenance/{number:020}"), "0", None)).collect();
        client.txn(Txn::new().and_then(puts)).await.unwrap();
    }
    let begin = Instant::now();
    while one.entries().len() < 1_002 && begin.elapsed() < PATIENCE {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(one.append(&first, term).await.unwrap(), 1_003);
    let entries = one.entries();
    assert_eq!((entries.len(), entries.first_key_value(), entries.last_key_value()), (1_000, Some((&4, &json!(0))), Some((&1_003, &first))));
}
