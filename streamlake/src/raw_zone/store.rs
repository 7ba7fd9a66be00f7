//! The object store behind a raw zone: Google Cloud Storage or a local directory.

use crate::classify::{self, Decision, Phase};
use crate::config::RawZoneSettings;
use crate::error::{Error, Result};
use crate::planted::{self, Bug};
use backon::{BackoffBuilder, ExponentialBuilder};
use futures::TryStreamExt;
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{ClientConfigKey, ObjectStore, ObjectStoreExt, PutResult, RetryConfig};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use url::Url;

use super::name::{Folder, ObjectName, PartName, dataset_path};
use super::root::Root;

/// An open raw zone: the store, seen from the zone's root.
#[derive(Debug, Clone)]
pub struct Zone {
    /// The store; paths are relative to the zone's root.
    pub store: Arc<dyn ObjectStore>,
    /// The root's directory when the zone is local.
    pub local_root: Option<PathBuf>,
    /// The same, watched.
    root: Option<Arc<Root>>,
    url: String,
    request_timeout: Duration,
    patience: Patience,
    /// The store tells a generation with each object that it creates; learned at the start.
    tells_generations: Arc<AtomicBool>,
}

/// How long requests are repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Patience {
    /// For ever: a consumer outlasts whatever happens to its store.
    Endless,
    /// A command that somebody waits for ends with the store's answer.
    Until(Duration),
}

/// How long a command that somebody waits for repeats a request to a store that is away.
const ONE_SHOT_PATIENCE: Duration = Duration::from_secs(15);

impl Zone {
    /// Opens a raw zone to write into; a local one is made if it is not there. No request is made yet.
    pub fn open(settings: &RawZoneSettings) -> Result<Zone> {
        Zone::with(settings, true, Patience::Endless)
    }

    /// Opens a raw zone for a command that somebody waits for: nothing is made, and a store that refuses
    /// or stays away ends the command with what it said.
    pub fn open_one_shot(settings: &RawZoneSettings) -> Result<Zone> {
        Zone::with(settings, false, Patience::Until(ONE_SHOT_PATIENCE))
    }

    fn with(settings: &RawZoneSettings, make: bool, patience: Patience) -> Result<Zone> {
        let (store, local_root) = match settings.url.scheme() {
            "gs" => (google(settings)?, None),
            _ => {
                let (store, root) = local(&settings.url, make)?;
                (store, Some(root))
            }
        };
        let url = settings.url.as_str().trim_end_matches('/').to_owned();
        let root = match &local_root {
            Some(path) => {
                let opening = Error::io(format!("opening {}", path.display()));
                Some(Arc::new(Root::open(path.clone()).map_err(opening)?))
            }
            None => None,
        };
        Ok(Zone {
            store,
            local_root,
            root,
            url,
            request_timeout: settings.request_timeout,
            patience,
            tells_generations: Arc::default(),
        })
    }

    /// The address of an object, for people.
    pub fn address(&self, path: &str) -> String {
        format!("{}/{path}", self.url)
    }

    /// Whether objects can carry attributes here.
    pub fn has_attributes(&self) -> bool {
        self.local_root.is_none()
    }

    /// The longest that one request may take.
    pub fn request_timeout(&self) -> Duration {
        self.request_timeout
    }

    /// The longest that one request may take. The store's client has the same limit; this one holds
    /// for whatever the client does not count (a name that does not resolve, a disk that hangs). A local root
    /// is looked at before and after: its store makes what is missing, and what was written elsewhere does not
    /// count.
    pub async fn bounded<T>(
        &self,
        request: impl Future<Output = object_store::Result<T>>,
    ) -> object_store::Result<T> {
        let watched = async {
            self.root_is_there().await?;
            let answer = request.await;
            self.root_is_there().await?;
            answer
        };
        let mut watched = std::pin::pin!(watched);
        let limit = self.request_timeout + Duration::from_secs(1);
        match tokio::time::timeout(limit, &mut watched).await {
            Ok(result) => result,
            Err(_) if planted::acts(Bug::HungStoreCallWaitedFor) => watched.await,
            Err(_) => Err(silent(self.request_timeout)),
        }
    }

    async fn root_is_there(&self) -> object_store::Result<()> {
        let Some(root) = self.root.clone() else { return Ok(()) };
        let generic = |source| object_store::Error::Generic { store: "StreamLake", source };
        match tokio::task::spawn_blocking(move || root.check()).await {
            Ok(there) => there.map_err(|text| generic(text.into())),
            Err(err) => Err(generic(err.into())),
        }
    }

    /// An object was created at the start: whether the store's answers bear a generation is known by it.
    pub(super) fn learn_from(&self, created: &PutResult) {
        if created.version.is_some() {
            self.tells_generations.store(true, Ordering::Relaxed);
        }
    }

