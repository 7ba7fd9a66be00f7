//! The same promises with the real emulator behind the gateway.

use super::*;

/// `FAKE_GCS_SERVER=/path/to/fake-gcs-server` runs it.
#[tokio::test]
async fn the_emulator_behind_the_gateway_keeps_the_same_promises() {
    let Ok(program) = std::env::var("FAKE_GCS_SERVER") else {
        eprintln!("skipped: FAKE_GCS_SERVER names no emulator");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let reserved = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = reserved.local_addr().unwrap().port();
    drop(reserved);
    let mut emulator = tokio::process::Command::new(program)
        .args(["-scheme", "http", "-host", "127.0.0.1", "-port", &port.to_string()])
        .args(["-backend", "filesystem", "-filesystem-root"])
        .arg(folder.path())
        .args(["-public-host", &format!("127.0.0.1:{port}")])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let started = async {
        while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), started).await.unwrap();
    let backend: Arc<dyn Backend> =
        Arc::new(FakeGcs::new(format!("http://127.0.0.1:{port}")).unwrap());
    let bed = bed_on(backend).await;
    read_and_delete(&bed).await;
    bed.client.delete(&Path::from("copy")).await.unwrap();
    multipart_upload_on_emulator(&bed).await;
    one_winner(&bed).await;
    bed.client.delete(&Path::from("contested")).await.unwrap();
    observed(&bed).await;
    bed.client.delete(&Path::from("raw/1")).await.unwrap();
    listings(&bed, 60).await;
    let fresh = bed_on(Arc::new(FakeGcs::new(format!("http://127.0.0.1:{port}")).unwrap())).await;
    create_and_update(&fresh).await;
    emulator.kill().await.unwrap();
}

async fn multipart_upload_on_emulator(bed: &Bed) {
    let path = Path::from("big");
    let mut upload = bed.client.put_multipart(&path).await.unwrap();
    upload.put_part(PutPayload::from_static(b"tail")).await.unwrap();
    upload.complete().await.unwrap();
    assert_eq!(bed.client.head(&path).await.unwrap().size, 4);
    bed.client.delete(&path).await.unwrap();
}
