//! What a hostile feed can say, each with what the gate must count it as.

use gatepass_engine::batch::{Batch, MAX_FEED_BYTES, MAX_PART_BYTES};
use gatepass_engine::envelope::{PayloadType, Unverified};
use gatepass_engine::keyring::{Algorithm, IssuerKey, IssuerKeys};
use gatepass_tests::kit::hostile::Answer;
use gatepass_tests::kit::world::now;

use crate::desk::{Desk, WRONG_DIGEST, body, key, payload, resigned, signed_by};

/// One way to attack.
pub(crate) struct Attack {
    pub(crate) name: &'static str,
    pub(crate) counted: Counted,
    pub(crate) answer: fn(&Scene<'_>) -> Answer,
}

/// How an attack shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Counted {
    /// `gatepass_batch_refusals.<code>`.
    As(&'static str),
    /// `gatepass_polls_failed`.
    FailedPoll,
    /// Nothing is wrong with what came, or nothing came.
    Not,
}

/// What an attacker has in hand.
pub(crate) struct Scene<'d> {
    pub(crate) desk: &'d Desk,
    /// What an honest feed would say now: a snapshot to a cold gate, the next delta to a warm one.
    pub(crate) good: Vec<u8>,
    /// Genuine batches of the past; a warm gate is beyond all of them.
    pub(crate) past: &'d Past,
}

pub(crate) struct Past {
    pub(crate) snapshot: Vec<u8>,
    pub(crate) delta: Vec<u8>,
    pub(crate) checkpoint: Vec<u8>,
}

impl Scene<'_> {
    fn says(&self, batch: Vec<u8>) -> Answer {
        Answer::Body(self.desk.body(&[batch]))
    }

    fn changed(&self, change: impl FnOnce(&mut Batch<'_>)) -> Answer {
        self.says(self.desk.changed(&self.good, change))
    }

    fn good_body(&self) -> Vec<u8> {
        self.desk.body(std::slice::from_ref(&self.good))
    }
}

