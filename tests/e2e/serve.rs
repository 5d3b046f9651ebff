//! Tests `classify serve`: answers, names of models, signals and refused arguments.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdout, Stdio};

use serde_json::Value;

use crate::bench::{Bench, sorted, trained, trained_weights, weights_in};

/// A server that is killed at the end of a test.
struct Server {
    child: Child,
    address: String,
    errors: BufReader<ChildStderr>,
    /// Kept open for the server.
    _output: BufReader<ChildStdout>,
}

impl Server {
    fn start(bench: &Bench, arguments: &[&str]) -> Self {
        let mut command = bench.command(&["serve", "--port", "0"]);
        let command = command.args(arguments).stdout(Stdio::piped());
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut errors = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        let Some(address) = line.trim().strip_prefix("listening on http://") else {
            let mut said = String::new();
            errors.read_to_string(&mut said).unwrap();
            panic!("{line:?}, {said}");
        };
        Self {
            address: address.to_owned(),
            child,
            errors,
            _output: output,
        }
    }

    /// The status and the body of an answer.
    fn ask(&self, method: &str, path: &str, body: &[u8]) -> (u16, String) {
        let host = format!("Host: {}\r\n", self.address);
        self.ask_with(method, path, &host, body)
    }

    /// As [`Server::ask`], with these headers.
    fn ask_with(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\n{headers}Connection: close\r\nContent-Length: {length}\r\n\r\n"
        );
        stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap();
        (status.parse().unwrap(), body.to_owned())
    }

    /// The answer to an image file.
    fn predict(&self, query: &str, image: &Path) -> Value {
        let path = format!("/v1/predict?probabilities=true{query}");
        let (status, body) = self.ask("POST", &path, &std::fs::read(image).unwrap());
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).unwrap()
    }

    /// Reads the log until a line with this text.
    fn said(&mut self, text: &str) -> String {
        let mut said = String::new();
        while !said.contains(text) {
            let read = self.errors.read_line(&mut said).unwrap();
            assert!(read > 0, "{text:?} is not in\n{said}");
        }
        said
    }

    #[cfg(unix)]
    fn signal(&self, name: &str) {
        let mut kill = std::process::Command::new("kill");
        kill.args([&format!("-{name}"), &self.child.id().to_string()]);
        assert!(kill.status().unwrap().success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both calls fail only if the process has already ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Weights of two classes, in the folder of this test.
fn other_weights(bench: &Bench) -> String {
    bench.two_classes();
    bench.train_folder(&[]).success();
    weights_in(&bench.path("run")).to_str().unwrap().to_owned()
}

/// An image of a digit.
fn digit() -> std::path::PathBuf {
    sorted(&trained().path("images/test/7")).remove(0)
}

#[test]
fn models_are_served_by_name_and_answer_as_predict_does() {
    let bench = Bench::new();
    let (digits, other) = (trained_weights(), other_weights(&bench));
    let named = format!("other={other}");
    let server = Server::start(&bench, &["--weights", &digits, "--weights", &named]);
    assert!(server.address.starts_with("127.0.0.1:"));
    let image = digit();
    for (weights, query) in [(&digits, ""), (&other, "&model=other")] {
        let input = image.to_str().unwrap();
        let flags = ["--json", "--probabilities", "--weights", weights, input];
        let run = bench.run(&[&["predict"], &flags[..]].concat()).success();
        let expected: Value = serde_json::from_str(&run.stdout).unwrap();
        let found = server.predict(query, &image);
        assert_eq!(found["label"], expected["label"]);
        let expected = expected["probabilities"].as_object().unwrap();
        assert_eq!(
            found["probabilities"].as_object().unwrap().len(),
            expected.len()
        );
        for (class, expected) in expected {
            let difference =
                found["probabilities"][class].as_f64().unwrap() - expected.as_f64().unwrap();
            assert!(difference.abs() < 1e-6, "{class} differs by {difference}");
        }
    }
    assert_eq!(server.predict("", &image)["model"], stem(&digits));
    assert_eq!(server.ask("POST", "/v1/predict?model=third", b"").0, 404);
}

fn stem(weights: &str) -> &str {
    Path::new(weights).file_stem().unwrap().to_str().unwrap()
}

#[test]
fn tokens_and_host_names_are_those_of_the_arguments() {
    let bench = Bench::new();
    std::fs::write(bench.path("token"), " secret\n").unwrap();
    let weights = trained_weights();
    let flags = [
        "--token-file",
        "token",
        "--allowed-host",
        "model.example.org",
    ];
    let server = Server::start(&bench, &[&["--weights", &weights], &flags[..]].concat());
    for (host, token, expected) in [
        ("localhost", "secret", 200),
        ("MODEL.example.org:80", "secret", 200),
        ("localhost", "Secret", 401),
        ("example.org", "secret", 403),
    ] {
        let headers = format!("Host: {host}\r\nAuthorization: Bearer {token}\r\n");
        let (status, body) = server.ask_with("GET", "/v1/models", &headers, b"");
        assert_eq!(status, expected, "{host}, {token}: {body}");
    }
    assert_eq!(server.ask("GET", "/v1/models", b"").0, 401);
}

#[cfg(unix)]
#[test]
fn signals_reload_the_weights_and_end_the_server() {
    let bench = Bench::new();
    let other = other_weights(&bench);
    let file = bench.path("served.safetensors");
    std::fs::copy(trained_weights(), &file).unwrap();
    let mut server = Server::start(&bench, &["--weights", file.to_str().unwrap()]);
    let classes = |server: &Server| {
        let answer = server.predict("", &digit());
        answer["probabilities"].as_object().unwrap().len()
    };
    assert_eq!(classes(&server), 10);

    std::fs::copy(&other, &file).unwrap();
    server.signal("HUP");
    server.said("the weights were read again");
    assert_eq!(classes(&server), 2);

    // A damaged file changes nothing.
    std::fs::write(&file, "no weights").unwrap();
    server.signal("HUP");
    let said = server.said("the old networks stay");
    assert!(said.contains("served.safetensors"), "{said}");
    assert_eq!(classes(&server), 2);

    server.signal("TERM");
    assert_eq!(server.child.wait().unwrap().code(), Some(0));
}

#[cfg(unix)]
#[test]
fn a_begun_request_is_answered_and_a_second_signal_ends_at_once() {
    let bench = Bench::new();
    for is_hasty in [false, true] {
        let mut server = Server::start(&bench, &["--weights", &trained_weights()]);
        let image = std::fs::read(digit()).unwrap();
        let mut stream = TcpStream::connect(&server.address).unwrap();
        let (first, rest) = image.split_at(10);
        let head = format!(
            "POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n",
            image.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        // The server asks for the body, so the request has begun.
        let mut answer = vec![0; b"HTTP/1.1 100 Continue\r\n\r\n".len()];
        stream.read_exact(&mut answer).unwrap();
        stream.write_all(first).unwrap();
        server.signal("INT");
        // It ends when it accepts no connections any more.
        while TcpStream::connect(&server.address).is_ok() {
            std::thread::yield_now();
        }
        if is_hasty {
            server.signal("TERM");
            assert_eq!(server.child.wait().unwrap().code(), Some(130));
            continue;
        }
        stream.write_all(rest).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.contains("connection: close\r\n"), "{answer}");
        assert_eq!(server.child.wait().unwrap().code(), Some(0));
    }
}

#[test]
fn wrong_arguments_say_what_to_do() {
    let bench = Bench::new();
    let weights = trained_weights();
    let serve = |arguments: &[&str]| {
        let all = [&["serve", "--port", "0", "--weights", &weights], arguments].concat();
        bench.run(&all)
    };
    let twice = ["--weights", &weights];
    serve(&twice).failure(2, &[stem(&weights), "--weights NAME=FILE"]);
    serve(&["--weights", "absent"]).failure(1, &["absent: no such file"]);
    serve(&["--body-limit", "16MB"]).failure(2, &["16MiB"]);
    serve(&["--max-batch", "0"]).failure(2, &["--max-batch"]);
    serve(&["--host", "example.org"]).failure(2, &["--host"]);
    serve(&["--allowed-host", "http://a"]).failure(2, &["without port"]);
    serve(&["--token-file", "absent"]).failure(1, &["absent"]);
    std::fs::write(bench.path("token"), " \n").unwrap();
    serve(&["--token-file", "token"]).failure(1, &["token is empty"]);

    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let command = ["serve", "--weights", &weights, "--port", &port];
    let says = format!("cannot listen on 127.0.0.1:{port}");
    bench.run(&command).failure(1, &[&says, "--port 0"]);
}
