//! Sums from a server's `/metrics`.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use anyhow::{Context, Result};

/// The work of a server since its start.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Totals {
    pub(super) decode_seconds: f64,
    pub(super) decoded_images: f64,
    pub(super) network_seconds: f64,
    pub(super) batched_images: f64,
}

impl Totals {
    pub(super) fn of(address: SocketAddr) -> Result<Self> {
        let mut stream = TcpStream::connect(address)?;
        let request = "GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        stream.write_all(request.as_bytes())?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Self::read(&text).context("/metrics lacks a sum")
    }

    fn read(text: &str) -> Option<Self> {
        Some(Self {
            decode_seconds: sum(text, "classify_decode_seconds_sum")?,
            decoded_images: sum(text, "classify_decode_seconds_count")?,
            network_seconds: sum(text, "classify_network_seconds_sum")?,
            batched_images: sum(text, "classify_batch_images_sum")?,
        })
    }

    pub(super) fn since(&self, before: &Self) -> Self {
        Self {
            decode_seconds: self.decode_seconds - before.decode_seconds,
            decoded_images: self.decoded_images - before.decoded_images,
            network_seconds: self.network_seconds - before.network_seconds,
            batched_images: self.batched_images - before.batched_images,
        }
    }
}

/// The value of a metric of the only model.
fn sum(text: &str, name: &str) -> Option<f64> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    line.split_whitespace().last()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_read() {
        let text = "\
# TYPE classify_decode_seconds histogram
classify_decode_seconds_sum{model=\"m\"} 1.5
classify_decode_seconds_count{model=\"m\"} 3
classify_network_seconds_sum{model=\"m\"} 0.25
classify_batch_images_sum{model=\"m\"} 96.0
";
        let expected = Totals {
            decode_seconds: 1.5,
            decoded_images: 3.0,
            network_seconds: 0.25,
            batched_images: 96.0,
        };
        let found = Totals::read(text).unwrap();
        assert_eq!(found, expected);
        assert_eq!(found.since(&found), Totals::default());
        assert_eq!(Totals::read(&text.replace("network", "x")), None);
    }
}
