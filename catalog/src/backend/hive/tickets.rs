//! Tickets of Kerberos for a metastore, by a keytab or from a cache that others fill (`kinit`).
//!
//! Realms, their KDCs and the rest are those of `krb5.conf`, as MIT's library has them; that library is not needed.

use std::fmt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use krb5::ccache::same_principal;
use krb5::client::{KDC_ERR_S_PRINCIPAL_UNKNOWN, KRB_AP_ERR_SKEW};
use krb5::{CacheError, CacheName, ClientError, Credentials, KdcClient, Keytab, Krb5Conf, Principal};
use parking_lot::Mutex;

use super::unusable::{Unusable, Why};
use super::waiting::Waiting;
use crate::kerberos::Identity;

/// A ticket that we keep is not used when it runs out so soon.
const LEFT_MIN_SECONDS: i64 = 60;
/// Where the process is told of a keytab of its own.
const CLIENT_KEYTAB: &str = "KRB5_CLIENT_KTNAME";
/// In the name of a service, the host that is asked (Hadoop: `SecurityUtil.HOSTNAME_PATTERN`).
const HOST: &str = "_HOST";

/// Whose tickets they are, and how they are got.
pub(super) struct Tickets {
    identity: Identity,
    /// How long a KDC is waited for.
    timeout: Duration,
    /// The one that others are got with, if we have got it by a keytab.
    granting: Mutex<Option<Credentials>>,
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tickets").field("identity", &self.identity).finish_non_exhaustive()
    }
}

impl Tickets {
    /// Those of somebody. Nothing is asked yet.
    pub(super) fn new(identity: Identity, timeout: Duration) -> Self {
        Self { identity, timeout, granting: Mutex::default() }
    }

    /// A ticket for a service such as `hive/_HOST@EXAMPLE.ORG` on a host.
    pub(super) fn get(&self, service: &str, host: &str, waiting: &Waiting) -> Result<Credentials, Unusable> {
        let config = configuration()?;
        let service = service_principal(service, host, &config)?;
        let granting = self.granting(&config, waiting)?;
        let client = self.client(&config, &granting.client.realm, waiting)?;
        client.service_ticket(&granting, &service).map_err(|error| {
            // It may be one that the KDC does not know any more.
            *self.granting.lock() = None;
            unusable(&error, &format!("there is no ticket for '{service}' to be had"))
        })
    }

    /// The short name of who we are, as the metastore knows it if its `auth_to_local` has no rules; `None` if there is nothing to know it by.
    pub(super) fn user(&self) -> Option<String> {
        let primary = |name: &str| name.split(['/', '@']).next().map(str::to_owned);
        match &self.identity.principal {
            Some(principal) => primary(principal),
            None => primary(&self.principal(&configuration().ok()?).ok()?.to_string()),
        }
    }

    /// Who we are if no property says it.
    fn principal(&self, config: &Krb5Conf) -> Result<Principal, Unusable> {
        match self.cache(config).and_then(|cache| cache.read().map_err(|error| missing(&error))) {
            Ok(cache) => Ok(cache.principal),
            Err(error) => client_keytab().map_or(Err(error), |path| self.principal_of(&keytab(&path)?, &path, config)),
        }
    }

    /// The ticket that others are got with.
    fn granting(&self, config: &Krb5Conf, waiting: &Waiting) -> Result<Credentials, Unusable> {
        if let (Some(keytab), None) = (&self.identity.keytab, &self.identity.cache) {
            return self.by_keytab(keytab, config, waiting);
        }
        let missing = match self.cached(config) {
            Ok(found) => return Ok(found),
            Err(missing) => missing,
        };
        match self.identity.keytab.clone().or_else(client_keytab) {
            Some(keytab) => self.by_keytab(&keytab, config, waiting),
            None => Err(missing),
        }
    }

    /// The one of a cache, which is read each time: somebody else renews it.
    fn cached(&self, config: &Krb5Conf) -> Result<Credentials, Unusable> {
        let name = self.cache(config)?;
        let cache = name.read().map_err(|error| missing(&error))?;
        if let Some(wanted) = &self.identity.principal {
            let wanted = principal(wanted, config)?;
            if !same_principal(&wanted, &cache.principal) {
                return Err(Unusable::new(Why::NoTicket, format!("the tickets in '{name}' are those of {}, not of {wanted}", cache.principal)));
            }
        }
        cache.tgt(now()).ok_or_else(|| Unusable::new(Why::NoTicket, format!("there is no ticket in '{name}' that is still good")))
    }

    fn cache(&self, config: &Krb5Conf) -> Result<CacheName, Unusable> {
        let name = match &self.identity.cache {
            Some(name) => CacheName::parse_with(name, config),
            None => CacheName::default(config),
        };
        name.map_err(|error| Unusable::new(Why::Misconfigured, error.to_string()))
    }

    /// The one that we have got before, or a new one.
    fn by_keytab(&self, path: &str, config: &Krb5Conf, waiting: &Waiting) -> Result<Credentials, Unusable> {
        if let Some(kept) = self.granting.lock().as_ref().filter(|kept| !kept.is_expired_at(now() + LEFT_MIN_SECONDS)) {
            return Ok(kept.clone());
        }
        let keytab = keytab(path)?;
        let principal = self.principal_of(&keytab, path, config)?;
        let got = self.client(config, &principal.realm, waiting)?.login_with_keytab(&principal, &keytab);
        let got = got.map_err(|error| unusable(&error, &format!("there is no ticket for {principal} to be had with '{path}'")))?;
        *self.granting.lock() = Some(got.clone());
        Ok(got)
    }

