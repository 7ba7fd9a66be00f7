//! What clients meet while the store is made to fail.

use super::*;

/// Requests of the client, and those of them that met the fault.
fn met(bed: &Bed) -> (u64, u64) {
    let hits = bed.gateway.hits();
    (hits.requests, hits.hit)
}

#[tokio::test]
async fn a_fault_that_only_the_harness_meets_hits_nobody() {
    let bed = bed().await;
    bed.gateway.set_fault(StoreFault::Status(503));
    let url = bed.gateway.client_url();
    for _ in 0..3 {
        let probe = crate::testbed::probe::store_listing(&url, BUCKET, Duration::from_secs(5));
        // It sees what a client would see.
        assert_eq!(probe.await, Err("listing answered with status 503".to_owned()));
    }
    assert_eq!(met(&bed), (0, 0));
    assert_eq!(bed.gateway.hits().own, 3);
    bed.client.put_opts(&Path::from("x"), payload("x"), create()).await.unwrap_err();
    let hits = bed.gateway.set_fault(StoreFault::None);
    assert_eq!((hits.requests, hits.hit, hits.writes_hit, hits.own), (4, 4, 4, 3));
}

#[tokio::test]
async fn a_request_that_hangs_is_in_flight_when_the_fault_changes() {
    let bed = bed().await;
    bed.gateway.set_fault(StoreFault::Hang);
    let impatient = client(&bed.gateway, 0);
    let (path, options) = (Path::from("slow"), create());
    let hanging = async { impatient.put_opts(&path, payload("x"), options).await.unwrap_err() };
    let changed = async {
        while bed.gateway.hits().hit == 0 {
            tokio::task::yield_now().await;
        }
        bed.gateway.set_fault(StoreFault::Status(503))
    };
    let (_, hits) = tokio::join!(hanging, changed);
    assert_eq!((hits.in_flight, hits.in_flight_max), (0, 1));
    assert_eq!(bed.gateway.hits().in_flight, 1);
}

#[tokio::test]
async fn an_injected_status_is_retried_and_reported_when_it_stays() {
    let bed = bed().await;
    bed.gateway.set_fault(StoreFault::Status(503));
    let error = bed.client.put_opts(&Path::from("x"), payload("x"), create()).await.unwrap_err();
    assert!(error.to_string().contains("503"), "{error}");
    let hits = bed.gateway.set_fault(StoreFault::None);
    assert_eq!((hits.requests, hits.hit, hits.writes_hit), (4, 4, 4));
    assert!(bed.gateway.journal().entries.is_empty());

    bed.gateway.set_fault(StoreFault::Status(429));
    let path = Path::from("y");
    let retried = bed.client.put_opts(&path, payload("y"), create());
    let healed = async {
        while bed.gateway.hits().hit == 0 {
            tokio::task::yield_now().await;
        }
        bed.gateway.set_fault(StoreFault::None);
    };
    tokio::join!(retried, healed).0.unwrap();
}

#[tokio::test]
async fn a_flaky_store_refuses_one_write_in_so_many_and_no_read() {
    let bed = bed().await;
    bed.gateway.set_fault(StoreFault::Flaky(3));
    for number in 0..6 {
        let path = Path::from(format!("part-{number}"));
        bed.client.put_opts(&path, payload("x"), create()).await.unwrap();
        bed.client.get(&path).await.unwrap();
    }
    // Each refusal is followed by the client's own retry: 9 writes for 6 objects, 6 reads.
    assert_eq!(met(&bed), (15, 3));
    assert_eq!(bed.gateway.journal().entries.len(), 6);
}

