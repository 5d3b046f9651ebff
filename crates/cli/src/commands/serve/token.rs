//! The token that requests must carry.

use std::fs;
use std::path::Path;

use anyhow::{Context, bail};

/// Reads the token of a file, without the white space around it. Warns if other users may read the file.
pub(super) fn read(file: &Path) -> anyhow::Result<String> {
    let shown = file.display();
    let text =
        fs::read_to_string(file).with_context(|| format!("cannot read the token in {shown}"))?;
    let token = text.trim();
    if token.is_empty() {
        bail!("{shown} is empty; expected a token, such as the output of `openssl rand -hex 32`");
    }
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        bail!("{shown} has more than a token; expected one word of visible ASCII characters");
    }
    if is_public(file) {
        tracing::warn!(
            "every user of this machine can read the token; `chmod 600 {shown}` prevents it"
        );
    }
    Ok(token.to_owned())
}

#[cfg(unix)]
fn is_public(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;

    fs::metadata(file).is_ok_and(|metadata| metadata.permissions().mode() & 0o004 != 0)
}

#[cfg(not(unix))]
fn is_public(_: &Path) -> bool {
    false
}