    /// Who we are with a keytab: the one that a property names, or else its first.
    fn principal_of(&self, keytab: &Keytab, path: &str, config: &Krb5Conf) -> Result<Principal, Unusable> {
        if let Some(name) = &self.identity.principal {
            return principal(name, config);
        }
        let first = keytab.keys().first().ok_or_else(|| Unusable::new(Why::Misconfigured, format!("there is no key in '{path}'")))?;
        Principal::parse_in_realm(&first.principal, &first.realm).map_err(|error| Unusable::new(Why::Misconfigured, error.to_string()))
    }

    fn client(&self, config: &Krb5Conf, realm: &str, waiting: &Waiting) -> Result<KdcClient, Unusable> {
        let client = KdcClient::from_config(config, realm).map_err(|error| Unusable::new(Why::NoKdc, error.to_string()))?;
        let timeout = waiting.at_most(self.timeout).map_err(|error| Unusable::new(Why::NoKdc, error.to_string()))?;
        Ok(client.with_timeout(timeout))
    }
}

/// It is read each time: a realm that moves is found without a restart.
fn configuration() -> Result<Krb5Conf, Unusable> {
    Krb5Conf::load_default().map_err(|error| Unusable::new(Why::Misconfigured, format!("krb5.conf cannot be read: {error}")))
}

fn keytab(path: &str) -> Result<Keytab, Unusable> {
    Keytab::load(Path::new(path)).map_err(|error| Unusable::new(Why::Misconfigured, format!("the keytab '{path}' cannot be read: {error}")))
}

/// The keytab of the process, if it has one.
fn client_keytab() -> Option<String> {
    let name = std::env::var(CLIENT_KEYTAB).ok()?;
    Some(name.strip_prefix("FILE:").map(str::to_owned).unwrap_or(name))
}

/// Somebody by name, in the default realm if none is named.
fn principal(name: &str, config: &Krb5Conf) -> Result<Principal, Unusable> {
    let parsed = match (name.contains('@'), config.default_realm()) {
        (true, _) => Principal::parse(name),
        (false, Some(realm)) => Principal::parse_in_realm(name, realm),
        (false, None) => return Err(Unusable::new(Why::Misconfigured, format!("'{name}' names no realm, and krb5.conf has no default_realm"))),
    };
    parsed.map_err(|error| Unusable::new(Why::Misconfigured, error.to_string()))
}

/// A service by name. If it names no realm, it is that of its host.
fn service_principal(name: &str, host: &str, config: &Krb5Conf) -> Result<Principal, Unusable> {
    let name = name.replace(HOST, &host.trim_end_matches('.').to_lowercase());
    match name.split_once('/') {
        Some((service, host)) if !name.contains('@') => Ok(Principal::host_service(service, host, config)),
        _ => principal(&name, config),
    }
}

/// A cache that cannot be read is one that nobody has put tickets into yet.
fn missing(error: &CacheError) -> Unusable {
    Unusable::new(Why::NoTicket, error.to_string())
}

/// What a KDC has refused, or why it was not asked.
fn unusable(error: &ClientError, what: &str) -> Unusable {
    let why = match error {
        ClientError::Unreachable { .. } | ClientError::Config(_) => Why::NoKdc,
        ClientError::Kdc { code, .. } if [KDC_ERR_S_PRINCIPAL_UNKNOWN, KRB_AP_ERR_SKEW].contains(code) => Why::NotAccepted,
        _ => Why::NoTicket,
    };
    Unusable::new(why, format!("{what}: {error}"))
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = "[libdefaults]\n default_realm = A.ORG\n[domain_realm]\n .b.org = B.ORG\n";

    #[test]
    fn a_service_is_that_of_its_host() {
        let config = Krb5Conf::parse(CONFIG).unwrap();
        let service = |name: &str, host: &str| service_principal(name, host, &config).unwrap().to_string();
        assert_eq!(service("hive/_HOST@C.ORG", "HMS1.b.org."), "hive/hms1.b.org@C.ORG");
        assert_eq!(service("hive/other@C.ORG", "hms1"), "hive/other@C.ORG");
        assert_eq!(service("hive/_HOST", "hms1.b.org"), "hive/hms1.b.org@B.ORG");
        assert_eq!(service("hive", "hms1.b.org"), "hive@A.ORG");
        assert_eq!(service_principal("hive", "h", &Krb5Conf::empty()).unwrap_err().why, Why::Misconfigured);
        assert_eq!(service_principal("hive/@C.ORG", "h", &config).unwrap_err().why, Why::Misconfigured);
    }

    #[test]
    fn what_is_missing_is_told() {
        let config = Krb5Conf::parse(CONFIG).unwrap();
        let tickets = |cache: &str| {
            let identity = Identity { principal: Some(String::from("me/admin@A.ORG")), cache: Some(cache.to_owned()), ..Identity::default() };
            Tickets::new(identity, Duration::from_millis(100))
        };
        assert_eq!(tickets("FILE:/nowhere").user().as_deref(), Some("me"));
        for (cache, why) in [("FILE:/nowhere/tickets", Why::NoTicket), ("KEYRING:persistent:0", Why::Misconfigured), ("FILE:", Why::Misconfigured)] {
            assert_eq!(tickets(cache).cached(&config).unwrap_err().why, why, "{cache}");
        }
        let config = Krb5Conf::parse("[libdefaults]\n dns_lookup_kdc = false\n").unwrap();
        assert_eq!(tickets("FILE:/nowhere").client(&config, "A.ORG", &Waiting::default()).unwrap_err().why, Why::NoKdc);
        let refused = |code| unusable(&ClientError::Kdc { code, text: None }, "no ticket").why;
        assert_eq!(
            [refused(KRB_AP_ERR_SKEW), refused(KDC_ERR_S_PRINCIPAL_UNKNOWN), refused(24)],
            [Why::NotAccepted, Why::NotAccepted, Why::NoTicket]
        );
    }
}