#[tokio::test]
async fn a_reset_after_the_write_leaves_the_object_and_no_answer() {
    let bed = bed().await;
    let path = Path::from("written");
    bed.gateway.set_fault(StoreFault::ResetAfter);
    let impatient = client(&bed.gateway, 0);
    let error = impatient.put_opts(&path, payload("once"), create()).await.unwrap_err();
    assert!(!matches!(error, Error::AlreadyExists { .. }), "{error:?}");
    // Reads are answered: only writes lose their answer.
    let read = bed.client.get(&path).await.unwrap().bytes().await.unwrap();
    assert_eq!(&read[..], b"once");
    assert_eq!(met(&bed), (2, 1));
    let entry = &bed.gateway.journal().entries[0];
    assert_eq!((entry.status, entry.object.as_str()), (200, "written"));
}

/// The client repeats an overwrite by itself and a creation never: that is left to its caller, who
/// then meets the object of the first try.
#[tokio::test]
async fn after_a_reset_a_creation_is_left_to_the_caller_and_an_overwrite_is_repeated() {
    let bed = bed().await;
    bed.gateway.set_fault(StoreFault::ResetAfter);
    let path = Path::from("created");
    bed.client.put_opts(&path, payload("once"), create()).await.unwrap_err();
    assert_eq!(bed.gateway.writes(), 1);
    let replaced = Path::from("replaced");
    bed.client.put(&replaced, payload("again and again")).await.unwrap_err();
    assert_eq!(bed.gateway.writes(), 1 + 4);
    bed.gateway.set_fault(StoreFault::None);
    let own = bed.client.put_opts(&path, payload("once"), create()).await.unwrap_err();
    assert!(matches!(own, Error::AlreadyExists { .. }), "{own:?}");
}

#[tokio::test]
async fn a_reset_before_the_write_leaves_nothing() {
    let bed = bed().await;
    bed.gateway.set_fault(StoreFault::ResetBefore);
    bed.client.put_opts(&Path::from("lost"), payload("x"), create()).await.unwrap_err();
    assert!(bed.gateway.hits().hit >= 1);
    bed.gateway.set_fault(StoreFault::None);
    assert!(names(&bed).await.is_empty());
    assert!(bed.gateway.journal().entries.is_empty());
}

#[tokio::test]
async fn a_hang_ends_in_the_clients_timeout_or_with_the_fault() {
    let bed = bed().await;
    bed.gateway.set_fault(StoreFault::Hang);
    let start = Instant::now();
    let path = Path::from("slow");
    let impatient = client(&bed.gateway, 0);
    impatient.put_opts(&path, payload("x"), create()).await.unwrap_err();
    assert!(start.elapsed() >= Duration::from_secs(2), "{:?}", start.elapsed());

    let hanging = async { bed.client.get(&path).await.unwrap_err() };
    let healed = async {
        while bed.gateway.hits().hit < 2 {
            tokio::task::yield_now().await;
        }
        bed.gateway.set_fault(StoreFault::None);
    };
    let (error, ()) = tokio::join!(hanging, healed);
    // Reset, asked again, and answered: nothing was written during the hang.
    assert!(matches!(error, Error::NotFound { .. }), "{error:?}");
    assert!(bed.gateway.journal().entries.is_empty());
}

#[tokio::test]
async fn a_delay_is_waited_for() {
    let bed = bed().await;
    bed.gateway.set_fault(StoreFault::Delay(Duration::from_millis(120)));
    let start = Instant::now();
    bed.client.put(&Path::from("slow"), payload("x")).await.unwrap();
    assert!(start.elapsed() >= Duration::from_millis(120));
    assert_eq!(met(&bed), (1, 1));
}

#[tokio::test]
async fn a_store_that_is_away_is_a_broken_connection_and_an_unknown_outcome() {
    let gateway =
        Gateway::start(Arc::new(FakeGcs::new("http://127.0.0.1:1").unwrap())).await.unwrap();
    let client = client(&gateway, 0);
    client.put_opts(&Path::from("x"), payload("x"), create()).await.unwrap_err();
    assert_eq!(gateway.journal().entries[0].status, 0);
    gateway.close().await;
    let refused = tokio::net::TcpStream::connect(gateway.client_address).await.unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
}