    /// Whether the answer to a creation is the store's own. A portal or a proxy on the way may answer 200 to
    /// anything; what it has swallowed is in no store.
    pub(super) fn vouches(&self, created: &PutResult) -> object_store::Result<()> {
        if created.version.is_some() || !self.tells_generations.load(Ordering::Relaxed) {
            return Ok(());
        }
        Err(object_store::Error::Generic {
            store: "StreamLake",
            source: "the answer bears no generation, as the store's did at the start: something on the way may \
                     have answered in its place"
                .into(),
        })
    }

    /// Something was written; a local root is known by it.
    pub(super) fn wrote(&self, path: &str) {
        if let Some(root) = &self.root {
            root.wrote(path);
        }
    }

    /// Repeats requests that change nothing until they are answered. Only what the table of [`classify`]
    /// calls hopeless comes back as an error. Each request must have a limit of its own ([`Zone::bounded`]).
    pub async fn persist<T, F>(
        &self,
        doing: &str,
        on_retry: impl Fn(&Retry<'_>),
        mut request: impl FnMut() -> F,
    ) -> Result<T>
    where
        F: Future<Output = object_store::Result<T>>,
    {
        let mut delays = backoff();
        let mut attempts = 0;
        let started = Instant::now();
        loop {
            attempts += 1;
            let (phase, patient) = match self.patience {
                Patience::Endless => (Phase::Running, true),
                Patience::Until(limit) => (Phase::StartUp, started.elapsed() < limit),
            };
            match request().await {
                Ok(value) => return Ok(value),
                Err(err) if patient && classify::store(&err, phase) == Decision::Retry => {
                    let delay = next_delay(&mut delays);
                    on_retry(&Retry { doing, attempts, delay, error: &err });
                    tokio::time::sleep(delay).await;
                }
                Err(err @ object_store::Error::InvalidPath { .. }) => {
                    let remedy = "an object of somebody else's has a name that the store's client cannot \
                                  read; move it away or rename it";
                    return Err(Error::store(format!("{doing} ({remedy})"))(err));
                }
                Err(err) => return Err(Error::store(doing)(err)),
            }
        }
    }

    /// The names of all parts in a folder, unsorted. The limit is for a page: a folder of hundreds of
    /// thousands of parts takes as many pages as it takes.
    pub async fn part_names(&self, folder: &Folder) -> object_store::Result<Vec<PartName>> {
        if let Some(root) = &self.local_root {
            let names = self.bounded(local_names(root.join(folder.path()))).await?;
            return Ok(names.iter().filter_map(|name| PartName::parse(name)).collect());
        }
        let prefix = Path::from(folder.path());
        let mut objects = self.store.list(Some(&prefix));
        let mut names = Vec::new();
        let (mut seen, mut mark) = (0u64, None);
        while let Some(object) = self.bounded(objects.try_next()).await? {
            // A server that always gives the same next page would be asked for ever. The name at each power
            // of two is remembered: in a circle it comes again.
            seen += 1;
            if mark.as_ref() == Some(&object.location) {
                return Err(goes_in_circles(&object.location));
            }
            if seen.is_power_of_two() {
                mark = Some(object.location.clone());
            }
            if let Some(ObjectName::Part(_, name)) = ObjectName::parse(object.location.as_ref()) {
                names.push(name);
            }
        }
        Ok(names)
    }

    /// All folders of a dataset, oldest first.
    pub async fn folders(&self, dataset: &str) -> object_store::Result<Vec<Folder>> {
        if let Some(root) = &self.local_root {
            let names = self.bounded(local_names(root.join(dataset_path(dataset)))).await?;
            let path = |name: &String| format!("{}/{name}", dataset_path(dataset));
            let mut folders: Vec<_> =
                names.iter().filter_map(|name| Folder::parse(&path(name))).collect();
            folders.sort();
            return Ok(folders);
        }
        let prefix = Path::from(dataset_path(dataset));
        // Thousands of days take several pages, and one answer holds them all.
        let pages = self.store.list_with_delimiter(Some(&prefix));
        let limit = self.request_timeout.saturating_mul(FOLDER_PAGES_MAX);
        let listing = match tokio::time::timeout(limit, pages).await {
            Ok(listing) => listing?,
            Err(_) => return Err(silent(limit)),
        };
        let folders =
            listing.common_prefixes.iter().filter_map(|path| Folder::parse(path.as_ref()));
        let mut folders: Vec<_> = folders.collect();
        folders.sort();
        Ok(folders)
    }

    /// An object's bytes.
    pub async fn read(&self, path: &str) -> object_store::Result<bytes::Bytes> {
        self.bounded(async { self.store.get(&Path::from(path)).await?.bytes().await }).await
    }
}

/// The names in a directory; none if it is not there. The store's own listing ends at the first name that
/// is not UTF-8 and follows links in circles: neither of them is ours, and neither may hold up a part.
pub(super) async fn local_names(directory: PathBuf) -> object_store::Result<Vec<String>> {
    let read = tokio::task::spawn_blocking(move || {
        let entries = match std::fs::read_dir(&directory) {
            Err(err) if err.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let names = entries.map(|entry| Ok(entry?.file_name().into_string().ok()));
        names.filter_map(Result::transpose).collect::<std::io::Result<Vec<_>>>()
    });
    let generic = |source| object_store::Error::Generic { store: "StreamLake", source };
    match read.await {
        Ok(names) => names.map_err(|err| generic(err.into())),
        Err(err) => Err(generic(err.into())),
    }
}

fn goes_in_circles(name: &Path) -> object_store::Error {
    object_store::Error::Generic {
        store: "StreamLake",
        source: format!("the listing goes in circles: {name} came twice").into(),
    }
}

/// The folders of a dataset are listed in one call; so many pages of it may take their full time.
const FOLDER_PAGES_MAX: u32 = 20;

fn silent(limit: Duration) -> object_store::Error {
    object_store::Error::Generic {
        store: "StreamLake",
        source: format!(
            "no answer within {limit:?} (--store-timeout is the limit of one request; on a slow line \
             smaller parts, --batch-bytes, help more)"
        )
        .into(),
    }
}

/// A failed attempt that will be repeated.
#[derive(Debug)]
pub struct Retry<'a> {
    /// What was tried.
    pub doing: &'a str,
    /// How many attempts were made so far.
    pub attempts: u32,
    /// When the next one follows.
    pub delay: Duration,
    /// What went wrong.
    pub error: &'a object_store::Error,
}

/// Logs a retry; for requests that nobody watches more closely.
pub fn log_retry(retry: &Retry<'_>) {
    tracing::warn!(error = %retry.error, "{}: trying again in {:?}", retry.doing, retry.delay);
}

/// Delays between attempts: from 100 ms to 2 s, with as much again of jitter, without end. A process
/// makes few requests at a time, so a short maximum does not press a store that is down, and it is
/// noticed soon when the store is back.
pub fn backoff() -> backon::ExponentialBackoff {
    ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(100))
        .with_max_delay(Duration::from_secs(2))
        .with_jitter()
        .without_max_times()
        .build()
}

