//! The journal of all coordinators.

use std::time::{Duration, Instant};

use etcd_client::{Client, Txn, TxnOp};
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
    let (a, b) = tokio::join!(one.append(&first), other.append(&second));
    let (a, b) = (a.unwrap(), b.unwrap());
    assert_ne!(a, b);
    other.replace(a, &second).await.unwrap();
    other.replace(99, &second).await.unwrap();
    assert_eq!(other.entries(), [(a, second.clone()), (b, second.clone())].into());

    let mut client = Client::connect([&config.endpoints[0]], None).await.unwrap();
    for start in [3, 103, 203, 303, 403, 503, 603, 703, 803, 903] {
        let puts: Vec<TxnOp> = (start..start + 100).map(|number| TxnOp::put(format!("/one/maintenance/{number:020}"), "0", None)).collect();
        client.txn(Txn::new().and_then(puts)).await.unwrap();
    }
    let begin = Instant::now();
    while one.entries().len() < 1_002 && begin.elapsed() < PATIENCE {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(one.append(&first).await.unwrap(), 1_003);
    let entries = one.entries();
    assert_eq!((entries.len(), entries.first_key_value(), entries.last_key_value()), (1_000, Some((&4, &json!(0))), Some((&1_003, &first))));
}
