//! The addresses of the Iceberg REST protocol: one list says what there is, what a request means, and what clients are told that there is.

use nunatak_coordinator::query::rest_server::{Failure, RestServer};
use percent_encoding::percent_decode_str;

/// Where the protocol begins on the server.
const ROOT: &str = "/iceberg/";

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Config,
    Token,
    ListNamespaces,
    CreateNamespace,
    LoadNamespace,
    NamespaceExists,
    DropNamespace,
    ChangeNamespace,
    ListTables,
    CreateTable,
    LoadTable,
    TableExists,
    Commit,
    DropTable,
    LoadCredentials,
    Sign,
    ReportMetrics,
    RegisterTable,
    RenameTable,
    CommitTransaction,
    ListViews,
    CreateView,
    LoadView,
    ViewExists,
    ReplaceView,
    DropView,
    RenameView,
    RegisterView,
}

/// When clients are told of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    /// Never: it is there without that, or only to say that it is not.
    Never,
    Always,
    /// If the catalog may be changed.
    Writable,
    /// If it has views.
    Views,
    WritableViews,
    /// If several tables can be changed at once.
    Transactions,
    /// If it gives out credentials.
    Vends,
    /// If it signs requests to storage.
    Signs,
}

/// All that there is; `{...}` stands for any part.
const ENDPOINTS: &[(&str, &str, Operation, Told)] = {
    use Operation::*;
    use Told::*;
    &[
        ("GET", "v1/config", Config, Never),
        ("POST", "v1/oauth/tokens", Token, Never),
        ("GET", "v1/{prefix}/namespaces", ListNamespaces, Always),
        ("POST", "v1/{prefix}/namespaces", CreateNamespace, Writable),
        ("GET", "v1/{prefix}/namespaces/{namespace}", LoadNamespace, Always),
        ("HEAD", "v1/{prefix}/namespaces/{namespace}", NamespaceExists, Always),
        ("DELETE", "v1/{prefix}/namespaces/{namespace}", DropNamespace, Writable),
        ("POST", "v1/{prefix}/namespaces/{namespace}/properties", ChangeNamespace, Writable),
        ("GET", "v1/{prefix}/namespaces/{namespace}/tables", ListTables, Always),
        ("POST", "v1/{prefix}/namespaces/{namespace}/tables", CreateTable, Writable),
        ("GET", "v1/{prefix}/namespaces/{namespace}/tables/{table}", LoadTable, Always),
        ("HEAD", "v1/{prefix}/namespaces/{namespace}/tables/{table}", TableExists, Always),
        ("POST", "v1/{prefix}/namespaces/{namespace}/tables/{table}", Commit, Writable),
        ("DELETE", "v1/{prefix}/namespaces/{namespace}/tables/{table}", DropTable, Writable),
        ("GET", "v1/{prefix}/namespaces/{namespace}/tables/{table}/credentials", LoadCredentials, Vends),
        ("POST", "v1/{prefix}/namespaces/{namespace}/tables/{table}/sign", Sign, Signs),
        ("POST", "v1/{prefix}/namespaces/{namespace}/tables/{table}/metrics", ReportMetrics, Always),
        ("POST", "v1/{prefix}/namespaces/{namespace}/register", RegisterTable, Writable),
        ("POST", "v1/{prefix}/tables/rename", RenameTable, Writable),
        ("POST", "v1/{prefix}/transactions/commit", CommitTransaction, Transactions),
        ("GET", "v1/{prefix}/namespaces/{namespace}/views", ListViews, Views),
        ("POST", "v1/{prefix}/namespaces/{namespace}/views", CreateView, WritableViews),
        ("GET", "v1/{prefix}/namespaces/{namespace}/views/{view}", LoadView, Views),
        ("HEAD", "v1/{prefix}/namespaces/{namespace}/views/{view}", ViewExists, Views),
        ("POST", "v1/{prefix}/namespaces/{namespace}/views/{view}", ReplaceView, WritableViews),
        ("DELETE", "v1/{prefix}/namespaces/{namespace}/views/{view}", DropView, WritableViews),
        ("POST", "v1/{prefix}/views/rename", RenameView, WritableViews),
        ("POST", "v1/{prefix}/namespaces/{namespace}/register-view", RegisterView, WritableViews),
    ]
};

/// What a request means.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Route {
    /// What it asks for.
    pub(super) operation: Operation,
    /// The catalog; empty where none is named, as the others.
    pub(super) catalog: String,
    /// The namespace, with its levels still as one text.
    pub(super) namespace: String,
    /// The table or view.
    pub(super) name: String,
}

/// A request without a meaning.
#[derive(Debug)]
pub(super) struct Meaningless {
    /// What its client is told.
    pub(super) failure: Failure,
    /// The methods that its address takes, if it is one.
    pub(super) allow: Option<String>,
}

impl From<Failure> for Meaningless {
    fn from(failure: Failure) -> Self {
        Self { failure, allow: None }
    }
}

/// What a request to an address means.
///
/// Errors: 400 for an address that means nothing, 405 for one that cannot be asked for in this way.
pub(super) fn find(method: &str, path: &str) -> Result<Route, Meaningless> {
    let parts: Vec<&str> = path.strip_prefix(ROOT).unwrap_or_default().split('/').collect();
    let mut methods = Vec::new();
    for (wanted, pattern, operation, _) in ENDPOINTS {
        let Some(values) = values(pattern, &parts) else { continue };
        if *wanted != method {
            methods.push(*wanted);
            continue;
        }
        let mut values = values.into_iter().map(decoded);
        let mut next = || values.next().transpose().map(Option::unwrap_or_default);
        return Ok(Route { operation: *operation, catalog: next()?, namespace: next()?, name: next()? });
    }
    if methods.is_empty() {
        return Err(Failure::bad_request(format!("there is nothing at {path}; {ROOT}v1/config says what there is")).into());
    }
    let allow = methods.join(", ");
    let failure = Failure::new(405, "MethodNotAllowedException", format!("{path} takes {allow}, not {method}"));
    Err(Meaningless { failure, allow: Some(allow) })
}

