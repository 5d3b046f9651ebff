//! Fetching from a small HTTP server on this machine.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;

use flate2::write::GzEncoder;
use tempfile::TempDir;

use super::*;
use crate::catalogue::GZ;
use crate::progress::NoProgress;

/// The server's answer to a URL.
#[derive(Clone)]
enum Answer {
    /// The whole body, or the requested range.
    Whole(Vec<u8>),
    /// As `Whole`, but each answer ends after this many bytes.
    CutOff(Vec<u8>, usize),
    /// As `CutOff`, from a server without ranges.
    CutOffWithoutRanges(Vec<u8>, usize),
    /// `404 Not Found`.
    Missing,
}

/// Serves answers by path, and remembers each request as `path range`.
struct Server {
    address: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start(answers: &[(&str, Answer)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}/", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let answers: HashMap<String, Answer> = answers
            .iter()
            .flat_map(|(name, answer)| {
                ["", GZ].map(|suffix| (format!("/{name}{suffix}"), answer.clone()))
            })
            .collect();
        let log = Arc::clone(&requests);
        thread::spawn(move || {
            for stream in listener.incoming() {
                respond(stream.unwrap(), &answers, &log);
            }
        });
        Self { address, requests }
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

fn respond(mut stream: TcpStream, answers: &HashMap<String, Answer>, log: &Mutex<Vec<String>>) {
    let mut lines = BufReader::new(stream.try_clone().unwrap())
        .lines()
        .map_while(std::result::Result::ok);
    let request = lines.next().unwrap_or_default();
    let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut range = None;
    for line in lines.take_while(|line| !line.is_empty()) {
        let line = line.to_lowercase();
        range = range.or(line
            .strip_prefix("range: bytes=")
            .map(|range| range.trim().to_owned()));
    }
    log.lock()
        .unwrap()
        .push(format!("{path} {}", range.as_deref().unwrap_or("whole")));
    let (contents, cut, ranges) = match answers.get(&path) {
        None | Some(Answer::Missing) => {
            let _ = stream.write_all(
                b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            );
            return;
        }
        Some(Answer::Whole(contents)) => (contents, usize::MAX, true),
        Some(Answer::CutOff(contents, cut)) => (contents, *cut, true),
        Some(Answer::CutOffWithoutRanges(contents, cut)) => (contents, *cut, false),
    };
    let start: Option<usize> = range
        .filter(|_| ranges)
        .and_then(|range| range.strip_suffix('-')?.parse().ok());
    let total = contents.len();
    let (status, body) = match start {
        None => ("200 OK\r\n".to_owned(), &contents[..]),
        Some(start) if start < total => {
            let status = format!(
                "206 Partial Content\r\nContent-Range: bytes {start}-{}/{total}\r\n",
                total - 1
            );
            (status, &contents[start..])
        }
        Some(_) => (
            format!("416 Range Not Satisfiable\r\nContent-Range: bytes */{total}\r\n"),
            &contents[..0],
        ),
    };
    let _ = write!(
        stream,
        "HTTP/1.1 {status}Content-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let _ = stream.write_all(&body[..body.len().min(cut)]);
}

/// The raw contents of a file named `name`, large enough for many pieces.
fn raw(name: &str) -> Vec<u8> {
    let seed = name.bytes().map(u32::from).sum::<u32>();
    let mut state = seed;
    (0..20_000)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .collect()
}

fn gz(contents: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(contents).unwrap();
    gzip.finish().unwrap()
}

fn sha256(contents: &[u8]) -> String {
    let mut checksum = Checksum::default();
    checksum.update(contents);
    checksum.finish()
}

fn plan(names: &[&str], mirrors: &[&str]) -> Plan {
    let file = |&name: &&str| FileSpec {
        name: name.into(),
        bytes: raw(name).len() as u64,
        sha256: sha256(&raw(name)),
    };
    Plan {
        name: "digits".into(),
        files: names.iter().map(file).collect(),
        mirrors: mirrors.iter().map(|&mirror| mirror.into()).collect(),
        suffix: GZ,
        package: None,
        damaged: Damaged::Replace,
    }
}

/// Fetches without the proxy that this machine may have.
fn run(plan: &Plan, dir: &TempDir) -> Result<FetchReport> {
    let agent = download::config().proxy(None).build().into();
    fetch_plan(plan, dir.path(), &agent, &NoProgress)
}

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// The names in `dir`, hidden ones too.
fn listing(dir: &TempDir) -> Vec<String> {
    let names = crate::folder::names(dir.path()).unwrap();
    names
        .into_iter()
        .map(|name| name.into_string().unwrap())
        .collect()
}

fn assert_fetched(dir: &TempDir, names: &[&str]) {
    assert_eq!(listing(dir), names);
    for name in names {
        assert!(
            fs::read(dir.path().join(name)).unwrap() == raw(name),
            "{name} has other contents"
        );
    }
}

/// A URL at which nothing listens.
fn dead_mirror() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}/", listener.local_addr().unwrap())
}

#[test]
fn files_are_unpacked_and_verified_and_not_asked_for_again() {
    // A mirror may also serve the raw bytes.
    let server = Server::start(&[
        ("a", Answer::Whole(gz(&raw("a")))),
        ("b", Answer::Whole(raw("b"))),
    ]);
    let dir = folder();
    let plan = plan(&["a", "b"], &[&server.address]);
    let report = run(&plan, &dir).unwrap();
    assert_eq!(report.present, Vec::<String>::new());
    assert_eq!(
        report.fetched[0],
        ("a".to_owned(), format!("{}a.gz", server.address))
    );
    assert_fetched(&dir, &["a", "b"]);
    let report = run(&plan, &dir).unwrap();
    assert_eq!((report.present.len(), report.fetched.len()), (2, 0));
    assert_eq!(server.requests(), ["/a.gz whole", "/b.gz whole"]);
}

#[test]
fn a_transfer_resumes_from_its_part() {
    let contents = gz(&raw("a"));
    let server = Server::start(&[("a", Answer::Whole(contents.clone()))]);
    for have in [1, 777, contents.len() - 1, contents.len()] {
        let dir = folder();
        fs::write(dir.path().join("a.part"), &contents[..have]).unwrap();
        run(&plan(&["a"], &[&server.address]), &dir).unwrap();
        assert_fetched(&dir, &["a"]);
        assert_eq!(server.requests().last().unwrap(), &format!("/a.gz {have}-"));
    }
    assert_eq!(server.requests().len(), 4, "nothing is asked for twice");
}

#[test]
fn a_connection_that_breaks_is_taken_up_again() {
    let contents = gz(&raw("a"));
    let piece = contents.len() / 3 + 1;
    let server = Server::start(&[("a", Answer::CutOff(contents, piece))]);
    let dir = folder();
    run(&plan(&["a"], &[&server.address]), &dir).unwrap();
    assert_fetched(&dir, &["a"]);
    let expected = [
        "/a.gz whole".to_owned(),
        format!("/a.gz {piece}-"),
        format!("/a.gz {}-", 2 * piece),
    ];
    assert_eq!(server.requests(), expected);
}

#[test]
fn a_connection_that_gets_no_further_is_given_up() {
    let server = Server::start(&[("a", Answer::CutOffWithoutRanges(gz(&raw("a")), 1000))]);
    let dir = folder();
    let text = run(&plan(&["a"], &[&server.address]), &dir)
        .unwrap_err()
        .to_string();
    assert!(text.contains(&format!("{}a.gz", server.address)), "{text}");
    assert_eq!(server.requests().len(), 2);
    // The partial download stays for the next time, under another name.
    assert_eq!(listing(&dir), ["a.part"]);
}

#[test]
fn wrong_contents_are_thrown_away_and_the_next_mirror_is_asked() {
    let wrong = Server::start(&[("a", Answer::Whole(gz(b"something else")))]);
    let missing = Server::start(&[("a", Answer::Missing)]);
    let right = Server::start(&[("a", Answer::Whole(gz(&raw("a"))))]);
    let dir = folder();
    let error = run(&plan(&["a"], &[&wrong.address, &missing.address]), &dir).unwrap_err();
    assert!(
        error.to_string().contains(&sha256(b"something else")),
        "{error}"
    );
    assert!(error.to_string().contains("HTTP status 404"), "{error}");
    assert_eq!(listing(&dir), Vec::<String>::new());

    let report = run(
        &plan(&["a"], &[&wrong.address, &missing.address, &right.address]),
        &dir,
    )
    .unwrap();
    assert_eq!(
        report.fetched,
        [("a".to_owned(), format!("{}a.gz", right.address))]
    );
    assert_fetched(&dir, &["a"]);
}

#[test]
fn a_damaged_part_is_replaced() {
    let contents = gz(&raw("a"));
    let server = Server::start(&[("a", Answer::Whole(contents.clone()))]);
    for part in [
        vec![7; 500],
        vec![7; contents.len()],
        vec![7; contents.len() + 500],
    ] {
        let dir = folder();
        fs::write(dir.path().join("a.part"), part).unwrap();
        run(&plan(&["a"], &[&server.address]), &dir).unwrap();
        assert_fetched(&dir, &["a"]);
        assert_eq!(server.requests().last().unwrap(), "/a.gz whole");
    }
}

#[test]
fn an_endless_answer_is_refused() {
    let server = Server::start(&[
        ("a", Answer::Whole(vec![0; 3 << 20])),
        ("b", Answer::Whole(gz(&vec![0; 3 << 20]))),
    ]);
    let dir = folder();
    let text = run(&plan(&["a", "b"], &[&server.address]), &dir)
        .unwrap_err()
        .to_string();
    assert!(text.contains("longer than"), "{text}");
    assert!(text.contains("SHA-256"), "{text}");
    assert_eq!(listing(&dir), Vec::<String>::new());
}

#[test]
fn a_dead_mirror_is_asked_once() {
    let dead = dead_mirror();
    let dir = folder();
    let text = run(&plan(&["a", "b", "c"], &[&dead]), &dir)
        .unwrap_err()
        .to_string();
    assert_eq!(text.matches(&dead).count(), 1, "{text}");
    assert!(
        text.contains(&format!(
            "Put a, b, c (plain or .gz) into {}",
            dir.path().display()
        )),
        "{text}"
    );

    let server = Server::start(&[
        ("a", Answer::Whole(gz(&raw("a")))),
        ("b", Answer::Whole(gz(&raw("b")))),
    ]);
    run(&plan(&["a", "b"], &[&dead, &server.address]), &dir).unwrap();
    assert_fetched(&dir, &["a", "b"]);
}

#[test]
fn a_file_brought_by_hand_needs_no_source() {
    let dir = folder();
    fs::write(dir.path().join("a.gz"), gz(&raw("a"))).unwrap();
    let report = run(&plan(&["a"], &[]), &dir).unwrap();
    assert_eq!(report.present, ["a"]);
    assert!(fs::read(dir.path().join("a")).unwrap() == raw("a"));
    assert_eq!(listing(&dir), ["a", "a.gz"]);
}

#[test]
fn a_damaged_file_is_fetched_again() {
    let server = Server::start(&[("a", Answer::Whole(gz(&raw("a"))))]);
    let dir = folder();
    let mut damaged = raw("a");
    damaged[5000] ^= 1;
    fs::write(dir.path().join("a"), damaged).unwrap();
    run(&plan(&["a"], &[&server.address]), &dir).unwrap();
    assert_fetched(&dir, &["a"]);
}

#[test]
fn one_of_several_processes_fetches_and_the_others_use_its_files() {
    let names = ["a", "b"];
    let answers = names.map(|name| (name, Answer::Whole(gz(&raw(name)))));
    for _ in 0..4 {
        let (server, dir, start) = (Server::start(&answers), folder(), Barrier::new(4));
        let plan = plan(&names, &[&server.address]);
        // The leftover of a killed process.
        fs::write(dir.path().join(".unfinished-a1b2c3"), "half").unwrap();
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    start.wait();
                    run(&plan, &dir).unwrap();
                });
            }
        });
        assert_fetched(&dir, &names);
        assert_eq!(server.requests(), ["/a.gz whole", "/b.gz whole"]);
    }
}

