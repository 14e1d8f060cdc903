//! The namespaces of a server: SQL has their levels joined by dots.

use std::collections::{BTreeSet, HashSet};

use futures::stream::{self, StreamExt, TryStreamExt};
use nunatak_core::Result;

use super::CALLS_MAX;
use super::client::Call;
use super::connection::Connection;
use super::messages::{NamespaceProperties, filled};
use crate::backend::Namespace;
use crate::messages::NamespaceList;

impl Connection {
    /// The namespaces directly in another one (as levels), or at the top, each with whether there may be others in it; none where the server knows no levels.
    async fn children(&self, parent: Option<&str>) -> Result<Vec<(String, bool)>> {
        let mut url = self.paths.of("namespaces")?;
        if let Some(parent) = parent {
            let query = format!("parent={}", self.paths.namespace(parent)?);
            url.set_query(Some(&query));
        }
        let (mut found, mut tokens) = (Vec::new(), HashSet::new());
        let mut token = String::new();
        loop {
            let reply = self.reply(Call::get(self.paged(&url, &token), "list schemas")).await?;
            if parent.is_some() && matches!(reply.answer.status.as_u16(), 400 | 404 | 406 | 501) {
                return Ok(Vec::new());
            }
            if !reply.answer.status.is_success() {
                return Err(reply.failure().into_error());
            }
            let NamespaceList { namespaces, next_page_token, parents } = reply.parsed()?;
            let may_have_some = |levels: &Vec<String>| parents.as_ref().is_none_or(|parents| parents.contains(levels));
            // SQL has no way to name a level with a dot in it, nor the root, which some servers list too.
            let is_named = |levels: &Vec<String>| !levels.is_empty() && levels.iter().all(|level| !level.is_empty() && !level.contains('.'));
            found.extend(namespaces.into_iter().filter(is_named).map(|levels| (levels.join("."), may_have_some(&levels))));
            match next_page_token.filter(|next| !next.is_empty() && tokens.insert(next.clone())) {
                Some(next) => token = next,
                None => return Ok(found),
            }
        }
    }

    /// A namespace, if it is there.
    pub(super) async fn find_namespace(&self, name: String) -> Result<Option<Namespace>> {
        let call = Call::get(self.paths.of_namespace(&name, "")?, format!("load schema '{name}'"));
        let reply = self.reply(call).await?;
        if reply.answer.is_missing() {
            return Ok(None);
        }
        if !reply.answer.status.is_success() {
            return Err(reply.failure().into_error());
        }
        let NamespaceProperties { properties } = reply.parsed()?;
        Ok(Some(Namespace { name, properties: filled(properties.unwrap_or_default()) }))
    }

    /// The names of all namespaces.
    pub(super) async fn namespace_names(&self) -> Result<Vec<String>> {
        let mut names = BTreeSet::new();
        let mut found = vec![self.children(None).await?];
        while !found.is_empty() {
            let mut parents = Vec::new();
            for (name, may_have_some) in found.into_iter().flatten() {
                // Some servers give all of them whatever the parent.
                if names.insert(name.clone()) && may_have_some {
                    parents.push(name);
                }
            }
            let asked: Vec<_> = parents.iter().map(|parent| self.children(Some(parent.as_str()))).collect();
            found = stream::iter(asked).buffer_unordered(CALLS_MAX).try_collect().await?;
        }
        Ok(names.into_iter().collect())
    }
}
