//! How long a server of HTTP asks to be left alone.

use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::header::{HeaderMap, RETRY_AFTER};

/// More than that is as good as for ever.
const SECONDS_MAX: u64 = 24 * 60 * 60;

/// What the header Retry-After says, in seconds or as a moment (RFC 9110, 10.2.3). `None` without one, or for one that says something else.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let asked = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let seconds = match asked.parse() {
        Ok(seconds) => seconds,
        Err(_) => u64::try_from((DateTime::parse_from_rfc2822(asked).ok()?.to_utc() - Utc::now()).num_seconds()).unwrap_or_default(),
    };
    Some(Duration::from_secs(seconds.min(SECONDS_MAX)))
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    #[test]
    fn seconds_and_moments() {
        let asked = |value: &str| retry_after(&[(RETRY_AFTER, HeaderValue::from_str(value).unwrap())].into_iter().collect());
        assert_eq!(asked(" 120 "), Some(Duration::from_secs(120)));
        assert_eq!(asked("18446744073709551615"), Some(Duration::from_secs(SECONDS_MAX)));
        assert_eq!(asked("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::ZERO));
        let later = (Utc::now() + Duration::from_secs(60)).to_rfc2822();
        assert!(asked(&later).is_some_and(|asked| (55..=60).contains(&asked.as_secs())));
        assert_eq!([asked("soon"), asked("-1"), retry_after(&HeaderMap::new())], [None; 3]);
    }
}
