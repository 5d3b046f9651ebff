//! Runs the commands of docs/serve.md as printed, and compares their answers with the printed ones.
//!
//! A block of `sh` that begins with `classify serve` starts a server. Any other block runs to its end. If it runs curl,
//! the block after it is the answer. In a printed answer, `…` stands for any text. Numbers with a fraction need not be equal,
//! since the weights are others. Blanks and line breaks mean nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::server::Server;
use crate::shell::{output, root};

const PAGE: &str = "docs/serve.md";

/// A fenced block of a Markdown page.
#[derive(Debug, PartialEq)]
struct Block {
    language: String,
    text: String,
    /// The number of its first line.
    line: usize,
}

/// Something that a reader of the page does.
#[derive(Debug, PartialEq)]
enum Step<'a> {
    Serve(&'a Block),
    Prepare(&'a Block),
    Ask {
        command: &'a Block,
        answer: &'a Block,
    },
}

/// Follows the page in a folder that has these weights and an image of a 7 and of a 2, as the page asks for.
pub(super) fn check(dir: &Path, classify: &Path, weights: &Path, data: &Path) -> Result<()> {
    let text = fs::read_to_string(root()?.join(PAGE)).context(PAGE)?;
    let blocks = blocks(&text);
    let dir = dir.join("serve");
    if dir.exists() {
        fs::remove_dir_all(&dir).with_context(|| format!("cannot remove {}", dir.display()))?;
    }
    fs::create_dir_all(&dir)?;
    // curl reads its settings from here. Without a limit, an answer that never comes would stop the check.
    fs::write(dir.join(".curlrc"), "silent\nshow-error\nmax-time = 30\n")?;
    for (name, class) in [("seven.png", "7"), ("two.png", "2")] {
        let image = first_image(&data.join("test").join(class))?;
        fs::copy(&image, dir.join(name)).with_context(|| format!("no {}", image.display()))?;
    }
    fs::copy(weights, dir.join("digits.safetensors"))?;
    let bin = classify.parent().context("classify is in no folder")?;
    let mut path = vec![bin.to_path_buf()];
    path.extend(std::env::split_paths(
        &std::env::var_os("PATH").unwrap_or_default(),
    ));
    let path = std::env::join_paths(path)?;
    let sh = |script: &str| {
        let mut command = Command::new("sh");
        command.args(["-ec", script]).current_dir(&dir);
        command.env("PATH", &path).env("CURL_HOME", &dir);
        command
    };
    let mut servers = Vec::new();
    let mut answers = 0;
    for step in steps(&blocks)? {
        match step {
            Step::Serve(block) => {
                let server = Server::start(sh(&format!("exec {}", block.text)));
                servers.push(server.with_context(|| at(block))?);
            }
            Step::Prepare(block) => {
                output(&mut sh(&block.text)).with_context(|| at(block))?;
            }
            Step::Ask { command, answer } => {
                let real = output(&mut sh(&command.text)).with_context(|| at(command))?;
                ensure!(
                    is_as_printed(&answer.text, &real),
                    "{}: the answer is not as printed, but\n{real}",
                    at(command)
                );
                answers += 1;
            }
        }
    }
    for server in servers {
        server.stop()?;
    }
    println!("{PAGE}: {answers} answers are as printed");
    Ok(())
}

fn at(block: &Block) -> String {
    format!("{PAGE}:{}", block.line)
}

fn first_image(dir: &Path) -> Result<PathBuf> {
    let entries = fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))?;
    let paths = entries.map(|entry| Ok(entry?.path()));
    let paths = paths.collect::<Result<Vec<_>>>()?;
    let first = paths.into_iter().min();
    first.with_context(|| format!("no image in {}", dir.display()))
}

/// The fenced blocks of a page.
fn blocks(page: &str) -> Vec<Block> {
    let mut found = Vec::new();
    let mut open: Option<Block> = None;
    for (number, line) in page.lines().enumerate() {
        match (line.strip_prefix("```"), &mut open) {
            (Some(_), Some(_)) => found.extend(open.take()),
            (Some(language), None) => {
                open = Some(Block {
                    language: language.to_owned(),
                    text: String::new(),
                    line: number + 2,
                });
            }
            (None, Some(block)) => block.text += &format!("{line}\n"),
            (None, None) => {}
        }
    }
    found
}

/// What the page tells its reader to do.
fn steps(blocks: &[Block]) -> Result<Vec<Step<'_>>> {
    let mut found = Vec::new();
    for (index, block) in blocks.iter().enumerate() {
        if block.language != "sh" {
            continue;
        }
        if block.text.starts_with("classify serve") {
            found.push(Step::Serve(block));
            continue;
        }
        if !block.text.contains("curl ") {
            found.push(Step::Prepare(block));
            continue;
        }
        match blocks.get(index + 1) {
            Some(answer) if answer.language != "sh" => found.push(Step::Ask {
                command: block,
                answer,
            }),
            _ => bail!("{}: no answer is printed after the command", at(block)),
        }
    }
    Ok(found)
}

