//! Names in requests, and lists of names by pages. A catalog of ours joins the levels of a namespace by dots.

use percent_encoding::percent_decode_str;

use super::Failure;
use crate::messages::Identifier;
use crate::table::TableName;

/// What stands between the levels of a namespace in an address, once that is decoded.
const SEPARATOR: char = '\u{1f}';
/// The same in a parameter that was encoded twice, as older clients do.
const ENCODED_SEPARATOR: &str = "%1F";
/// Names of a page if the client does not say how many it wants.
const PAGE_SIZE: usize = 1_000;
/// Names of a page at most.
const PAGE_SIZE_MAX: usize = 10_000;

/// A namespace as we have it.
///
/// Errors: 400 for no level at all, an empty one, and one with a dot.
pub(super) fn joined<T: AsRef<str>>(levels: &[T]) -> Result<String, Failure> {
    let fits = |level: &T| !level.as_ref().is_empty() && !level.as_ref().contains('.');
    if levels.is_empty() || !levels.iter().all(fits) {
        let shown: Vec<&str> = levels.iter().map(AsRef::as_ref).collect();
        return Err(Failure::bad_request(format!("{shown:?} is no namespace here: a level is not empty and has no '.' in it")));
    }
    Ok(levels.iter().map(AsRef::as_ref).collect::<Vec<&str>>().join("."))
}

/// A namespace as an address has it, decoded.
pub(super) fn of_path(text: &str) -> Result<String, Failure> {
    joined(&text.split(SEPARATOR).collect::<Vec<_>>())
}

/// A namespace as a parameter has it, decoded once.
pub(super) fn of_parameter(text: &str) -> Result<String, Failure> {
    if text.contains(SEPARATOR) || !text.contains(ENCODED_SEPARATOR) {
        return of_path(text);
    }
    let levels = text.split(ENCODED_SEPARATOR).map(|level| percent_decode_str(level).decode_utf8());
    let levels = levels.collect::<Result<Vec<_>, _>>().map_err(|_| Failure::bad_request(format!("'{text}' is no namespace: it is not UTF-8")))?;
    joined(&levels)
}

/// The name of a table or view in a namespace of ours.
pub(super) fn table_name(namespace: &str, name: &str) -> Result<TableName, Failure> {
    match name {
        "" => Err(Failure::bad_request("the name of a table or view is empty")),
        _ => Ok(TableName::new(namespace, name)),
    }
}

/// The name of a table or view that a request has as a whole.
pub(super) fn whole_name(identifier: &Identifier) -> Result<TableName, Failure> {
    table_name(&joined(&identifier.namespace)?, &identifier.name)
}

/// Which part of a list a client wants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The name after which it begins.
    after: Option<String>,
    /// `None` for all that is left.
    size: Option<usize>,
}

impl Page {
    /// What the parameters `pageToken` and `pageSize` say. Without both it is everything.
    ///
    /// Errors: 400 for a size that is no whole number from 1 on.
    pub fn parse(token: Option<&str>, size: Option<&str>) -> Result<Self, Failure> {
        let size = match size.filter(|size| !size.is_empty()) {
            Some(size) => match size.parse::<usize>() {
                Ok(size) if size > 0 => Some(size.min(PAGE_SIZE_MAX)),
                _ => return Err(Failure::bad_request(format!("pageSize is '{size}', which is not a whole number from 1 on"))),
            },
            None => token.map(|_| PAGE_SIZE),
        };
        Ok(Self { after: token.filter(|token| !token.is_empty()).map(str::to_owned), size })
    }

    /// The page's part of all names, sorted, and whether there are more. The next page begins after the last name of this one: what is made or dropped meanwhile
    /// makes no other name be missing.
    pub(super) fn of(&self, mut names: Vec<String>) -> (Vec<String>, bool) {
        names.sort();
        names.dedup();
        if let Some(after) = &self.after {
            names.retain(|name| name > after);
        }
        let more = self.size.is_some_and(|size| names.len() > size);
        names.truncate(self.size.unwrap_or(usize::MAX));
        (names, more)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_joined() {
        assert_eq!(of_path("a").unwrap(), "a");
        assert_eq!(of_path("a\u{1f}ü %").unwrap(), "a.ü %");
        assert_eq!(of_parameter("a\u{1f}b").unwrap(), "a.b");
        assert_eq!(of_parameter("a%1Fb%20c").unwrap(), "a.b c");
        for wrong in ["", "a.b", "a\u{1f}", "\u{1f}"] {
            assert_eq!(of_path(wrong).unwrap_err().status, 400, "{wrong:?}");
        }
        assert_eq!(joined::<&str>(&[]).unwrap_err().status, 400);
    }

    #[test]
    fn pages_follow_each_other() {
        let names = || ["c", "a", "b"].map(str::to_owned).to_vec();
        let page = |token, size| Page::parse(token, size).unwrap().of(names());
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(page(None, None), (owned(&["a", "b", "c"]), false));
        assert_eq!(page(Some(""), Some("2")), (owned(&["a", "b"]), true));
        assert_eq!(page(Some("b"), Some("2")), (owned(&["c"]), false));
        assert_eq!(page(Some("bb"), None), (owned(&["c"]), false));
        for wrong in ["0", "-1", "many"] {
            assert_eq!(Page::parse(None, Some(wrong)).unwrap_err().status, 400);
        }
    }
}
