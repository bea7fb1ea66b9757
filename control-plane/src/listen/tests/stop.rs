//! How a listener ends.

use axum::http::StatusCode;
use tokio::net::TcpStream;

use super::*;

/// A listener with a request in progress that ends when a permit is given.
async fn held(
    grace: Duration,
) -> (Running, Arc<Semaphore>, JoinHandle<hyper::Result<(StatusCode, String)>>) {
    let (entered, release) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let (inside, outside) = (Arc::clone(&entered), Arc::clone(&release));
    let hold = axum::routing::get(|| async move {
        inside.add_permits(1);
        let _ = outside.acquire().await;
        "done"
    });
    let limits = Limits { grace, ..Limits::default() };
    let running = start(None, limits, router().route("/hold", hold)).await;
    let stream = running.connect().await;
    let asked =
        tokio::spawn(async { Ok(whole(over_http1(stream, get_request("/hold")).await?).await) });
    let _ = entered.acquire().await.unwrap();
    (running, release, asked)
}

#[tokio::test]
async fn a_request_in_progress_is_finished_and_no_other_begun() {
    let (running, release, asked) = held(Duration::from_secs(60)).await;
    let mut idle = running.connect().await;
    running.stop.send(true).unwrap();
    // Closed at once, with nothing in progress on it.
    assert_eq!(hear(&mut idle).await, "");
    assert!(TcpStream::connect(running.address).await.is_err());
    release.add_permits(1);
    assert_eq!(asked.await.unwrap().unwrap(), (StatusCode::OK, "done".into()));
    running.task.await.unwrap();
}

#[tokio::test]
async fn a_request_that_outlasts_the_grace_is_cut() {
    let (running, _release, asked) = held(Duration::from_millis(50)).await;
    running.stop.send(true).unwrap();
    assert!(asked.await.unwrap().is_err());
    running.task.await.unwrap();
}

#[tokio::test]
async fn a_listener_that_nobody_can_stop_stops() {
    let running = start(None, Limits::default(), router()).await;
    assert_eq!(running.ask(get_request("/")).await.0, StatusCode::OK);
    drop(running.stop);
    running.task.await.unwrap();
}

#[tokio::test]
async fn an_aborted_listener_takes_its_connections_along() {
    let (running, _release, asked) = held(Duration::from_secs(60)).await;
    running.task.abort();
    assert!(asked.await.unwrap().is_err());
}
