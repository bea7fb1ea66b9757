//! How a listener ends.

use axum::http::StatusCode;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use super::*;

type Asked = JoinHandle<hyper::Result<(StatusCode, String)>>;

/// A listener with a request in progress that ends when a permit is given.
async fn held(grace: Duration, is_http2: bool) -> (Running, Arc<Semaphore>, Asked) {
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
    let asked = tokio::spawn(async move {
        if is_http2 {
            let request = get_request("http://test/hold");
            return Ok(whole(over_http2(stream).await.send_request(request).await?).await);
        }
        Ok(whole(over_http1(stream, get_request("/hold")).await?).await)
    });
    let _ = entered.acquire().await.unwrap();
    (running, release, asked)
}

#[tokio::test]
async fn a_request_in_progress_is_finished_and_no_other_begun() {
    for is_http2 in [false, true] {
        let (running, release, asked) = held(Duration::from_secs(60), is_http2).await;
        let mut idle = running.connect().await;
        running.stop.send(true).unwrap();
        // Closed at once, with nothing in progress on it.
        assert_eq!(hear(&mut idle).await, "");
        assert!(TcpStream::connect(running.address).await.is_err());
        release.add_permits(1);
        assert_eq!(asked.await.unwrap().unwrap(), (StatusCode::OK, "done".into()));
        running.task.await.unwrap();
    }
}

#[tokio::test]
async fn a_request_that_outlasts_the_grace_is_cut() {
    for is_http2 in [false, true] {
        let (running, _release, asked) = held(Duration::from_millis(50), is_http2).await;
        running.stop.send(true).unwrap();
        assert!(asked.await.unwrap().is_err());
        running.task.await.unwrap();
    }
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
    let (running, _release, asked) = held(Duration::from_secs(60), false).await;
    running.task.abort();
    assert!(asked.await.unwrap().is_err());
}