/// What clients are told that there is in a catalog: `GET /v1/{prefix}/namespaces`.
///
/// Errors: those of asking the server that has the catalog.
pub(super) async fn told(server: &RestServer) -> Result<Vec<String>, Failure> {
    let has_views = server.has_views().await?;
    let is_told = |told: Told| match told {
        Told::Never => false,
        Told::Always => true,
        Told::Writable => server.is_writable(),
        Told::Views => has_views,
        Told::WritableViews => has_views && server.is_writable(),
        Told::Transactions => server.has_transactions() && server.is_writable(),
        Told::Vends => server.vends(),
        Told::Signs => server.signs(),
    };
    let told = ENDPOINTS.iter().filter(|(_, _, _, told)| is_told(*told));
    Ok(told.map(|(method, path, _, _)| format!("{method} /{path}")).collect())
}

/// The parts of an address that stand for something, if it is one of that pattern.
fn values<'a>(pattern: &str, parts: &[&'a str]) -> Option<Vec<&'a str>> {
    let mut values = Vec::new();
    let mut rest = parts.iter();
    for wanted in pattern.split('/') {
        let part = rest.next()?;
        match wanted.starts_with('{') {
            true if part.is_empty() => return None,
            true => values.push(*part),
            false if *part != wanted => return None,
            false => {}
        }
    }
    rest.next().is_none().then_some(values)
}

fn decoded(part: &str) -> Result<String, Failure> {
    let text = percent_decode_str(part).decode_utf8().map_err(|_| Failure::bad_request(format!("'{part}' in the address is not UTF-8")))?;
    Ok(text.into_owned())
}

/// The parameters of an address.
#[derive(Debug, Default)]
pub(super) struct Parameters(Vec<(String, String)>);

impl Parameters {
    /// Reads `a=b&c=d`. Errors: 400.
    pub(super) fn read(query: Option<&str>) -> Result<Self, Failure> {
        let pairs = query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        let pairs = pairs.map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decoded(&name.replace('+', " "))?, decoded(&value.replace('+', " "))?))
        });
        pairs.collect::<Result<_, Failure>>().map(Self)
    }

    /// The value of one.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// One that is true or false, which it is if it is not there. Errors: 400.
    pub(super) fn flag(&self, name: &str) -> Result<bool, Failure> {
        match self.get(name).unwrap_or("false") {
            // PyIceberg writes it as Python does.
            value if value.eq_ignore_ascii_case("true") => Ok(true),
            value if value.eq_ignore_ascii_case("false") => Ok(false),
            value => Err(Failure::bad_request(format!("{name} is '{value}', which is not true or false"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(method: &str, path: &str) -> (Operation, String) {
        let Route { operation, catalog, namespace, name } = find(method, path).unwrap();
        (operation, [catalog, namespace, name].join("|"))
    }

    #[test]
    fn addresses_are_decoded_part_by_part() {
        assert_eq!(route("GET", "/iceberg/v1/config"), (Operation::Config, "||".to_owned()));
        let table = route("HEAD", "/iceberg/v1/lake/namespaces/a%1Fb/tables/%C3%BC%20%2F%2520");
        assert_eq!(table, (Operation::TableExists, "lake|a\u{1f}b|ü /%20".to_owned()));
        assert_eq!(route("POST", "/iceberg/v1/namespaces/namespaces/namespaces/register").1, "namespaces|namespaces|");
        assert_eq!(route("POST", "/iceberg/v1/lake/tables/rename").0, Operation::RenameTable);
    }

    #[test]
    fn what_is_not_there_is_told_from_what_cannot_be_done() {
        let status = |method, path| find(method, path).unwrap_err().failure.status;
        for path in
            ["/iceberg", "/iceberg/", "/iceberg/v1/", "/iceberg/v1/lake/namespaces/", "/iceberg/v1/lake/namespaces//tables", "/iceberg/v2/config"]
        {
            assert_eq!(status("GET", path), 400, "{path}");
        }
        assert_eq!(status("GET", "/iceberg/v1/lake/namespaces/%ff"), 400);
        let refused = find("PUT", "/iceberg/v1/lake/namespaces/n").unwrap_err();
        assert_eq!((refused.failure.status, refused.allow.as_deref()), (405, Some("GET, HEAD, DELETE")));
    }

    #[test]
    fn parameters_are_decoded() {
        let parameters = Parameters::read(Some("parent=a%1Fb+c&purgeRequested=True&pageToken&x=1=2")).unwrap();
        assert_eq!((parameters.get("parent"), parameters.get("pageToken")), (Some("a\u{1f}b c"), Some("")));
        assert_eq!((parameters.get("x"), parameters.get("y")), (Some("1=2"), None));
        assert!(parameters.flag("purgeRequested").unwrap() && !parameters.flag("y").unwrap());
        assert_eq!((parameters.flag("x").unwrap_err().status, Parameters::read(Some("a=%ff")).unwrap_err().status), (400, 400));
    }
}
