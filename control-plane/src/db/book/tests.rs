use gatepass_engine::batch::Batch;
use gatepass_engine::envelope::Unverified;

use super::*;
use crate::db::Db;
use crate::db::writer::tests::{NOW, open, person};
use crate::keychain::Keychain;

/// When the newest batch of the answer was issued; `None` where a time must go to the disk first.
fn told(db: &Db, after: Option<Position>, is_over: bool, now: UnixSeconds) -> Option<UnixSeconds> {
    match db.book().tell("prod", after, is_over, now).unwrap() {
        Told::Answer(body) => {
            let told = Feed::decode(&body).unwrap();
            let last = Unverified::from_postcard(told.batches.last().unwrap()).unwrap();
            Some(Batch::decode(last.unverified_payload()).unwrap().header.issued_at)
        }
        Told::SignAt(at) => {
            assert_eq!(at, now);
            None
        }
        Told::Nothing | Told::Ahead | Told::NoAudience | Told::Unread => {
            panic!("there is something to tell")
        }
    }
}

/// What a restart would begin with.
async fn on_disk(db: &Db) -> UnixSeconds {
    let (at,): (i64,) =
        sqlx::query_as("SELECT issued_at FROM environment").fetch_one(db.readers()).await.unwrap();
    UnixSeconds(at.unsigned_abs())
}

#[tokio::test]
async fn news_of_the_second_before_waits_for_no_disk_and_all_else_does() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path()).await;
    let before = db.book().position();
    db.write(async |tx| person(tx, "user:corp/ann").await).await.unwrap();
    let here = db.book().position();
    let next = NOW.plus(1);
    assert_eq!(on_disk(&db).await, NOW);
    assert_eq!(told(&db, Some(before), false, NOW), Some(NOW));
    assert_eq!(told(&db, Some(before), false, next), Some(NOW));
    // One thing changed: two seconds; no news, but a proof of freshness.
    assert_eq!(told(&db, Some(before), false, NOW.plus(2)), None);
    assert_eq!(told(&db, Some(here), true, next), None);
    assert_eq!(on_disk(&db).await, NOW, "telling writes nothing");
}

#[tokio::test]
async fn a_restart_signs_nothing_with_a_time_before_one_that_was_told() {
    let dir = tempfile::tempdir().unwrap();
    let mut db = open(dir.path()).await;
    let mut newest = UnixSeconds(0);
    // The clock goes on, stands, goes back.
    for (number, now) in
        [0, 1, 1, 5, 3, 4, 6, 0, 7].map(|after| NOW.plus(after)).into_iter().enumerate()
    {
        let before = db.book().position();
        let id = format!("user:corp/{number}");
        db.write(async move |tx| person(tx, &id).await).await.unwrap();
        for (after, is_over) in
            [(Some(before), false), (None, false), (Some(db.book().position()), true)]
        {
            let at = match told(&db, after, is_over, now) {
                Some(at) => at,
                None => {
                    db.write(async move |tx| tx.signed_at(now).await).await.unwrap();
                    db.book().marked(now);
                    told(&db, after, is_over, now).unwrap()
                }
            };
            assert!(at >= newest, "{at:?} after {newest:?}");
            assert!(at <= on_disk(&db).await, "{at:?} was told and is not on the disk");
            newest = newest.max(at);
        }
        db.close().await;
        drop(db);
        let keys = Keychain::open(dir.path()).unwrap();
        db = Db::open(dir.path(), Arc::new(keys), Arc::new(|| NOW)).await.unwrap();
    }
    assert_eq!(newest, NOW.plus(7));
}

/// The state of an audience; `None` where a time must go to the disk first.
fn whole(db: &Db, now: UnixSeconds) -> Option<Vec<Arc<[u8]>>> {
    match db.book().state("prod", now).unwrap() {
        Whole::State(state) => Some(state.batches),
        Whole::SignAt(at) => {
            assert_eq!(at, now);
            None
        }
        Whole::NoAudience => panic!("this is its audience"),
    }
}

#[tokio::test]
async fn a_snapshot_that_is_known_serves_again_with_the_proof_of_this_second() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path()).await;
    db.write(async |tx| person(tx, "user:corp/ann").await).await.unwrap();
    let first = whole(&db, NOW).unwrap();
    assert_eq!(told(&db, None, false, NOW), Some(NOW), "a poll has the same");
    let again = whole(&db, NOW).unwrap();
    assert_eq!((first.len(), again.len()), (1, 1));
    assert!(Arc::ptr_eq(&first[0], &again[0]));
    let later = NOW.plus(300);
    assert!(whole(&db, later).is_none(), "nothing is signed with a time that is not on the disk");
    db.book().marked(later);
    let proved = whole(&db, later).unwrap();
    assert!(proved.len() == 2 && Arc::ptr_eq(&first[0], &proved[0]));
    let same = whole(&db, later).unwrap();
    assert!(same.len() == 2 && Arc::ptr_eq(&proved[1], &same[1]));
    // One thing changed: it is older than it may be; the position.
    let much_later = NOW.plus(600);
    db.book().marked(much_later);
    let anew = whole(&db, much_later).unwrap();
    assert!(anew.len() == 1 && !Arc::ptr_eq(&first[0], &anew[0]));
    db.write(async |tx| person(tx, "user:corp/bea").await).await.unwrap();
    let moved = whole(&db, much_later).unwrap();
    assert!(moved.len() == 1 && !Arc::ptr_eq(&anew[0], &moved[0]));
    assert!(matches!(db.book().state("nobody", NOW).unwrap(), Whole::NoAudience));
}