/// Against a warm and a cold gate alike.
pub(crate) const ANYWHERE: &[Attack] = &[
    Attack {
        name: "the signature is stripped",
        counted: Counted::As("bad_signature"),
        answer: |scene| {
            let bare = Unverified::new(PayloadType::Batch, payload(&scene.good));
            scene.says(bare.to_postcard().unwrap())
        },
    },
    Attack {
        name: "a stranger's key signs",
        counted: Counted::As("bad_signature"),
        answer: |scene| {
            let stranger = key("elsewhere", 9);
            scene.says(resigned(&scene.good, &stranger, |_| {}))
        },
    },
    Attack {
        name: "a key of another role signs",
        counted: Counted::As("bad_signature"),
        answer: |scene| scene.says(resigned(&scene.good, scene.desk.issuer_key(), |_| {})),
    },
    Attack {
        name: "one bit of the payload is flipped",
        counted: Counted::As("bad_signature"),
        answer: |scene| {
            let mut bytes = scene.good.clone();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            scene.says(bytes)
        },
    },
    Attack {
        name: "the payload type is another's",
        counted: Counted::As("bad_payload_type"),
        answer: |scene| {
            let key = scene.desk.feed_key();
            scene.says(signed_by(key, PayloadType::Root, payload(&scene.good)))
        },
    },
    Attack {
        name: "the batch is of another environment",
        counted: Counted::As("wrong_environment"),
        answer: |scene| scene.changed(|batch| batch.header.environment = "dev".into()),
    },
    Attack {
        name: "the batch is for another audience",
        counted: Counted::As("wrong_audience"),
        answer: |scene| scene.changed(|batch| batch.header.feed_audience = "canary".into()),
    },
    Attack {
        name: "the batch needs a newer filter",
        counted: Counted::As("filter_too_old"),
        answer: |scene| scene.changed(|batch| batch.header.min_filter = u32::MAX),
    },
    Attack {
        name: "the batch is dated an hour ahead",
        counted: Counted::As("clock_skew"),
        answer: |scene| {
            scene.changed(|batch| {
                batch.header.issued_at = now().plus(3600);
                batch.header.expires_at = now().plus(7200);
            })
        },
    },
    Attack {
        name: "the batch has expired",
        counted: Counted::As("expired"),
        answer: |scene| {
            scene.changed(|batch| {
                batch.header.expires_at = now();
            })
        },
    },
    Attack {
        name: "the batch is of a root that did not come",
        counted: Counted::As("gap"),
        answer: |scene| scene.changed(|batch| batch.header.root_version = 9),
    },
    Attack {
        name: "bytes follow the envelope",
        counted: Counted::As("poison"),
        answer: |scene| scene.says([scene.good.as_slice(), b"x"].concat()),
    },
    Attack {
        name: "bytes follow the signed batch",
        counted: Counted::As("poison"),
        answer: |scene| {
            let longer = [payload(&scene.good), vec![0]].concat();
            scene.says(scene.desk.signed(longer))
        },
    },
    Attack {
        name: "the envelope is over 512 KiB",
        counted: Counted::As("poison"),
        answer: |scene| {
            let large = vec![0; MAX_PART_BYTES + 1];
            scene.says(resigned(&scene.good, scene.desk.feed_key(), |batch| {
                batch.bundle = Some(large.leak());
            }))
        },
    },
    Attack {
        name: "the revocations are garbage under a good signature",
        counted: Counted::As("poison"),
        answer: |scene| scene.changed(|batch| batch.revocations = Some(GARBAGE)),
    },
    Attack {
        name: "the keys are garbage under a good signature",
        counted: Counted::As("poison"),
        answer: |scene| scene.changed(|batch| batch.keys = Some(GARBAGE)),
    },
    Attack {
        name: "an issuer key that the root does not name",
        counted: Counted::As("poison"),
        answer: |scene| {
            let keys = IssuerKeys {
                version: 99,
                keys: vec![IssuerKey {
                    public: gatepass::keys::Signer::public(&key("elsewhere", 9)),
                    issuer: "https://gatepass.example/prod".into(),
                    algorithm: Algorithm::EdDsa,
                    not_before: now(),
                    not_after: now().plus(3600),
                }],
            };
            let bytes = postcard::to_allocvec(&keys).unwrap();
            scene.changed(|batch| batch.keys = Some(bytes.leak()))
        },
    },
    Attack {
        name: "the digest of the whole is another's",
        counted: Counted::As("poison"),
        answer: |scene| scene.changed(|batch| batch.header.whole_digest = WRONG_DIGEST),
    },
    Attack {
        name: "the revocations are for another hash key",
        counted: Counted::As("gap"),
        answer: |scene| scene.changed(|batch| batch.header.hash_key_id ^= 1),
    },
    Attack {
        name: "a root document of a stranger",
        counted: Counted::As("bad_signature"),
        answer: |scene| {
            let stranger = Desk::stranger(scene.desk.environment());
            Answer::Body(body(&[stranger.as_bytes()], std::slice::from_ref(&scene.good)))
        },
    },
    Attack {
        name: "a root document that is garbage",
        counted: Counted::As("poison"),
        answer: |scene| Answer::Body(body(&[GARBAGE], std::slice::from_ref(&scene.good))),
    },
    Attack {
        name: "the answer is cut short",
        counted: Counted::FailedPoll,
        answer: |scene| {
            let mut bytes = scene.good_body();
            bytes.truncate(bytes.len() - 1);
            Answer::Body(bytes)
        },
    },
    Attack {
        name: "bytes follow the answer",
        counted: Counted::FailedPoll,
        answer: |scene| Answer::Body([scene.good_body(), vec![0]].concat()),
    },
    Attack {
        name: "the connection ends in the middle of the body",
        counted: Counted::FailedPoll,
        answer: |scene| {
            let bytes = scene.good_body();
            let length = bytes.len() + 1;
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
            Answer::Raw([head.as_bytes(), &bytes].concat())
        },
    },
    Attack {
        name: "the answer is over 64 MiB",
        counted: Counted::FailedPoll,
        answer: |_| Answer::Body(vec![1; MAX_FEED_BYTES + 1]),
    },
    Attack {
        name: "status 500 with a good body",
        counted: Counted::FailedPoll,
        answer: |scene| Answer::status(500, &scene.good_body()),
    },
    Attack {
        name: "status 302 with a good body",
        counted: Counted::FailedPoll,
        answer: |scene| Answer::status(302, &scene.good_body()),
    },
    Attack {
        name: "an empty 200",
        counted: Counted::FailedPoll,
        answer: |_| Answer::Body(Vec::new()),
    },
    Attack {
        name: "an answer without batches",
        counted: Counted::Not,
        answer: |scene| Answer::Body(scene.desk.body(&[])),
    },
    Attack {
        name: "response headers that are not UTF-8",
        counted: Counted::FailedPoll,
        answer: |_| {
            Answer::Raw(
                b"HTTP/1.1 200 OK\r\nx-a: \xff\xfe\r\ncontent-length: 1\r\n\r\n\xff".to_vec(),
            )
        },
    },
    Attack {
        name: "no HTTP at all",
        counted: Counted::FailedPoll,
        answer: |_| Answer::Raw(vec![0xff; 512]),
    },
    Attack {
        name: "the connection is reset",
        counted: Counted::FailedPoll,
        answer: |_| Answer::Reset,
    },
    Attack { name: "nothing is answered", counted: Counted::Not, answer: |_| Answer::Later },
];

