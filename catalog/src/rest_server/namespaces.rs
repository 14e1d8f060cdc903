//! Namespaces.

use std::collections::{BTreeMap, BTreeSet};

use nunatak_core::{Code, Error};

use super::messages::{ChangedNamespace, NamespaceAnswer};
use super::names::{joined, of_parameter, of_path};
use super::{Answer, Failure, NO_CONTENT, Page, RestServer, parsed};
use crate::messages::{NamespaceChange, NamespaceList, NewNamespace, levels};
use crate::table::TableName;

const LOCATION: &str = "location";

impl RestServer {
    /// The namespaces directly in `parent`, or at the top. A namespace that is there only by those in it is listed too: clients find these through it.
    pub async fn list_namespaces(&self, parent: Option<&str>, page: &Page) -> Result<Answer, Failure> {
        let parent = parent.filter(|parent| !parent.is_empty()).map(of_parameter).transpose()?;
        if let Some(parent) = &parent {
            self.properties(parent).await?;
        }
        let all = self.catalog.namespace_names().await?;
        let children = all.iter().filter_map(|name| child(name, parent.as_deref())).map(str::to_owned).collect();
        let (names, more) = page.of(children);
        let next_page_token = names.last().filter(|_| more).cloned();
        let owned = |name: &str| -> Vec<String> { levels(name).into_iter().map(str::to_owned).collect() };
        let lies_in =
            |name: &String| -> Option<String> { child(name, parent.as_deref()).filter(|child| child.len() < name.len()).map(str::to_owned) };
        let parents: BTreeSet<String> = all.iter().filter_map(lies_in).collect();
        let namespaces = names.iter().map(|name| owned(name)).collect();
        let parents = names.iter().filter(|name| parents.contains(*name)).map(|name| owned(name)).collect();
        Answer::json(&NamespaceList { next_page_token, namespaces, parents: Some(parents) })
    }

    /// Makes a namespace.
    pub async fn create_namespace(&self, body: &[u8]) -> Result<Answer, Failure> {
        self.check_writable()?;
        let NewNamespace { namespace, properties } = parsed(body)?;
        let (name, properties) = (joined(&namespace)?, properties.unwrap_or_default());
        self.catalog.create_namespace(&name, properties.clone()).await.map_err(Failure::not_committed)?;
        Answer::json(&NamespaceAnswer { namespace: levels(&name), properties: &properties })
    }

    /// A namespace with its properties. Its `location` is always among them, as with Java's `JdbcCatalog`: without it Trino does not stage tables that it
    /// makes, and then refuses their places as not empty.
    pub async fn load_namespace(&self, namespace: &str) -> Result<Answer, Failure> {
        let name = of_path(namespace)?;
        let mut properties = self.properties(&name).await?;
        if !properties.contains_key(LOCATION)
            && let Some(location) = self.location(&name).await
        {
            properties.insert(LOCATION.to_owned(), location);
        }
        Answer::json(&NamespaceAnswer { namespace: levels(&name), properties: &properties })
    }

    /// Whether a namespace is there.
    pub async fn namespace_exists(&self, namespace: &str) -> Result<Answer, Failure> {
        self.properties(&of_path(namespace)?).await?;
        Ok(Answer::empty(NO_CONTENT))
    }

    /// Changes the properties of a namespace.
    pub async fn change_namespace(&self, namespace: &str, body: &[u8]) -> Result<Answer, Failure> {
        self.check_writable()?;
        let name = of_path(namespace)?;
        let NamespaceChange { removals, updates } = parsed(body)?;
        let (removals, updates) = (removals.unwrap_or_default(), updates.unwrap_or_default());
        if let Some(both) = removals.iter().find(|key| updates.contains_key(*key)) {
            return Err(Failure::new(422, "UnprocessableEntityException", format!("property '{both}' cannot be both removed and set")));
        }
        let before = self.properties(&name).await?;
        let (removed, missing): (Vec<String>, Vec<String>) = removals.into_iter().partition(|key| before.contains_key(key));
        if !removed.is_empty() || !updates.is_empty() {
            self.catalog.set_namespace_properties(&name, &removed, &updates).await.map_err(Failure::not_committed)?;
        }
        Answer::json(&ChangedNamespace { updated: updates.keys().map(String::as_str).collect(), removed: texts(&removed), missing: texts(&missing) })
    }

    /// Drops an empty namespace.
    pub async fn drop_namespace(&self, namespace: &str) -> Result<Answer, Failure> {
        self.check_writable()?;
        self.catalog.drop_namespace(&of_path(namespace)?).await?;
        Ok(Answer::empty(NO_CONTENT))
    }

    /// The properties of a namespace; one that is there only by those in it has none. Errors: 404.
    pub(super) async fn properties(&self, name: &str) -> Result<BTreeMap<String, String>, Failure> {
        if let Some(found) = self.catalog.namespace(name).await? {
            return Ok(found.properties);
        }
        match self.catalog.namespace_names().await?.iter().any(|other| child(other, Some(name)).is_some()) {
            true => Ok(BTreeMap::new()),
            false => Err(Failure::no_such_namespace(name)),
        }
    }

    /// Where tables of a namespace go, if that is known: not of one that is there only by those in it, nor in a catalog that tells it only those who may make tables.
    async fn location(&self, name: &str) -> Option<String> {
        let place = self.catalog.stage_location(&TableName::new(name, "t")).await.ok()?;
        Some(place.rsplit_once('/')?.0.to_owned())
    }

    /// The tables or views of a namespace, `listed` by the catalog. Errors: 404.
    pub(super) async fn listed(&self, name: &str, listed: nunatak_core::Result<Vec<String>>) -> Result<Vec<String>, Failure> {
        match listed {
            Err(error) if error.code() == Code::SchemaNotFound => self.properties(name).await.map(|_| Vec::new()),
            other => other.map_err(|error: Error| error.into()),
        }
    }
}

fn texts(keys: &[String]) -> Vec<&str> {
    keys.iter().map(String::as_str).collect()
}

/// The namespace directly in `parent` that is `name`, or that it lies in.
fn child<'a>(name: &'a str, parent: Option<&str>) -> Option<&'a str> {
    let below = match parent {
        Some(parent) => name.strip_prefix(parent)?.strip_prefix('.')?,
        None => name,
    };
    let first = below.split('.').next().filter(|level| !level.is_empty())?;
    Some(&name[..name.len() - below.len() + first.len()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_are_one_level_down() {
        assert_eq!(child("a", None), Some("a"));
        assert_eq!(child("a.b.c", None), Some("a"));
        assert_eq!(child("a.b.c", Some("a")), Some("a.b"));
        assert_eq!((child("ab.c", Some("a")), child("a", Some("a"))), (None, None));
    }
}
