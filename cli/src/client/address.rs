//! The server's address as users write it.

use tonic::codegen::http::Uri;

use crate::failure::Failure;

const PORT_DEFAULT: u16 = 32010;

/// Turns `nunatak://host`, `grpc://host:port`, `http://host:port/` or `host:port` into `http://host:port`.
pub(super) fn parse(text: &str) -> Result<String, Failure> {
    let invalid = |why: &str| Failure::Usage(format!("server '{text}' is not an address such as http://127.0.0.1:32010: {why}"));
    let with_scheme = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let (scheme, rest) = with_scheme.split_once("://").ok_or_else(|| invalid("no scheme"))?;
    match scheme {
        "http" | "grpc" | "grpc+tcp" | "nunatak" => {}
        "https" | "grpc+tls" => return Err(invalid("encrypted connections are not supported yet, use http://")),
        _ => return Err(invalid("its scheme is none of http, grpc, nunatak")),
    }
    let uri: Uri = format!("http://{rest}").parse().map_err(|_| invalid("it does not parse"))?;
    if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
        return Err(invalid("a path is not wanted"));
    }
    let authority = uri.authority().ok_or_else(|| invalid("it has no host"))?;
    if authority.as_str().contains('@') {
        return Err(invalid("use --user for the user's name"));
    }
    let host = authority.host();
    match authority.port_u16() {
        _ if host.is_empty() => Err(invalid("it has no host")),
        Some(port) => Ok(format!("http://{host}:{port}")),
        None if authority.as_str() == host => Ok(format!("http://{host}:{PORT_DEFAULT}")),
        None => Err(invalid("its port is not a number up to 65535")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemes_and_ports() {
        for (text, expected) in [
            ("http://127.0.0.1:32010", "http://127.0.0.1:32010"),
            ("grpc://db.example:1234/", "http://db.example:1234"),
            ("nunatak://db.example", "http://db.example:32010"),
            ("localhost", "http://localhost:32010"),
            ("localhost:5", "http://localhost:5"),
            ("http://[::1]:32010", "http://[::1]:32010"),
        ] {
            assert_eq!(parse(text), Ok(expected.to_owned()));
        }
        for wrong in ["https://x", "ftp://x", "http://", "http://u@x:1", "http://x/path", "http://x:99999", ""] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
