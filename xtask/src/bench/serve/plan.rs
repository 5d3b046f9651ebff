//! The cases of the server.

use super::sides::{Form, Images};

/// A case.
pub(super) struct Plan {
    pub(super) name: &'static str,
    pub(super) images: Images,
    pub(super) form: Form,
    pub(super) connections: usize,
    pub(super) kind: Kind,
}

/// The question of a case.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Against the peer.
    Peer,
    /// Decoding at reduced size, against the peer, which always does.
    Fast,
    /// Against `--max-batch 1`.
    Batching,
    /// One client, against the bare forward pass.
    Overhead,
    /// More clients than places in the queue.
    Overload,
    /// A new process up to its first answer.
    Start,
}

const fn plan(
    name: &'static str,
    images: Images,
    form: Form,
    connections: usize,
    kind: Kind,
) -> Plan {
    Plan {
        name,
        images,
        form,
        connections,
        kind,
    }
}

pub(super) const PLANS: [Plan; 11] = [
    plan("digits-64", Images::Digits, Form::Raw, 64, Kind::Peer),
    plan("photos-64", Images::Photos, Form::Raw, 64, Kind::Peer),
    plan("photos-fast-64", Images::Photos, Form::Raw, 64, Kind::Fast),
    plan("photos-json-64", Images::Photos, Form::Json, 64, Kind::Peer),
    plan(
        "photos-json-fast-64",
        Images::Photos,
        Form::Json,
        64,
        Kind::Fast,
    ),
    plan(
        "digits-batching",
        Images::Digits,
        Form::Raw,
        64,
        Kind::Batching,
    ),
    plan(
        "photos-batching",
        Images::Photos,
        Form::Raw,
        64,
        Kind::Batching,
    ),
    plan("digits-1", Images::Digits, Form::Raw, 1, Kind::Overhead),
    plan(
        "digits-overload",
        Images::Digits,
        Form::Raw,
        512,
        Kind::Overload,
    ),
    plan(
        "photos-overload",
        Images::Photos,
        Form::Raw,
        512,
        Kind::Overload,
    ),
    plan("digits-start", Images::Digits, Form::Raw, 1, Kind::Start),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_case_has_a_name_of_its_own() {
        let names: BTreeSet<_> = PLANS.iter().map(|plan| plan.name).collect();
        assert_eq!(names.len(), PLANS.len());
    }
}
