//! Servers that are of no use: why, and what can be done about it.

use std::io;

use nunatak_core::{Code, Error, Retry};

/// Why a server is of no use now.
#[derive(Debug)]
pub(super) struct Unusable {
    /// Told apart by what can be done about it.
    pub(super) why: Why,
    /// What has happened.
    pub(super) what: String,
}

/// What can be wrong with a server, or with us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// It is not there, or does not answer.
    Away,
    /// It does not speak as we do: another protocol, or one with or without TLS and Kerberos.
    Strange,
    /// Its certificate is not one that we trust.
    Untrusted,
    /// What is configured of Kerberos cannot be.
    Misconfigured,
    /// No KDC can be reached.
    NoKdc,
    /// We have no ticket, and get none.
    NoTicket,
    /// It does not take our ticket.
    NotAccepted,
}

impl Unusable {
    /// One with its reason.
    pub(super) fn new(why: Why, what: impl Into<String>) -> Self {
        Self { why, what: what.into() }
    }

    /// What has become of a socket while something was agreed upon by it.
    pub(super) fn of_socket(error: &io::Error, what_for: &str) -> Self {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Self::new(Why::Away, format!("does not answer in time to {what_for}")),
            _ => Self::new(Why::Strange, format!("broke off the connection instead of answering to {what_for}: {error}")),
        }
    }

    /// The error for it.
    pub(super) fn error(&self, message: String) -> Error {
        let code = match self.why {
            Why::Away | Why::Strange | Why::Untrusted | Why::NoKdc => Code::CatalogUnavailable,
            Why::Misconfigured => Code::ConfigurationInvalid,
            Why::NoTicket | Why::NotAccepted => Code::CatalogAccessDenied,
        };
        let error = Error::new(code, message).with_hint(self.hint());
        match self.why {
            Why::Away | Why::Strange | Why::NoKdc => error.with_retry(Retry::Query),
            Why::Untrusted | Why::Misconfigured | Why::NoTicket | Why::NotAccepted => error,
        }
    }

    fn hint(&self) -> &'static str {
        match self.why {
            Why::Away => "see that it is up, and that the catalog's uri is right; run the statement again",
            Why::Strange => {
                "see that the catalog's uri is that of a Hive Metastore; one that wants TLS or Kerberos hangs up on clients that do not say so, and the other way round: \
                 hive.metastore.use.SSL, hive.metastore.sasl.enabled"
            }
            Why::Untrusted => {
                "name a file with the authority of its certificate with hive.ca-certificate, and the metastore in the catalog's uri as its certificate does"
            }
            Why::Misconfigured => "see the properties of the catalog, and krb5.conf (KRB5_CONFIG)",
            Why::NoKdc => "see that a KDC of the realm is up, and is named in krb5.conf (KRB5_CONFIG) or in DNS; run the statement again",
            Why::NoTicket => "get one with kinit, or set hdfs.kerberos.principal and hdfs.kerberos.keytab",
            Why::NotAccepted => {
                "see that hive.metastore.kerberos.principal is the metastore's own, that its keytab has the key that the KDC has, and that all clocks agree"
            }
        }
    }
}