/// Against a gate that is beyond the past.
pub(crate) const WARM: &[Attack] = &[
    Attack {
        name: "a genuine older snapshot",
        counted: Counted::As("rollback"),
        answer: |scene| scene.says(scene.past.snapshot.clone()),
    },
    Attack {
        name: "a genuine older delta",
        counted: Counted::As("rollback"),
        answer: |scene| scene.says(scene.past.delta.clone()),
    },
    Attack {
        name: "a genuine older checkpoint",
        counted: Counted::As("rollback"),
        answer: |scene| scene.says(scene.past.checkpoint.clone()),
    },
    Attack {
        name: "a newer position that was signed before",
        counted: Counted::As("rollback"),
        answer: |scene| scene.changed(|batch| batch.header.issued_at.0 -= 1000),
    },
    Attack {
        name: "a delta of an older epoch",
        counted: Counted::As("rollback"),
        answer: |scene| scene.changed(|batch| batch.header.epoch -= 1),
    },
    Attack {
        name: "a delta that leaves one out",
        counted: Counted::As("gap"),
        answer: |scene| {
            scene.changed(|batch| {
                batch.header.from += 1;
                batch.header.to += 1;
            })
        },
    },
    Attack {
        name: "a checkpoint of a position that nobody told of",
        counted: Counted::As("gap"),
        answer: |scene| {
            scene.changed(|batch| {
                batch.header.from = batch.header.to;
                (batch.revocations, batch.keys, batch.bundle) = (None, None, None);
            })
        },
    },
    Attack {
        name: "a snapshot that states no keys",
        counted: Counted::As("poison"),
        answer: |scene| scene.changed(|batch| batch.header.from = 0),
    },
];

/// Against a gate that has nothing yet.
pub(crate) const COLD: &[Attack] = &[
    Attack {
        name: "no root document, and none is known",
        counted: Counted::As("bad_signature"),
        answer: |scene| Answer::Body(body(&[], std::slice::from_ref(&scene.good))),
    },
    Attack {
        name: "a delta before any snapshot",
        counted: Counted::As("gap"),
        answer: |scene| scene.says(scene.past.delta.clone()),
    },
    Attack {
        name: "a checkpoint before any snapshot",
        counted: Counted::As("gap"),
        answer: |scene| scene.says(scene.past.checkpoint.clone()),
    },
    Attack {
        name: "the first of two parts",
        counted: Counted::As("gap"),
        answer: |scene| scene.changed(|batch| batch.header.parts = 2),
    },
    Attack {
        name: "the second of two parts",
        counted: Counted::As("gap"),
        answer: |scene| {
            scene.changed(|batch| {
                batch.header.parts = 2;
                batch.header.part = 1;
            })
        },
    },
];

pub(crate) const GARBAGE: &[u8] = b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff";