/// Whether an answer is as printed.
fn is_as_printed(printed: &str, real: &str) -> bool {
    let (printed, real) = (comparable(printed), comparable(real));
    let mut pieces = printed.split('…');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = real.strip_prefix(first) else {
        return false;
    };
    let pieces: Vec<&str> = pieces.collect();
    let Some((last, middle)) = pieces.split_last() else {
        return rest.is_empty();
    };
    for piece in middle {
        match rest.find(piece) {
            Some(start) => rest = &rest[start + piece.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// A text without blanks, and with `#` for every number that has a fraction or an exponent.
fn comparable(text: &str) -> String {
    let mut found = String::new();
    let mut number = String::new();
    // A digit within a word or a name begins no number.
    let mut in_word = false;
    for char in text.chars().chain([' ']) {
        let goes_on = match number.is_empty() {
            true => !in_word && (char.is_ascii_digit() || char == '-'),
            false => char.is_ascii_digit() || matches!(char, '.' | 'e' | '-' | '+'),
        };
        if goes_on {
            number.push(char);
            continue;
        }
        let is_fraction = number.contains(['.', 'e']) && number.parse::<f64>().is_ok();
        found += if is_fraction { "#" } else { &number };
        in_word = char.is_alphanumeric() || !number.is_empty() && char == '_';
        number.clear();
        if !char.is_whitespace() {
            found.push(char);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_compared_but_for_fractions_and_elisions() {
        let printed = "{\"label\": \"7\",\n \"score\": 0.98, \"top\": [1, 2.5e-3, …]}";
        for same in [
            r#"{"label":"7","score":1.0,"top":[1,-3.0e7,4,5]}"#,
            r#"{"label":"7","score":0.5,"top":[1,1e-9,]}"#,
        ] {
            assert!(is_as_printed(printed, same), "{same}");
        }
        for other in [
            r#"{"label":"1","score":1.0,"top":[1,2.5,3]}"#,
            r#"{"label":"7","score":1,"top":[1,2.5,3]}"#,
            r#"{"label":"7","score":1.0,"top":[2,2.5,3]}"#,
            r#"{"label":"7","score":1.0,"top":[1,2.5,3]}x"#,
            r#"{"label":"7","score":1.0,"top":[1,2.5,3]"#,
            "",
        ] {
            assert!(!is_as_printed(printed, other), "{other}");
        }
        assert!(is_as_printed("a … b … c", "a 1 b 2 b 3 c"));
        assert!(!is_as_printed("a … b … c", "a 1 c"));
        assert!(!is_as_printed("ab…bc", "abc"), "pieces do not overlap");
        assert!(is_as_printed("x-ray v2", "x-ray v2") && !is_as_printed("v2", "v3"));
    }

    #[test]
    fn a_page_is_a_list_of_steps() {
        let page = "a\n```sh\nclassify serve\n```\n```sh\ndate\n```\n```sh\ncurl x\ncurl y\n```\nand\n```json\n{}\n```\n```toml\n```\n";
        let blocks = blocks(page);
        let lines: Vec<_> = blocks.iter().map(|block| block.line).collect();
        assert_eq!(lines, [3, 6, 9, 14, 17]);
        assert_eq!(blocks[2].text, "curl x\ncurl y\n");
        let expected = [
            Step::Serve(&blocks[0]),
            Step::Prepare(&blocks[1]),
            Step::Ask {
                command: &blocks[2],
                answer: &blocks[3],
            },
        ];
        assert_eq!(steps(&blocks).unwrap(), expected);
        assert!(steps(&blocks[2..3]).is_err());
    }

    #[test]
    fn the_page_shows_an_answer_of_every_protocol() {
        let text = fs::read_to_string(root().unwrap().join(PAGE)).unwrap();
        let blocks = blocks(&text);
        let steps = steps(&blocks).unwrap();
        assert!(matches!(steps.first(), Some(Step::Serve(_))));
        for path in [
            "/v1/predict",
            "/v1/explain",
            "/v1/models",
            "/v1/models/digits:predict",
            "/v2/models/digits/infer",
            "/v2/health/ready",
            "/metrics",
            "localhost:8080/ ",
        ] {
            let asks = |step: &Step| matches!(step, Step::Ask { command, .. } if command.text.contains(path));
            assert!(steps.iter().any(asks), "{path}");
        }
    }
}