/// The plan for weights of this name; a mirror serves them uncompressed.
fn weights_plan(name: &str, mirror: &str) -> Plan {
    let mut plan = Plan {
        suffix: "",
        damaged: Damaged::Refuse,
        ..plan(&[name], &[mirror])
    };
    // Only an upper bound of their length and the first digits of their SHA-256 are known.
    plan.files[0].bytes += 12_345;
    plan.files[0].sha256.truncate(8);
    plan
}

#[test]
fn weights_are_verified_by_the_digits_of_their_name() {
    let server = Server::start(&[("a", Answer::CutOff(raw("a"), 8_000))]);
    let dir = folder();
    let plan = weights_plan("a", &server.address);
    let report = run(&plan, &dir).unwrap();
    assert_eq!(
        report.fetched,
        [("a".to_owned(), format!("{}a", server.address))]
    );
    assert_fetched(&dir, &["a"]);
    assert_eq!(run(&plan, &dir).unwrap().present, ["a"]);
    assert_eq!(server.requests(), ["/a whole", "/a 8000-", "/a 16000-"]);

    let wrong = Server::start(&[("a", Answer::Whole(raw("b")))]);
    let dir = folder();
    let error = run(&weights_plan("a", &wrong.address), &dir).unwrap_err();
    assert!(matches!(error, Error::Fetch { .. }), "{error:?}");
    assert_eq!(listing(&dir), Vec::<String>::new());
}

#[test]
fn a_file_with_the_name_of_weights_is_never_overwritten() {
    let server = Server::start(&[("a", Answer::Whole(raw("a")))]);
    let dir = folder();
    fs::write(dir.path().join("a"), "trained for a week").unwrap();
    let error = run(&weights_plan("a", &server.address), &dir).unwrap_err();
    assert!(
        matches!(&error, Error::Occupied { path, .. } if *path == dir.path().join("a")),
        "{error:?}"
    );
    assert_eq!(listing(&dir), ["a"]);
    let kept = fs::read(dir.path().join("a")).unwrap();
    assert_eq!(kept, b"trained for a week");
    assert_eq!(server.requests(), Vec::<String>::new());
}
