use std::sync::Arc;

use super::*;
use crate::db::Db;
use crate::db::writer::tests::{NOW, made};
use crate::keychain::Keychain;
use crate::publish::ToCohort;

async fn opened(dir: &Path, keys: &Arc<Keychain>) -> Db {
    Db::open(dir, Arc::clone(keys), Arc::new(|| NOW)).await.unwrap()
}

async fn revoked(db: &Db, jti: &'static str) {
    let done: Result<(), DbError> = db
        .write(async move |tx| {
            tx.revoke([crate::publish::Revoke::new(Kind::Credential, jti, NOW)]);
            Ok(())
        })
        .await;
    done.unwrap();
}

/// What a database was before there were cohorts.
const BEFORE: &str = "
DROP TABLE cohort_deltas;
DROP TABLE cohorts;
DROP TABLE cohort_publications;
ALTER TABLE join_tokens DROP COLUMN cohort;
DELETE FROM _sqlx_migrations WHERE version = 2;
INSERT INTO join_tokens (id, digest, fleet, created_at, expires_at)
  VALUES ('j', zeroblob(32), 'edge', 1, 2);
";

#[tokio::test]
async fn a_database_from_before_there_were_cohorts_opens_with_all_that_was_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let keys = made(dir.path()).await;
    let db = opened(dir.path(), &keys).await;
    revoked(&db, "j1").await;
    let position = db.book().position();
    db.close().await;
    drop(db);
    let options = options(&dir.path().join(DATABASE));
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    sqlx::raw_sql(BEFORE).execute(&mut connection).await.unwrap();
    let tables = "SELECT count(*) FROM sqlite_schema WHERE name LIKE 'cohort%'";
    let (left,): (i64,) = sqlx::query_as(tables).fetch_one(&mut connection).await.unwrap();
    assert_eq!(left, 0, "it is what it was");
    connection.close().await.unwrap();
    let told = crate::db::standing(dir.path()).await;
    assert!(matches!(told, Err(DbError::Older)), "it is not brought up by looking at it");

    let db = opened(dir.path(), &keys).await;
    assert!(crate::db::standing(dir.path()).await.is_ok());
    assert_eq!(db.book().position(), position);
    let kept: (String, Option<String>, i64) =
        sqlx::query_as("SELECT fleet, cohort, (SELECT count(*) FROM deltas) FROM join_tokens")
            .fetch_one(db.readers())
            .await
            .unwrap();
    assert_eq!(kept, ("edge".to_owned(), None, 1));
    // And a cohort can begin in it.
    let begun: Result<(), DbError> = db
        .write(async |tx| {
            let insert = "INSERT INTO cohorts (name, created_at) VALUES ('canary', 1)";
            sqlx::query(insert).execute(tx.sql()).await?;
            tx.change_cohort("canary", ToCohort::Begin);
            Ok(())
        })
        .await;
    begun.unwrap();
    revoked(&db, "j2").await;
    let deltas: (i64, i64) = sqlx::query_as(
        "SELECT (SELECT count(*) FROM deltas), (SELECT count(*) FROM cohort_deltas)",
    )
    .fetch_one(db.readers())
    .await
    .unwrap();
    assert_eq!(deltas, (3, 1));
    db.close().await;
}

#[tokio::test]
async fn deltas_of_cohorts_are_as_few_as_those_of_all() {
    let dir = tempfile::tempdir().unwrap();
    let keys = made(dir.path()).await;
    let db = opened(dir.path(), &keys).await;
    let done: Result<(), DbError> = db
        .write(async |tx| {
            for name in ["a", "b"] {
                let insert = "INSERT INTO cohorts (name, created_at) VALUES (?, 1)";
                sqlx::query(insert).bind(name).execute(tx.sql()).await?;
                tx.change_cohort(name, ToCohort::Begin);
            }
            Ok(())
        })
        .await;
    done.unwrap();
    let steps = crate::db::book::KEPT_DELTAS + 9;
    for _ in 0..steps {
        revoked(&db, "j").await;
    }
    let counts = "SELECT cohort, count(*) FROM cohort_deltas GROUP BY cohort ORDER BY cohort";
    let kept: Vec<(String, i64)> = sqlx::query_as(counts).fetch_all(db.readers()).await.unwrap();
    let bound = signed(crate::db::book::KEPT_DELTAS);
    assert_eq!(kept, [("a".to_owned(), bound), ("b".to_owned(), bound)]);
    let of_all: (i64,) =
        sqlx::query_as("SELECT count(*) FROM deltas").fetch_one(db.readers()).await.unwrap();
    assert_eq!(of_all, (bound,));
    // What ends takes its own with it, and nothing else.
    let done: Result<(), DbError> = db
        .write(async |tx| {
            sqlx::query("DELETE FROM cohorts WHERE name = 'a'").execute(tx.sql()).await?;
            tx.change_cohort("a", ToCohort::End);
            Ok(())
        })
        .await;
    done.unwrap();
    let kept: Vec<(String, i64)> = sqlx::query_as(counts).fetch_all(db.readers()).await.unwrap();
    assert_eq!(kept, [("b".to_owned(), bound)]);
    db.close().await;
}
