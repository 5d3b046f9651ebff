//! Arguments of `classify serve`.

use std::ffi::OsString;
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Args, ValueEnum};
use mnist_data::Decoding;
use trainer::config::MAX_BATCH_SIZE;

use super::NetworkArgs;
use super::values::{at_most, bytes, milliseconds};

/// Serve trained networks over HTTP, with a page to try them.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  classify serve --weights W
  classify serve --weights digits=W1 --weights photos=W2 --port 0
  classify serve --weights W --host 0.0.0.0 --token-file token --allowed-host model.example.org

  curl -H 'Content-Type: image/jpeg' --data-binary @photo.jpg http://127.0.0.1:8080/v1/predict

When the server is ready, it prints its address. A browser shows a page there. SIGTERM and Ctrl-C
end it after the requests that it has begun; once more ends it at once. SIGHUP reads the weights
files again; if one cannot be read, the old networks stay.

A request may name the server by address or as localhost. Other names need --allowed-host, so that
a web page of a stranger cannot reach the server under a name of its own. There is no TLS: put a
proxy before a server that others reach.")]
pub(crate) struct ServeArgs {
    /// Weights file, of any origin, or the name of fetched weights; NAME is the model's name in
    /// requests [default: the file's name without its extension]. The first one answers requests
    /// that name no model
    #[arg(long, required = true, value_name = "[NAME=]FILE", value_parser = OsStringValueParser::new().try_map(named_weights))]
    pub(crate) weights: Vec<NamedWeights>,
    /// Address to listen on; 0.0.0.0 for every IPv4 address of this machine
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    pub(crate) host: IpAddr,
    /// Port to listen on; 0 picks a free one
    #[arg(long, default_value = "8080")]
    pub(crate) port: u16,
    /// The most images of one forward pass
    #[arg(long, value_name = "N", default_value = "32", value_parser = at_most::<MAX_BATCH_SIZE>)]
    pub(crate) max_batch: NonZeroUsize,
    /// The longest time, in milliseconds, that an image waits for others of its batch
    #[arg(long, value_name = "MS", default_value = "2", value_parser = milliseconds)]
    pub(crate) max_wait: Duration,
    /// The most images of each model that are accepted and not yet answered; further ones are
    /// refused with status 503
    #[arg(long, value_name = "N", default_value = "256", value_parser = at_most::<MAX_QUEUE>)]
    pub(crate) queue: NonZeroUsize,
    /// The largest body of a request: bytes, or a number with KiB, MiB or GiB
    #[arg(long, value_name = "SIZE", default_value = "16MiB", value_parser = bytes)]
    pub(crate) body_limit: NonZeroUsize,
    /// Answer only requests with `Authorization: Bearer TOKEN`; the file has the token
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// Answer requests to this host name too; * allows every name
    #[arg(long, value_name = "NAME", value_parser = host_name)]
    pub(crate) allowed_host: Vec<String>,
    /// How JPEG files are decoded
    #[arg(long, value_name = "HOW", default_value = "exact", ignore_case = true)]
    pub(crate) decode: Decode,
    #[command(flatten)]
    pub(crate) network: NetworkArgs,
}

/// The most images that may wait for a model.
const MAX_QUEUE: usize = 1 << 20;

/// Weights and the model's name in requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NamedWeights {
    pub(crate) name: String,
    pub(crate) file: PathBuf,
}

/// How JPEG files are decoded.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Decode {
    /// The same pixels as PIL
    Exact,
    /// Large files at reduced size, a few grey levels off
    Fast,
}

impl From<Decode> for Decoding {
    fn from(decode: Decode) -> Self {
        match decode {
            Decode::Exact => Self::Exact,
            Decode::Fast => Self::Fast,
        }
    }
}

/// `FILE`, or `NAME=FILE`. An existing file with that whole name takes precedence.
fn named_weights(text: OsString) -> Result<NamedWeights, String> {
    let named = match Path::new(&text).exists() {
        true => None,
        false => text.to_str().and_then(|text| text.split_once('=')),
    };
    // A folder's name may contain an equals sign.
    match named.filter(|(name, _)| !name.contains(['/', '\\'])) {
        Some((name, _)) if name != url_word(name) => Err(format!(
            "{name:?} is no name for a model; expected letters, digits, '-', '_' and '.', such as {}=FILE",
            url_word(name)
        )),
        Some((_, "")) => Err("expected a file after the equals sign".to_owned()),
        Some((name, file)) => Ok(NamedWeights {
            name: name.to_owned(),
            file: file.into(),
        }),
        None => {
            let file = PathBuf::from(text);
            let stem = file.file_stem().unwrap_or_default();
            Ok(NamedWeights {
                name: url_word(&stem.to_string_lossy()),
                file,
            })
        }
    }
}

/// A name that needs no escapes in a URL: letters and digits of ASCII, `-`, `_` and `.`; not empty, and no dot first.
fn url_word(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let plain = |c| if is_plain(c) { c } else { '-' };
    let word: String = text.trim_start_matches('.').chars().map(plain).collect();
    match word.is_empty() {
        true => "model".to_owned(),
        false => word,
    }
}

/// A host name without port, or `*`.
fn host_name(text: &str) -> Result<String, String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    match text == "*" || (!text.is_empty() && text.chars().all(is_part)) {
        true => Ok(text.to_ascii_lowercase()),
        false => {
            Err("expected a host name without port, such as model.example.org, or *".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_named_by_the_argument_or_the_file() {
        for (argument, name, file) in [
            ("digits=a/b.safetensors", "digits", "a/b.safetensors"),
            (
                "runs/x/small_e3_0.99.safetensors",
                "small_e3_0.99",
                "runs/x/small_e3_0.99.safetensors",
            ),
            ("mobilenet_v2", "mobilenet_v2", "mobilenet_v2"),
            ("runs/a=b/my net.pth", "my-net", "runs/a=b/my net.pth"),
            ("a=b=c", "a", "b=c"),
            ("..", "model", ".."),
        ] {
            let expected = NamedWeights {
                name: name.to_owned(),
                file: file.into(),
            };
            assert_eq!(named_weights(argument.into()), Ok(expected));
        }
        for wrong in ["my digits=W", "=W", "a=", "a:b=W", ".a=W"] {
            assert!(named_weights(wrong.into()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_file_with_an_equals_sign_is_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a=b");
        std::fs::write(&path, "").unwrap();
        let weights = named_weights(path.clone().into_os_string()).unwrap();
        assert_eq!((weights.name.as_str(), weights.file), ("a-b", path));
    }

    #[test]
    fn allowed_hosts_have_neither_scheme_nor_port() {
        assert_eq!(
            host_name("Model.example.org"),
            Ok("model.example.org".to_owned())
        );
        assert_eq!(host_name("*"), Ok("*".to_owned()));
        for wrong in ["", "http://a", "a:80", "a/b", "*.a"] {
            assert!(host_name(wrong).is_err(), "{wrong}");
        }
    }
}
