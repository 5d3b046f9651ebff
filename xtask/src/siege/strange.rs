//! Requests for files, with wrong content types, and for other hosts.

use anyhow::Result;

use super::client::request;
use super::picture;
use super::target::{Answers, MODEL, Target};

type Attack = (&'static str, fn(&Target) -> Result<Answers>);

pub(super) const ATTACKS: [Attack; 4] = [
    ("path traversal", paths),
    ("wrong content types", kinds),
    ("wrong hosts", hosts),
    ("deep and wide JSON", json),
];

fn paths(target: &Target) -> Result<Answers> {
    let mut answers = Answers::default();
    let up = "/..%2f..%2f..%2f..%2fetc/passwd";
    for path in [
        "/../../../../etc/passwd",
        "/page/../../../../etc/passwd",
        "/page/..%2f..%2f..%2fetc%2fpasswd",
        "/page/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        "/page/....//....//etc/passwd",
        "/page/..\\..\\..\\etc\\passwd",
        "/page//etc/passwd",
        "//etc/passwd",
        "/%00",
        "/page/page.css%00.png",
        &format!("/v1/models{up}"),
        &format!("/v2/models{up}/infer"),
        "file:///etc/passwd",
        "http://example.org/etc/passwd",
    ] {
        for method in ["GET", "POST"] {
            let reply = target.exchange(&request(method, path, "", b""))?;
            answers.expect(path, &reply, &[400, 403, 404, 405]);
            if reply.text().contains("root:") {
                answers
                    .failures
                    .push(format!("{path} gives a file of the system"));
            }
        }
    }
    Ok(answers)
}

fn kinds(target: &Target) -> Result<Answers> {
    let mut answers = Answers::default();
    let (png, json) = (picture::digit(), b"{}".to_vec());
    let infer = format!("/v2/models/{MODEL}/infer");
    for (path, kind, body) in [
        ("/v1/predict", "text/html", &png),
        ("/v1/predict", "application/json", &json),
        ("/v1/predict", "a/b/c", &png),
        ("/v1/predict", "\u{e9}", &png),
        ("/", "text/plain", &png),
        ("/v1/explain", "application/x-www-form-urlencoded", &png),
        (&infer, "image/png", &png),
        (&infer, "text/plain", &json),
    ] {
        let header = format!("content-type: {kind}\r\n");
        let reply = target.exchange(&request("POST", path, &header, body))?;
        answers.expect(&format!("{kind} to {path}"), &reply, &[415, 400]);
    }
    Ok(answers)
}

/// A name of a stranger that leads to this server, as in DNS rebinding.
fn hosts(target: &Target) -> Result<Answers> {
    let mut answers = Answers::default();
    for (host, expected) in [
        ("host: localhost\r\n", 200),
        ("host: LOCALHOST:8080\r\n", 200),
        ("host: 127.0.0.1\r\n", 200),
        ("host: [::1]:80\r\n", 200),
        ("host: example.org\r\n", 403),
        ("host: example.org:8080\r\n", 403),
        ("host: localhost.example.org\r\n", 403),
        ("host: 127.0.0.1.example.org\r\n", 403),
        ("host: example.org\r\nhost: localhost\r\n", 400),
        ("host: localhost\r\nhost: example.org\r\n", 400),
        ("host: localhost@example.org\r\n", 403),
        ("host: \r\n", 400),
    ] {
        let reply = target.exchange(&request("GET", "/v1/models", host, b""))?;
        // A name that is none may be malformed too.
        let expected: &[u16] = match expected {
            200 => &[200],
            _ => &[400, 403],
        };
        answers.expect(host, &reply, expected);
    }
    Ok(answers)
}

/// JSON that nests deeply or has many members.
fn json(target: &Target) -> Result<Answers> {
    let mut answers = Answers::default();
    let path = format!("/v1/models/{MODEL}:predict");
    let kind = "content-type: application/json\r\n";
    for (what, body) in [
        ("a million brackets", "[".repeat(1_000_000)),
        (
            "nested instances",
            format!("{{\"instances\":{}", "[".repeat(1_000_000)),
        ),
        (
            "a million instances",
            format!("{{\"instances\":[{}1]}}", "1,".repeat(1_000_000)),
        ),
        (
            "a long string",
            format!(
                "{{\"instances\":[{{\"b64\":\"{}\"}}]}}",
                "A".repeat(8_000_000)
            ),
        ),
        (
            "many images",
            format!(
                "{{\"instances\":[{}1]}}",
                "{\"b64\":\"AAAA\"},".repeat(300_000)
            ),
        ),
    ] {
        let reply = target.exchange(&request("POST", &path, kind, body.as_bytes()))?;
        answers.expect(what, &reply, &[400, 413, 503]);
    }
    Ok(answers)
}
