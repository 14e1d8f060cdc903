//! What crosses the wire between coordinator and executors, besides what DataFusion itself can say: one registry of our plan nodes.
//!
//! [`Codec`] puts [`node::Node`] after a mark, so that the codec of an execution engine, with nodes of its own, can stand beside it.
//! Scans are written in [`scan`], writes in [`write`]. A node that is added to plans gets its entry here and in the round-trip test.

mod node;
mod scan;
#[cfg(test)]
mod tests;
mod write;

use std::sync::Arc;

use datafusion::error::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::physical_plan::ExecutionPlan;
use datafusion_proto::physical_plan::{DefaultPhysicalExtensionCodec, PhysicalExtensionCodec, PhysicalProtoConverterExtension};
use nunatak_core::Error;
use prost::Message;

use crate::error::into_datafusion;
use crate::rules::OnceExec;
use crate::scan::ScanContext;
use node::{Kind, Node, Once};

/// What our nodes begin with. The first byte is no valid protobuf tag, so that no other codec takes them for its own.
const MARK: &[u8] = b"\x00nunatak1";

/// Writes and reads the plan nodes of this crate; any other is left to a second codec.
#[derive(Debug)]
pub struct Codec {
    scan: Arc<ScanContext>,
    others: Arc<dyn PhysicalExtensionCodec>,
}

impl Codec {
    /// A codec for our nodes alone. Scans and writes that it reads work with `scan`.
    pub fn new(scan: Arc<ScanContext>) -> Self {
        Self { scan, others: Arc::new(DefaultPhysicalExtensionCodec {}) }
    }

    /// The same, which leaves what it does not know to `others`.
    #[must_use]
    pub fn with_others(self, others: Arc<dyn PhysicalExtensionCodec>) -> Self {
        Self { others, ..self }
    }
}

impl PhysicalExtensionCodec for Codec {
    fn try_decode(
        &self,
        bytes: &[u8],
        inputs: &[Arc<dyn ExecutionPlan>],
        context: &TaskContext,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let Some(bytes) = bytes.strip_prefix(MARK) else { return self.others.try_decode(bytes, inputs, context, converter) };
        let node = Node::decode(bytes).map_err(|error| unreadable(&error.to_string()))?;
        match node.kind.ok_or_else(|| unreadable("its kind is missing"))? {
            Kind::IcebergScan(scan) => scan::decode_iceberg(&scan, &scan::Decoding { scan: &self.scan, context, codec: self, converter }),
            Kind::RowFileScan(scan) => scan::decode_row_files(&scan, &scan::Decoding { scan: &self.scan, context, codec: self, converter }),
            Kind::IcebergWrite(write) => write::decode(&write, inputs, self.scan.storages()),
            Kind::Once(Once {}) => match inputs {
                [input] => Ok(Arc::new(OnceExec::new(Arc::clone(input)))),
                _ => Err(unreadable("what is read once has exactly one input")),
            },
        }
    }

    fn try_encode(&self, plan: Arc<dyn ExecutionPlan>, bytes: &mut Vec<u8>, converter: &dyn PhysicalProtoConverterExtension) -> Result<()> {
        let kind = match scan::encode(&plan, self, converter)? {
            Some(kind) => Some(kind),
            None if plan.is::<OnceExec>() => Some(Kind::Once(Once {})),
            None => write::encode(&plan)?,
        };
        let Some(kind) = kind else { return self.others.try_encode(plan, bytes, converter) };
        bytes.extend_from_slice(MARK);
        Node { kind: Some(kind) }.encode(bytes).map_err(|error| into_datafusion(Error::internal(format!("a plan node cannot be written: {error}"))))
    }
}

/// A node that cannot be read: the members of a cluster are of different versions, or this is a defect.
fn unreadable(why: &str) -> DataFusionError {
    into_datafusion(Error::internal(format!("a plan node cannot be read: {why}")).with_hint("all members of a cluster must be of one version"))
}
