//! A gRPC client reads `grpc-status` and not the HTTP status: a denial must not look like success.

use crate::ask::Ask;
use crate::gates::{RAW, turn};

#[test]
fn a_denial_is_no_success_to_a_grpc_client() {
    let mut turn = turn();
    let read = turn.passes.read.clone();
    let create = turn.passes.create.clone();
    let note = turn.passes.note.clone();
    let twin = Ask::new("POST", "/orders/7/notes").bearing(&note);
    let allowed = "200: POST /orders/7/notes at orders.example as orders:note";
    let cases = [
        (Ask::get("/orders"), "200 grpc-status 16"),
        (Ask::get("/orders").bearing("x"), "200 grpc-status 16"),
        (Ask::get("//orders").bearing(&read), "200 grpc-status 13"),
        (Ask::get("/nowhere").bearing(&read), "200 grpc-status 7"),
        (Ask::get("/orders").bearing(&create), "200 grpc-status 7"),
        (Ask::get("/orders").bearing(&read).body("x"), "200 grpc-status 7"),
    ];
    for (ask, expected) in cases {
        for kind in ["application/grpc", "application/grpc+proto"] {
            let ask = ask.clone().with("content-type", kind);
            let twin = twin.clone().with("content-type", kind);
            turn.pair(RAW, &ask, expected, &twin, allowed);
        }
    }
    turn.finish();
}