/// The next delay of [`backoff`].
pub fn next_delay(delays: &mut backon::ExponentialBackoff) -> Duration {
    delays.next().unwrap_or(Duration::from_secs(2))
}

/// `GOOGLE_BASE_URL` and `GOOGLE_BEARER_TOKEN` reach the builder through `from_env`. Options are set
/// one by one: replacing `ClientOptions` as a whole would lose the permission to speak HTTP to an
/// emulator, and `skip_signature` alone would still ask the metadata server for a token on writes.
fn google(settings: &RawZoneSettings) -> Result<Arc<dyn ObjectStore>> {
    let bucket = settings.url.host_str().unwrap_or_default();
    let timeout = format!("{}ms", planted::client_timeout(settings.request_timeout).as_millis());
    let option = |key| GoogleConfigKey::Client(key);
    let mut builder = GoogleCloudStorageBuilder::from_env();
    if let Some(given) = builder.get_config_value(&GoogleConfigKey::BaseUrl) {
        builder = builder.with_config(GoogleConfigKey::BaseUrl, base_url(&given)?);
    }
    let store = builder
        .with_bucket_name(bucket)
        .with_config(option(ClientConfigKey::Timeout), timeout)
        .with_config(option(ClientConfigKey::ConnectTimeout), "5 seconds")
        // Retries are ours: only who sees every attempt can tell "somebody has this name" from
        // "our own first attempt has it", and only then is no part written twice.
        .with_retry(RetryConfig { max_retries: 0, ..RetryConfig::default() })
        .build()
        // No request is made here: what fails is a setting.
        .map_err(|err| Error::Config(format!("opening gs://{bucket}: {err}")))?;
    Ok(match prefix(&settings.url)? {
        None => Arc::new(store),
        Some(prefix) => Arc::new(PrefixStore::new(store, prefix)),
    })
}

/// The address of the store in place of Google's own. The store's client panics on one that is none, and asks
/// for `//bucket` where it ends with a slash.
fn base_url(given: &str) -> Result<String> {
    let url = Url::parse(given).ok().filter(|url| {
        let web = matches!(url.scheme(), "http" | "https") && url.host_str().is_some();
        web && url.path().trim_matches('/').is_empty() && url.query().is_none()
    });
    match url {
        Some(_) => Ok(given.trim_end_matches('/').to_owned()),
        // A password that took a wrong turn is not repeated.
        None if given.contains('@') => base_url("…"),
        None => Err(Error::Config(format!(
            "GOOGLE_BASE_URL={given:?} is no address of a store: say http://host:port or https://host"
        ))),
    }
}

