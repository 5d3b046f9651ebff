use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode, header};
use tower::ServiceExt as _;

use super::*;

fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src/page"))
}

#[tokio::test]
async fn every_file_is_served_with_its_type_and_the_policy() {
    for (path, kind, text) in FILES {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let answer = router::<()>();
        let answer: Router = answer.with_state(());
        let answer = answer.oneshot(request).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        assert_eq!(answer.headers()[header::CONTENT_TYPE], kind, "{path}");
        let policy = answer.headers()[header::CONTENT_SECURITY_POLICY]
            .to_str()
            .unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'self';"));
        assert!(!policy.contains("unsafe") && !policy.contains("http"));
        let body = to_bytes(answer.into_body(), usize::MAX).await.unwrap();
        assert_eq!(body, text.as_bytes(), "{path}");
    }
}

#[test]
fn every_file_of_the_folder_is_listed() {
    let listed: BTreeSet<&str> = FILES
        .iter()
        .map(|(path, ..)| path.trim_start_matches("/page/").trim_start_matches('/'))
        .map(|name| if name.is_empty() { "index.html" } else { name })
        .collect();
    let found: BTreeSet<String> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.ends_with(".rs"))
        .collect();
    assert_eq!(
        found.iter().map(String::as_str).collect::<BTreeSet<_>>(),
        listed
    );
}

/// The policy forbids all of these, and a browser would report each.
#[test]
fn nothing_is_inline_and_nothing_comes_from_elsewhere() {
    for (path, kind, text) in FILES {
        // The namespace of the icon is a name, not an address.
        let text = text.replace("http://www.w3.org/2000/svg", "");
        assert!(
            !text.contains("http://") && !text.contains("https://"),
            "{path}"
        );
        if kind == HTML {
            for forbidden in ["<style", "style=", " on", "<script>"] {
                let found = text.match_indices(forbidden).find(|(at, _)| {
                    forbidden != " on"
                        || text[*at..].chars().skip(3).find(|c| !c.is_alphabetic()) == Some('=')
                });
                assert_eq!(found, None, "{path}");
            }
        }
    }
}

/// The page and the report of a run look like one product.
#[test]
fn the_colours_are_those_of_the_report() {
    let report = Path::new(env!("CARGO_MANIFEST_DIR")).join("../report/src/page/style.css");
    let report = fs::read_to_string(report).unwrap();
    let ours = include_str!("style.css");
    assert!(report.lines().next().unwrap().starts_with(":root{"));
    assert!(report.lines().take(2).eq(ours.lines().take(2)));
}

#[test]
fn the_page_says_how_wide_its_lines_become() {
    let script = include_str!("mnist.js");
    let (_, rest) = script.split_once("export const PEN = ").unwrap();
    let (pen, _) = rest.split_once(';').unwrap();
    let said = format!("become {pen} pixels wide");
    assert!(include_str!("index.html").contains(&said), "{said}");
}
