//! The settings of a server.

use std::fmt;
use std::num::NonZeroUsize;
use std::time::Duration;

use mnist_data::Decoding;

/// The settings of a server. The default suits a machine of a few cores.
#[derive(Clone)]
pub struct Settings {
    /// The most images of one forward pass.
    pub max_batch: NonZeroUsize,
    /// The longest time that a decoded image waits for others of its batch. A lone image never waits.
    pub max_wait: Duration,
    /// The most images of each model that are accepted and not yet answered. It also limits the images of one request.
    pub queue: NonZeroUsize,
    /// The number of images that are decoded or explained at once.
    pub decoders: NonZeroUsize,
    /// How images are decoded. Fast decoding reads large JPEGs at reduced size.
    pub decode: Decoding,
    /// The most memory in bytes for decoding one image, its file and pixels included. Larger images are refused before
    /// memory is allocated. All images together take at most [`decoders`](Self::decoders) times as much.
    pub pixel_limit: u64,
    /// The largest body of a request in bytes.
    pub body_limit: usize,
    /// The memory for the bodies of all requests in bytes, at least `body_limit`.
    pub body_budget: usize,
    /// Host names that a request may have, besides `localhost` and IP addresses. `*` allows every name.
    pub allowed_hosts: Vec<String>,
    /// The token that requests must carry as `Authorization: Bearer TOKEN`, if any.
    pub token: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        let number = |number| NonZeroUsize::new(number).unwrap_or(NonZeroUsize::MIN);
        Self {
            max_batch: number(32),
            max_wait: Duration::from_millis(2),
            queue: number(256),
            decoders: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            decode: Decoding::Exact,
            pixel_limit: 128 << 20,
            body_limit: 16 << 20,
            body_budget: 128 << 20,
            allowed_hosts: Vec::new(),
            token: None,
        }
    }
}

/// Shows whether there is a token, but never the token.
impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let token = self.token.as_ref().map(|_| "…");
        f.debug_struct("Settings")
            .field("max_batch", &self.max_batch)
            .field("max_wait", &self.max_wait)
            .field("queue", &self.queue)
            .field("decoders", &self.decoders)
            .field("decode", &self.decode)
            .field("pixel_limit", &self.pixel_limit)
            .field("body_limit", &self.body_limit)
            .field("allowed_hosts", &self.allowed_hosts)
            .field("token", &token)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_never_shown() {
        let settings = Settings {
            token: Some("secret".to_owned()),
            ..Settings::default()
        };
        assert!(!format!("{settings:?}").contains("secret"));
    }
}
