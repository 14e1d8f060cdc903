//! `CREATE CATALOG` and `DROP CATALOG`.

use std::collections::BTreeMap;

use nunatak_core::{Code, Error, Result};
use nunatak_engine::sql::option_text;
use nunatak_engine::sql::statement::CreateCatalog;
use nunatak_state::CatalogDefinition;

use super::{Outcome, StatementContext};

/// The property that `USING` stands for.
const TYPE: &str = "type";

pub(super) async fn create(context: &StatementContext, create: CreateCatalog) -> Result<Outcome> {
    let mut properties = BTreeMap::from([(TYPE.to_owned(), create.kind)]);
    for (name, value) in &create.properties {
        if properties.insert(name.clone(), option_text(value)).is_some() {
            let hint = if name == TYPE { "USING names the type" } else { "name each property once" };
            return Err(Error::new(Code::InvalidArguments, format!("property '{name}' of catalog '{}' is named twice", create.name)).with_hint(hint));
        }
    }
    let made = context.catalogs.create(&create.name, CatalogDefinition { comment: create.comment, properties });
    match made.await {
        Err(error) if !(create.if_not_exists && error.code() == Code::AlreadyExists) => Err(error),
        _ => Ok(Outcome::done()),
    }
}

pub(super) async fn drop(context: &StatementContext, name: &str, if_exists: bool) -> Result<Outcome> {
    match context.catalogs.forget(name).await {
        Err(error) if !(if_exists && error.code() == Code::CatalogNotFound) => Err(error),
        _ => Ok(Outcome::done()),
    }
}
