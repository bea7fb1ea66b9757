//! The signed envelope, DSSE v1, in both its forms: postcard around batches, JSON around root
//! documents.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gatepass_engine::envelope::PayloadType;
use gatepass_engine::refusal::RefusalCode;
use serde_json::Value;

use super::{Accepted, At, FeedBook, FeedScene};
use crate::keys::{FEED, ISSUER, ROOT, STRANGER};

/// Writes an envelope's text another way.
type Respell = fn(String) -> String;

/// The case that the others differ from, in either form.
const BOTH: &str = "both_forms";

pub(super) fn book() -> FeedBook {
    let mut b = FeedBook::new("envelopes", "Signed envelopes");
    b.accept(
        Accepted::Moved,
        BOTH,
        "A root document in JSON, a batch in postcard, each with one signature.",
        FeedScene::cold,
    )
    .live();
    b.accept(Accepted::Moved, "signed_by_others_too", "One believed signature is enough.", |s| {
        s.cold();
        s.batch.signers = vec![STRANGER, ISSUER, FEED];
        s.roots[0].signers = vec![STRANGER, ROOT];
    })
    .live();
    b.accept(Accepted::Moved, "eight_signatures", "The most there may be.", |s| {
        s.cold();
        s.batch.signers = signers(7, FEED);
        s.roots[0].signers = signers(7, ROOT);
    });
    binary(&mut b);
    json(&mut b);
    b
}

fn signers(strangers: usize, last: u8) -> Vec<u8> {
    let mut all = vec![STRANGER; strangers];
    all.push(last);
    all
}

fn binary(b: &mut FeedBook) {
    let mut refuse = |code, name: &str, changed: &str, why: &str, make: fn(&mut FeedScene)| {
        b.refuse(code, At::Batch, name, (BOTH, changed), why, make);
    };
    let exact = "The payload type is exact.";
    let wrong_type = RefusalCode::BadPayloadType;
    refuse(wrong_type, "batch_typed_as_a_root", "the batch's type is a root's", exact, |s| {
        s.batch.payload_type = PayloadType::Root.as_str();
    });
    refuse(
        wrong_type,
        "batch_of_another_version",
        "the batch's type is of version 2",
        exact,
        |s| {
            s.batch.payload_type = "application/vnd.gatepass.batch.v2+postcard";
        },
    );
    refuse(wrong_type, "batch_typed_in_upper_case", "the type's case is another", exact, |s| {
        s.batch.payload_type = "application/vnd.gatepass.BATCH.v1+postcard";
    });
    refuse(wrong_type, "batch_without_a_type", "the batch's type is empty", exact, |s| {
        s.batch.payload_type = "";
    });
    let unsigned = RefusalCode::BadSignature;
    let by_feed = "A feed key that the root in force names signs the batch.";
    refuse(unsigned, "batch_unsigned", "the batch has no signature", by_feed, |s| {
        s.batch.signers.clear();
    });
    refuse(unsigned, "batch_signed_by_a_stranger", "another key signed", by_feed, |s| {
        s.batch.signers = vec![STRANGER];
    });
    refuse(unsigned, "batch_signed_by_the_issuer", "the issuer key signed", by_feed, |s| {
        s.batch.signers = vec![ISSUER];
    });
    refuse(unsigned, "batch_signed_by_the_root", "the root key signed", by_feed, |s| {
        s.batch.signers = vec![ROOT];
    });
    let covers = "The signature is over the type and the payload, both with their lengths.";
    refuse(unsigned, "payload_changed_after_signing", "its last byte is another", covers, |s| {
        s.batch.spoil = Some(|bytes| flipped(bytes, |length| length - 67));
    });
    refuse(unsigned, "signature_changed", "one bit of the signature is flipped", covers, |s| {
        s.batch.spoil = Some(|bytes| flipped(bytes, |length| length - 1));
    });
    let poison = RefusalCode::Poison;
    let whole = "An envelope is decoded whole, with nothing behind it.";
    refuse(poison, "bytes_behind_the_envelope", "a byte follows", whole, |s| {
        s.batch.spoil = Some(|bytes| [bytes, vec![0]].concat());
    });
    refuse(poison, "envelope_cut_short", "the last byte is left out", whole, |s| {
        s.batch.spoil = Some(|mut bytes| {
            bytes.pop();
            bytes
        });
    });
    refuse(poison, "empty_envelope", "it is empty", whole, |s| {
        s.batch.spoil = Some(|_| Vec::new());
    });
    refuse(poison, "json_around_a_batch", "it is a root document's envelope", whole, |s| {
        s.batch.spoil =
            Some(|_| b"{\"payloadType\":\"\",\"payload\":\"\",\"signatures\":[]}".to_vec());
    });
    refuse(poison, "length_beyond_the_end", "a length says more than there is", whole, |s| {
        s.batch.spoil = Some(|_| vec![0xff, 0xff, 0xff, 0xff, 0x7f]);
    });
    let bounded = "Lists are bounded.";
    refuse(poison, "nine_signatures", "strangers signed first", bounded, |s| {
        s.batch.signers = signers(8, FEED);
    });
    b.live();
}

fn json(b: &mut FeedBook) {
    let changes: [(RefusalCode, &str, &str, Respell); 9] = [
        (
            RefusalCode::BadPayloadType,
            "root_typed_otherwise",
            "its type is changed after signing",
            |t| t.replace("root.v1", "root.v2"),
        ),
        (
            RefusalCode::BadSignature,
            "root_changed_after_signing",
            "it says `reset` since",
            resetting,
        ),
        (RefusalCode::Poison, "root_with_an_unknown_member", "it has a member `extra`", |t| {
            t.replacen('{', "{\"extra\":1,", 1)
        }),
        (RefusalCode::Poison, "root_with_a_member_twice", "`payloadType` occurs twice", |t| {
            t.replacen('{', "{\"payloadType\":\"x\",", 1)
        }),
        (RefusalCode::Poison, "root_without_signatures", "`signatures` is left out", |t| {
            t.split(",\"signatures\"").next().unwrap_or_default().to_owned() + "}"
        }),
        (RefusalCode::Poison, "root_with_a_short_signature", "a signature has 3 bytes", |t| {
            t.replacen("\"sig\":\"", "\"sig\":\"AAAA\",\"sig2\":\"", 1)
        }),
        (RefusalCode::Poison, "root_without_padding", "base64 padding is left out", |t| {
            t.replacen("=\"", "\"", 1)
        }),
        (RefusalCode::Poison, "root_followed_by_another", "an object follows", |t| t + "{}"),
        (RefusalCode::Poison, "root_that_is_no_json", "it is no JSON", |_| "DSSE".to_owned()),
    ];
    for (code, name, changed, change) in changes {
        b.refuse(
            code,
            At::Roots,
            name,
            (BOTH, changed),
            "The envelope is strict JSON, and what is signed is what was signed.",
            move |s| s.roots[0].spoil = Some(change),
        );
    }
    b.live();
}

/// The same signature around a document that says `reset`.
fn resetting(text: String) -> String {
    let mut envelope: Value = serde_json::from_str(&text).unwrap();
    let payload = STANDARD.decode(envelope["payload"].as_str().unwrap()).unwrap();
    let payload = String::from_utf8(payload).unwrap().replace("\"reset\":false", "\"reset\":true");
    envelope["payload"] = STANDARD.encode(payload).into();
    envelope.to_string()
}

/// One bit of the byte at that place is another.
fn flipped(mut bytes: Vec<u8>, place: fn(usize) -> usize) -> Vec<u8> {
    let place = place(bytes.len());
    bytes[place] ^= 1;
    bytes
}
