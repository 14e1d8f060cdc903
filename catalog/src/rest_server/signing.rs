//! Requests to storage that clients have signed here, since they get no keys: each for one table, and for nothing but what lies below its location.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use nunatak_core::Code;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::creation::created;
use super::messages::NewTable;
use super::names::{of_path, table_name};
use super::{Answer, Failure, RestServer, parsed};
use crate::backend::Catalog;
use crate::messages::{SignRequest, SignedRequest, levels};
use crate::spec::{NestedField, PrimitiveType, Schema, Type};
use crate::storage::{Location, Storage};
use crate::table::{Table, TableName};

/// All that is not sure to mean itself.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// Between the levels of a namespace in an address.
const SEPARATOR: &str = "%1F";

/// That requests of clients are signed.
#[derive(Clone, Debug)]
pub struct Signing {
    /// Where tables lie: requests are signed for those below it.
    pub root: Location,
    /// What clients are told of storage.
    pub properties: BTreeMap<String, String>,
}

/// What requests are signed for.
#[derive(Debug)]
pub(super) struct Place {
    /// Which of all catalogs that have had its name.
    catalog: Weak<dyn Catalog>,
    location: Location,
    storage: Arc<Storage>,
}

impl Place {
    fn is_of(&self, catalog: &Arc<dyn Catalog>) -> bool {
        std::ptr::addr_eq(self.catalog.as_ptr(), Arc::as_ptr(catalog))
    }
}

impl Signing {
    fn holds(&self, location: &Location) -> bool {
        self.root.contains(location) && self.root != *location
    }
}

impl RestServer {
    /// What a client is told that has its requests for a table signed; `None` where none are.
    pub(super) fn signing(&self, table: &Table) -> Option<BTreeMap<String, String>> {
        let signing = self.access.signing.as_ref()?;
        let location = table.metadata.location();
        if !Location::parse(location).is_ok_and(|location| signing.holds(&location)) {
            return None;
        }
        let encoded = |text: &str| utf8_percent_encode(text, ENCODED).to_string();
        let TableName { namespace, table: name } = &table.name;
        let namespace = levels(namespace).into_iter().map(encoded).collect::<Vec<_>>().join(SEPARATOR);
        let mut endpoint = format!("v1/{}/namespaces/{namespace}/tables/{}/sign", encoded(self.catalog.name()), encoded(name));
        if table.metadata_location.is_none() {
            // Nobody knows where a table lies that is still to be made.
            endpoint.push_str(&format!("?location={}", encoded(location)));
        }
        let mut told = signing.properties.clone();
        // PyIceberg's name for it.
        told.insert("s3.signer".to_owned(), "S3V4RestSigner".to_owned());
        told.insert("s3.remote-signing-enabled".to_owned(), "true".to_owned());
        told.insert("s3.signer.endpoint".to_owned(), endpoint);
        Some(told)
    }

    /// Signs a request to storage for a table; `staged` is where it is to lie if it is still to be made.
    ///
    /// Errors: 403 for a request that touches something else.
    pub async fn sign(&self, namespace: &str, table: &str, staged: Option<&str>, body: &[u8]) -> Result<Answer, Failure> {
        let name = table_name(&of_path(namespace)?, table)?;
        let request: SignRequest = parsed(body)?;
        let unsigned = || Failure::unsupported(format!("requests to the storage of catalog '{}' are not signed", self.catalog.name()));
        let signing = self.access.signing.as_ref().ok_or_else(unsigned)?;
        let key = [self.catalog.name(), name.namespace.as_str(), name.table.as_str(), staged.unwrap_or_default()].join("\0");
        if let Some(place) = self.metadata.places.get(&key).await.filter(|place| place.is_of(&self.catalog)) {
            match self.signed(&place, &request).await {
                // It may lie elsewhere by now: a table that was dropped and made again does.
                Err(error) if error.code() == Code::PermissionDenied => {}
                signed => return signature(&request, &signed?),
            }
        }
        let place = Arc::new(self.place(&name, staged, signing).await?);
        self.metadata.places.insert(key, Arc::clone(&place)).await;
        signature(&request, &self.signed(&place, &request).await?)
    }

    async fn signed(&self, place: &Place, request: &SignRequest) -> nunatak_core::Result<SignedRequest> {
        place.storage.signer(&place.location)?.sign(&place.location, request, !self.access.read_only).await
    }

    /// Where a table lies, if nothing else lies there: clients can name any place for one that they make.
    async fn place(&self, name: &TableName, staged: Option<&str>, signing: &Signing) -> Result<Place, Failure> {
        let table = match (self.catalog.load_table(name).await?, staged) {
            (Some(table), _) => table,
            (None, Some(location)) => self.staged(name, location).await?,
            (None, None) => return Err(Failure::no_such_table(name)),
        };
        let location = Location::parse(table.metadata.location())?;
        if !signing.holds(&location) {
            return Err(Failure::forbidden(format!("table '{name}' does not lie below '{}'; requests for it are not signed", signing.root)));
        }
        if let Some(other) = self.catalog.neighbours(&table).await?.first() {
            return Err(Failure::forbidden(format!("the files of table '{name}' and those of others, such as '{}', are in one place", other.name)));
        }
        Ok(Place { catalog: Arc::downgrade(&self.catalog), location, storage: table.storage })
    }

    /// A table that is still to be made.
    async fn staged(&self, name: &TableName, location: &str) -> Result<Table, Failure> {
        self.check_writable()?;
        let field = NestedField::optional(1, "staged", Type::Primitive(PrimitiveType::Int)).into();
        let schema = Schema::builder().with_fields([field]).build();
        let schema = schema.map_err(|error| Failure::bad_request(format!("table '{name}' cannot be described: {error}")))?;
        let request = NewTable {
            name: name.table.clone(),
            location: Some(location.to_owned()),
            schema,
            partition_spec: None,
            write_order: None,
            stage_create: Some(true),
            properties: None,
        };
        let metadata = created(name, request, location.to_owned())?;
        let storage = self.catalog.staged_storage(name, location).await?;
        Ok(Table::new(name.clone(), metadata.into(), None, storage))
    }
}

fn signature(request: &SignRequest, signed: &SignedRequest) -> Result<Answer, Failure> {
    let is_read = matches!(request.method.as_str(), "GET" | "HEAD");
    Ok(Answer { may_keep: is_read && !signed.headers.contains_key("range"), ..Answer::json(signed)? })
}
