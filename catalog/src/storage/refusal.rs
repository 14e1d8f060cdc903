//! What a server of a store says when it does not do what was asked: a status, and a code with a message in XML (S3 and Azure have the same form). The type that has
//! it is not known outside of object_store, so it is read from the text of its error.

use std::fmt;

use nunatak_core::{Code, Error};
use serde::Deserialize;

/// How much of a message is shown, in characters.
const MESSAGE_CHARS_MAX: usize = 300;

/// An answer that is no success.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// The status of HTTP; 200 where only a part of what was asked was not done.
    status: u16,
    said: Option<Said>,
}

/// What the answer says (AWS: `Error` of the API of S3).
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Said {
    code: String,
    message: Option<String>,
    /// Where the bucket is.
    region: Option<String>,
    endpoint: Option<String>,
}

impl Refusal {
    /// The one that the text of an error has.
    pub(super) fn of(error: &object_store::Error) -> Option<Self> {
        Self::read(&error.to_string())
    }

    fn read(text: &str) -> Option<Self> {
        const STATUS: &str = "status code: ";
        if let Some((_, answer)) = text.split_once(STATUS) {
            let status = answer.get(..3)?.parse().ok()?;
            return Some(Self { status, said: Said::read(answer) });
        }
        // One of several objects was not deleted.
        let (_, failed) = text.split_once("DeleteObjects request failed for key ")?;
        let (failed, code) = failed.rsplit_once(" (code: ")?;
        let message = failed.rsplit_once(": ").map(|(_, message)| message.to_owned());
        Some(Self { status: 200, said: Some(Said { code: code.trim_end_matches(')').to_owned(), message, region: None, endpoint: None }) })
    }

    /// Whether it is about who we are, what we may do, or where the bucket is: nothing helps but other properties.
    fn is_denial(&self) -> bool {
        matches!(self.status, 401 | 403) || self.said.as_ref().is_some_and(|said| said.hint().is_some() || said.code == "AccessDenied")
    }

    /// Our error, if it is one that asking again does not help against.
    pub(super) fn describe(&self, location: &str) -> Option<Error> {
        let said = self.said.as_ref().filter(|_| self.is_denial())?;
        let hint = said.hint().unwrap_or_else(|| "check the credentials, and what their owner may do there".to_owned());
        Some(Error::new(Code::StorageAccessDenied, format!("storage refused access to '{location}': {said}")).with_hint(hint))
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.said {
            Some(said) => said.fmt(f),
            None => write!(f, "its server answers with status {}, and nothing else", self.status),
        }
    }
}

impl Said {
    fn read(answer: &str) -> Option<Self> {
        const END: &str = "</Error>";
        let start = answer.find("<Error>").or_else(|| answer.find("<Error "))?;
        let end = answer.rfind(END)? + END.len();
        quick_xml::de::from_str(answer.get(start..end)?).ok()
    }

    /// What is to be done, where the code tells it.
    fn hint(&self) -> Option<String> {
        let hint = match self.code.as_str() {
            "ExpiredToken" | "ExpiredTokenException" | "TokenRefreshRequired" => {
                "the credentials have expired: give new ones, or a role that is assumed (client.assume-role.arn)"
            }
            "RequestTimeTooSkewed" | "RequestExpired" => "the clock of this machine and that of the server differ: set them right",
            "InvalidAccessKeyId" | "InvalidToken" => {
                "the server does not know the credentials: check s3.access-key-id, s3.session-token and s3.endpoint"
            }
            "SignatureDoesNotMatch" => "check s3.secret-access-key: it is not the one of s3.access-key-id",
            "PermanentRedirect" | "TemporaryRedirect" | "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException" => {
                return Some(self.whereabouts());
            }
            _ => return None,
        };
        Some(hint.to_owned())
    }

    /// Where the bucket is, as far as it is told.
    fn whereabouts(&self) -> String {
        match (&self.region, &self.endpoint) {
            (Some(region), _) if !region.is_empty() => format!("set s3.region to '{region}'"),
            (_, Some(endpoint)) => format!("the bucket is at '{endpoint}': set s3.region, or s3.endpoint, to where that is"),
            (_, None) => "set s3.region to the region of the bucket".to_owned(),
        }
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.code)?;
        let message = self.message.as_deref().unwrap_or_default().lines().next().unwrap_or_default().trim_end_matches('.');
        if message.is_empty() {
            return Ok(());
        }
        let shown: String = message.chars().take(MESSAGE_CHARS_MAX).collect();
        write!(f, ": {shown}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As object_store writes it.
    fn refused(status: &str, body: &str) -> Option<Refusal> {
        let text = "Generic S3 error: Error performing GET http://h:1/lake/x in 2.1ms - Server returned non-2xx status code: ";
        Refusal::read(&format!("{text}{status}: {body}"))
    }

    fn xml(code: &str, more: &str) -> String {
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>What it says.</Message>{more}<RequestId>1</RequestId></Error>"
        )
    }

    #[test]
    fn what_can_be_done_depends_on_the_code() {
        for (status, code, more, hint) in [
            ("400 Bad Request", "ExpiredToken", "", "have expired"),
            ("403 Forbidden", "RequestTimeTooSkewed", "", "clock"),
            ("403 Forbidden", "InvalidAccessKeyId", "", "s3.access-key-id"),
            ("403 Forbidden", "SignatureDoesNotMatch", "", "s3.secret-access-key"),
            ("403 Forbidden", "AccessDenied", "", "may do there"),
            ("400 Bad Request", "AuthorizationHeaderMalformed", "<Region>eu-west-1</Region>", "set s3.region to 'eu-west-1'"),
            ("400 Bad Request", "PermanentRedirect", "<Endpoint>b.s3.amazonaws.com</Endpoint>", "at 'b.s3.amazonaws.com'"),
        ] {
            let error = refused(status, &xml(code, more)).unwrap().describe("s3://lake/x").unwrap();
            assert_eq!(error.code(), Code::StorageAccessDenied);
            assert_eq!(error.message(), format!("storage refused access to 's3://lake/x': {code}: What it says"));
            assert!(error.hint().is_some_and(|given| given.contains(hint)), "{error}");
        }
    }

    #[test]
    fn other_answers_are_no_refusals_of_access() {
        let slow = refused("503 Service Unavailable", &xml("SlowDown", "")).unwrap();
        assert!(slow.describe("s3://lake/x").is_none());
        assert_eq!(slow.to_string(), "SlowDown: What it says");
        let bare = refused("400 Bad Request", "").unwrap();
        assert!(bare.describe("s3://lake/x").is_none());
        assert_eq!(bare.to_string(), "its server answers with status 400, and nothing else");
        assert_eq!(Refusal::read("Generic S3 error: no such host"), None);
    }

    #[test]
    fn one_of_several_objects_is_refused() {
        let text = "Generic S3 error: DeleteObjects request failed for key a: b/c: Access Denied (code: AccessDenied)";
        let error = Refusal::read(text).unwrap().describe("s3://lake/x").unwrap();
        assert_eq!(error.message(), "storage refused access to 's3://lake/x': AccessDenied: Access Denied");
    }
}