/// The prefix within the bucket. A URL holds it encoded, and the store's client encodes it for its
/// requests: in between it is plain text, or a space would be encoded twice.
fn prefix(url: &Url) -> Result<Option<Path>> {
    let plain = percent_encoding::percent_decode_str(url.path().trim_matches('/')).decode_utf8();
    let plain =
        plain.map_err(|err| Error::Config(format!("{url}: the prefix is no UTF-8 ({err})")))?;
    let path = Path::parse(&*plain)
        .map_err(|err| Error::Config(format!("{url}: no prefix of an object store ({err})")))?;
    Ok((!path.as_ref().is_empty()).then_some(path))
}

/// Files and their directories are synced before a write is reported: a part that a commit relies on
/// must outlive a power cut.
fn local(url: &Url, make: bool) -> Result<(Arc<dyn ObjectStore>, PathBuf)> {
    let root = url
        .to_file_path()
        .map_err(|()| Error::Config(format!("{url} is no path of this machine")))?;
    if make && !root.exists() {
        // Where a file system was to be mounted, this is the disk below.
        tracing::warn!("the raw zone's directory {} is not there and is made", root.display());
        std::fs::create_dir_all(&root)
            .map_err(Error::io(format!("creating {}", root.display())))?;
    }
    let store = LocalFileSystem::new_with_prefix(&root)
        .map_err(Error::store(format!("opening {}", root.display())))?
        .with_fsync(true);
    Ok((Arc::new(store), root))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config::raw_zone_url;

    #[test]
    fn a_prefix_is_plain_text_between_url_and_request() {
        for (url, expected) in [
            ("gs://b/my%20zone/%C3%BCber", Some("my zone/\u{fc}ber")),
            ("gs://b/my zone", Some("my zone")),
            ("gs://b/a%23b/", Some("a#b")),
            ("gs://b", None),
            ("gs://b/", None),
        ] {
            let found = prefix(&raw_zone_url(url).unwrap()).unwrap();
            assert_eq!(found.as_ref().map(Path::as_ref), expected, "{url}");
        }
        assert!(prefix(&raw_zone_url("gs://b/a//b").unwrap()).is_err());
    }

    #[test]
    fn an_address_that_is_none_is_a_setting() {
        for (given, good) in [
            ("http://127.0.0.1:4443", Some("http://127.0.0.1:4443")),
            ("https://storage.example.com/", Some("https://storage.example.com")),
            ("127.0.0.1:4443", None),
            ("localhost:4443", None),
            ("http://h/path", None),
            ("ftp://h", None),
            ("", None),
        ] {
            assert_eq!(base_url(given).ok().as_deref(), good, "{given}");
        }
        assert_eq!(base_url("x").unwrap_err().exit_code(), 2);
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn what_others_leave_in_a_folder_does_not_hold_up_its_listing() {
        use std::os::unix::ffi::OsStrExt;
        let dir = tempfile::tempdir().unwrap();
        let url = raw_zone_url(&format!("file://{}", dir.path().display())).unwrap();
        let zone = Zone::open(&RawZoneSettings::new(url.as_str(), Duration::from_secs(5)).unwrap());
        let zone = zone.unwrap();
        let folder = Folder { dataset: "d".into(), date: Default::default() };
        let path = dir.path().join(folder.path());
        assert_eq!(zone.part_names(&folder).await.unwrap(), vec![]);
        std::fs::create_dir_all(path.join("sub")).unwrap();
        for name in [&b"x\xff"[..], b"new\nline", b"part-0002.json", b"part-0003.json#1"] {
            std::fs::write(path.join(std::ffi::OsStr::from_bytes(name)), b"").unwrap();
        }
        std::os::unix::fs::symlink("..", path.join("loop")).unwrap();
        let found = zone.part_names(&folder).await.unwrap();
        assert_eq!(found.iter().map(|name| name.number).collect::<Vec<_>>(), [2]);
        assert_eq!(zone.folders("d").await.unwrap(), vec![folder]);
    }

    #[tokio::test]
    async fn a_reader_makes_no_directory_and_does_not_wait_for_one() {
        let dir = tempfile::tempdir().unwrap();
        let url = raw_zone_url(&format!("file://{}/nowhere", dir.path().display())).unwrap();
        let settings = RawZoneSettings { url, request_timeout: Duration::from_secs(5) };
        assert!(Zone::open_one_shot(&settings).is_err());
        assert!(!dir.path().join("nowhere").exists());
    }
}
