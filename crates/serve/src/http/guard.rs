//! Checks before a request reaches its handler: for whom it is, which page sent it, and its token.

use std::net::{Ipv4Addr, Ipv6Addr};

use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::Response;
use subtle::ConstantTimeEq;

use super::problem::Problem;
use crate::Server;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Refuses requests for other hosts, and those that pages of other sites send. With such requests, a page in the
/// browser of a user could reach a server that only this user can reach (DNS rebinding, cross-site request forgery).
pub(super) async fn admit(
    State(server): State<Server>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let host = host(request.headers(), request.uri())?;
    if !is_allowed(&host, &server.settings().allowed_hosts) {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            format!(
                "the request is for the host {:?}, and this server answers for IP addresses and localhost; \
                 to allow the name, add it to the allowed hosts in the settings of the server",
                host.host()
            ),
        ));
    }
    if is_cross_site(request.method(), request.headers(), &host) {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "a page of another site sent this request in a browser; only pages of this server may, and programs",
        ));
    }
    Ok(next.run(request).await)
}

/// Refuses requests without the token of the settings.
pub(super) async fn token(
    State(server): State<Server>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    if let Some(token) = &server.settings().token
        && !has_token(request.headers(), token)
    {
        let detail = "the request lacks the token of this server; send the header Authorization: Bearer TOKEN";
        return Err(Problem::new(StatusCode::UNAUTHORIZED, detail)
            .with_header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")));
    }
    Ok(next.run(request).await)
}

/// The host for which a request is.
///
/// # Errors
/// Status 400 unless there is exactly one.
fn host(headers: &HeaderMap, uri: &Uri) -> Result<Authority, Problem> {
    let mut found = headers.get_all(header::HOST).iter();
    let host = match (found.next(), found.next()) {
        (Some(host), None) => Some(host),
        // In HTTP/2, the host is a part of the URI.
        (None, None) => None,
        (_, Some(_)) => {
            return Err(Problem::bad_request(
                "the request has more than one Host header; expected one",
            ));
        }
    };
    // A URI with a host overrides the header (RFC 9112, section 3.2.2).
    if let Some(authority) = uri.authority() {
        return plain(authority.clone());
    }
    let host = host.ok_or_else(|| {
        Problem::bad_request(
            "the request has no Host header; expected one with the server's name or address",
        )
    })?;
    let authority = Authority::try_from(host.as_bytes());
    plain(authority.map_err(|_| bad_host(host.as_bytes()))?)
}

/// Refuses what a Host header must not have: a user, an empty name, a port that is none.
fn plain(authority: Authority) -> Result<Authority, Problem> {
    let text = authority.as_str();
    let rest = text.strip_prefix(authority.host());
    let is_plain = match rest {
        Some("") => true,
        Some(port) => port.starts_with(':') && authority.port_u16().is_some(),
        None => false,
    };
    match is_plain && !authority.host().is_empty() {
        true => Ok(authority),
        false => Err(bad_host(text.as_bytes())),
    }
}

fn bad_host(found: &[u8]) -> Problem {
    Problem::bad_request(format!(
        "the Host header is {:?}; expected a name or an address, and perhaps a colon and a port",
        String::from_utf8_lossy(found)
    ))
}

/// Whether the server answers for this host. Addresses are allowed, since DNS rebinding needs a name.
fn is_allowed(host: &Authority, names: &[String]) -> bool {
    let name = without_dot(host.host());
    let address = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'));
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<Ipv4Addr>().is_ok()
        || address.is_some_and(|address| address.parse::<Ipv6Addr>().is_ok())
        || names
            .iter()
            .any(|allowed| allowed == "*" || without_dot(allowed).eq_ignore_ascii_case(name))
}

/// A name that ends in a dot is the same name.
fn without_dot(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

/// Whether a page of another origin sent a request that is not only for reading. A browser tells so in
/// `Sec-Fetch-Site`, or else in `Origin`. Other programs send neither.
fn is_cross_site(method: &Method, headers: &HeaderMap, host: &Authority) -> bool {
    if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) {
        return false;
    }
    if let Some(site) = headers.get(SEC_FETCH_SITE) {
        return site != "same-origin" && site != "none";
    }
    let Some(origin) = headers.get(header::ORIGIN) else {
        return false;
    };
    let origin = origin.to_str().ok();
    let authority = origin.and_then(|origin| origin.split_once("://"));
    !authority.is_some_and(|(_, authority)| authority.eq_ignore_ascii_case(host.as_str()))
}

/// Whether the token is in the request. The time of the comparison does not depend on the place of a wrong character.
fn has_token(headers: &HeaderMap, token: &str) -> bool {
    let found = headers
        .get(header::AUTHORIZATION)
        .map(HeaderValue::as_bytes);
    let given = found.and_then(|found| {
        let (scheme, given) = found.split_at_checked("Bearer ".len())?;
        scheme.eq_ignore_ascii_case(b"Bearer ").then_some(given)
    });
    given.is_some_and(|given| given.trim_ascii().ct_eq(token.as_bytes()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(host: &str, names: &[&str]) -> bool {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        is_allowed(&host.parse().unwrap(), &names)
    }

    #[test]
    fn addresses_and_localhost_are_allowed() {
        for host in [
            "127.0.0.1",
            "127.0.0.1:8080",
            "10.1.2.3:80",
            "[::1]",
            "[2001:db8::1]:8080",
            "localhost",
            "LocalHost:1",
            "localhost.:1",
        ] {
            assert!(allowed(host, &[]), "{host}");
        }
    }

    #[test]
    fn names_are_allowed_by_the_settings_alone() {
        for host in [
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "1.evil.example:8080",
            // Some resolvers read these as addresses.
            "127.1",
            "0x7f.0.0.1",
            "2130706433",
        ] {
            assert!(!allowed(host, &["good.example"]), "{host}");
            assert!(allowed(host, &["*"]), "{host}");
        }
        assert!(allowed("Good.Example:443", &["good.example"]));
        assert!(allowed("good.example", &["good.example."]));
        assert!(!allowed("sub.good.example", &["good.example"]));
    }
}
