use std::path::Path;

use tokio::sync::oneshot;

use super::*;
use crate::db::{Db, FirstOperator, Genesis, audit_file, create};
use crate::keychain::{Keychain, ROLES, new_key};
use gatepass_engine::clock::UnixSeconds;
use gatepass_engine::revocation::Kind;

pub(in crate::db) const NOW: UnixSeconds = UnixSeconds(1_700_000_000);

/// A new directory, with its keys.
pub(in crate::db) async fn made(dir: &Path) -> Arc<Keychain> {
    for role in ROLES {
        new_key(dir, role).unwrap();
    }
    let genesis = Genesis {
        environment: "prod".to_owned(),
        issuer: "https://issuer.example".to_owned(),
        audience: "prod".to_owned(),
        two_persons: false,
        now: NOW,
        keys: Vec::new(),
        operator: FirstOperator {
            id: "admin".to_owned(),
            digest: [1; 32],
            expires_at: NOW.plus(3600),
        },
    };
    create(dir, &genesis).await.unwrap();
    Arc::new(Keychain::open(dir).unwrap())
}

pub(in crate::db) async fn open(dir: &Path) -> Db {
    let keys = made(dir).await;
    Db::open(dir, keys, Arc::new(|| NOW)).await.unwrap()
}

/// A change with statements, a record and a step of the feed.
pub(in crate::db) async fn person(tx: &mut Tx, id: &str) -> Result<u64, DbError> {
    sqlx::query("INSERT INTO people VALUES (?, 'Ann', 'ann@corp.example', 'active', 1)")
        .bind(id)
        .execute(tx.sql())
        .await?;
    tx.revoke([crate::publish::Revoke::new(Kind::Owner, id, NOW)]);
    let entry = crate::audit::Entry {
        actor: "gatepass",
        action: "person.add",
        target: id,
        before: serde_json::Value::Null,
        after: serde_json::Value::Null,
        reason: "a test",
    };
    tx.audit(entry).await?;
    Ok(tx.position().sequence)
}

async fn sql(tx: &mut Tx, text: &'static str) -> Result<(), DbError> {
    sqlx::query(text).execute(tx.sql()).await?;
    Ok(())
}

/// People, records and position.
async fn there(db: &Db) -> (i64, i64, i64) {
    let query = "SELECT (SELECT count(*) FROM people), (SELECT count(*) FROM audit), sequence
                 FROM environment";
    let found: (i64, i64, i64) = sqlx::query_as(query).fetch_one(db.readers()).await.unwrap();
    assert_eq!(db.book().position().sequence, found.2.unsigned_abs());
    found
}

/// Runs two good changes and one bad between them in one group, and says how the good ones ended.
async fn around<F>(db: &Db, guarded: bool, bad: F) -> [bool; 2]
where
    F: AsyncFnOnce(&mut Tx) -> Result<(), DbError> + Send + 'static,
{
    let (go, wait) = oneshot::channel::<()>();
    // Polled in order: the first holds the writer until all have handed theirs in.
    let (first, before, bad, after, ()) = tokio::join!(
        db.write(async move |_| wait.await.map_err(|_| DbError::Stopped)),
        db.write(async |tx| person(tx, "user:corp/before").await),
        db.writer.run(guarded, bad),
        db.write(async |tx| person(tx, "user:corp/after").await),
        async { go.send(()).unwrap() },
    );
    assert!(bad.is_err());
    assert_eq!(first.is_ok(), before.is_ok());
    [before.is_ok(), after.is_ok()]
}

/// What was told is what is there, and the writer goes on.
async fn holds(db: &Db, told: [bool; 2], expected: usize) {
    assert_eq!(told.iter().filter(|ok| **ok).count(), expected);
    let n = expected as i64;
    assert_eq!(there(db).await, (n, n + 1, n + 1));
    let id = "user:corp/later";
    let sequence = db.write(async move |tx| person(tx, id).await).await.unwrap();
    assert_eq!(sequence, expected as u64 + 2);
    assert_eq!(there(db).await, (n + 1, n + 2, n + 2));
    audit_file(&db.dir().join("gatepass.db"), None).await.unwrap();
}

#[tokio::test]
async fn a_change_that_fails_takes_none_of_its_neighbours_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path()).await;
    let bad = async |tx: &mut Tx| {
        person(tx, "user:corp/bad").await?;
        Err(DbError::Stopped)
    };
    let told = around(&db, true, bad).await;
    holds(&db, told, 2).await;
}

/// As a full disk does in the middle of a statement.
#[tokio::test]
async fn a_change_that_ends_the_transaction_leaves_nothing_of_its_group() {
    for guarded in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let db = open(dir.path()).await;
        let bad = async |tx: &mut Tx| {
            sqlx::query("ROLLBACK").execute(tx.reading()).await?;
            Err(DbError::Stopped)
        };
        let told = around(&db, guarded, bad).await;
        // What came before it is gone with the transaction; what comes after is done in another,
        // or not, as it is told.
        assert!(!told[0], "guarded: {guarded}");
        holds(&db, told, usize::from(told[1])).await;
    }
}

#[tokio::test]
async fn a_change_without_a_savepoint_that_fails_fails_its_group() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path()).await;
    let bad = async |tx: &mut Tx| {
        person(tx, "user:corp/bad").await?;
        Err(DbError::Stopped)
    };
    let told = around(&db, false, bad).await;
    assert!(!told[0]);
    holds(&db, told, usize::from(told[1])).await;
}

#[tokio::test]
async fn a_full_disk_is_an_error_and_the_writer_outlives_it() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path()).await;
    db.write(async |tx| sql(tx, "PRAGMA max_page_count = 1").await).await.unwrap();
    let bad = async |tx: &mut Tx| {
        sql(tx, "INSERT INTO spent VALUES ('a', hex(randomblob(100000)), 1)").await
    };
    let told = around(&db, true, bad).await;
    db.write(async |tx| sql(tx, "PRAGMA max_page_count = 1000000").await).await.unwrap();
    let expected = told.iter().filter(|ok| **ok).count();
    holds(&db, told, expected).await;
}

#[tokio::test]
async fn a_panic_fails_its_group_and_the_writer_outlives_it() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path()).await;
    let bad = async |tx: &mut Tx| {
        person(tx, "user:corp/bad").await?;
        panic!("a mistake in a change")
    };
    let told = around(&db, true, bad).await;
    assert!(!told[0]);
    holds(&db, told, usize::from(told[1])).await;
}

/// Another process copies the file while changes come.
#[tokio::test]
async fn a_backup_stops_nobody_and_is_whole() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path()).await;
    let copy = dir.path().join("copy.db");
    let changes = async {
        for number in 0..100 {
            let change = async move |tx: &mut Tx| person(tx, &format!("user:corp/{number}")).await;
            db.write(change).await.unwrap();
        }
    };
    let (copied, ()) = tokio::join!(crate::db::backup(dir.path(), &copy), changes);
    copied.unwrap();
    audit_file(&copy, None).await.unwrap();
    assert_eq!(there(&db).await, (100, 101, 101));
}
