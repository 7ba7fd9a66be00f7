//! Bugs put in on purpose, so that the harness can show that it finds them.
//!
//! They exist only in a build with the feature `planted-bugs`. Without it [`is`] is a constant
//! `false`, the compiler removes the branches, and no variable can bring one back. With it, the
//! variable `STREAMLAKE_PLANTED_BUG` names one of [`Bug::ALL`] for the life of the process.
//!
//! Most bugs are quiet: they wait for a kind of record, for a moment, or for their turn. A process says
//! in its log when its bug acts for the first time ([`ACTED`]), so that a bug that was missed can be told
//! from one that never acted.

use crate::kafka::Role;
use rdkafka::ClientConfig;
use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};

mod consuming;
mod producing;
#[cfg(feature = "planted-bugs")]
mod protocol;
mod records;
mod storing;

pub(crate) use consuming::*;
pub(crate) use producing::*;
pub(crate) use records::*;
pub(crate) use storing::*;

/// What a process logs when its bug acts for the first time.
pub const ACTED: &str = "the planted bug acts";

macro_rules! bugs {
    ($($(#[$doc:meta])+ $bug:ident = $name:literal,)+) => {
        /// One bug on purpose.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Bug {
            $($(#[$doc])+ $bug,)+
        }

        impl Bug {
            /// Every bug with the name that selects it.
            pub const ALL: &'static [(&'static str, Bug)] = &[$(($name, Bug::$bug),)+];
        }
    };
}

bugs! {
    /// Offsets are committed as soon as the records are read, before they are stored.
    CommitBeforeWrite = "commit-before-write",
    /// The client commits by itself what it has handed out, every 100 ms.
    AutoCommit = "auto-commit",
    /// The last offset handled is committed, not the next one to read: one record is read twice.
    CommitLastOffset = "commit-last-offset",
    /// One more than the next offset is committed: one record is never read.
    CommitOneTooFar = "commit-one-too-far",
    /// The newest part that was stored is committed, whatever is still on its way before it.
    CommitNewestCompletion = "commit-newest-completion",
    /// What was stored and not committed when its partition was taken away is committed all the
    /// same, as soon as the member belongs to the group again.
    CommitAfterRevoke = "commit-after-revoke",
    /// A partition that was given up is still looked after as if it were assigned.
    StaleAssignment = "stale-assignment",
    /// A part that the store refuses is given up and counted as stored.
    DropOnStoreError = "drop-on-store-error",
    /// A part that the store refuses once goes to the dead-letter topic record by record.
    DeadLetterOnTransientError = "dead-letter-on-transient-error",
    /// A record counts as handled when its dead letter is sent, not when it is acknowledged.
    CommitBeforeDeadLetterAck = "commit-before-dead-letter-ack",
    /// The payload of a dead letter is decoded and encoded again.
    DeadLetterReencoded = "dead-letter-reencoded",
    /// The last header of each record is not stored.
    HeaderLost = "header-lost",
    /// Payloads are parsed and written anew.
    ValueReserialized = "value-reserialized",
    /// Parts are written without a condition, from number 1 in each process.
    PartOverwritten = "part-overwritten",
    /// A part is cut to its half after it was stored.
    PartTruncated = "part-truncated",
    /// Each third part is left out of the metadata.
    MetadataMissingPart = "metadata-missing-part",
    /// What is still open at a signal is dropped, and committed.
    TailForgotten = "tail-forgotten",
    /// Records are stored under the day after their own.
    DateOffByOne = "date-off-by-one",
    /// The producer uses librdkafka's own partitioner, a CRC-32.
    WrongPartitioner = "wrong-partitioner",
    /// A record that was not acknowledged is sent once more, into any partition.
    RandomPartitionForRetries = "random-partition-for-retries",
    /// The producer is content with the leader's answer.
    AcksOne = "acks-one",
    /// The producer retries without idempotence and with many requests in flight.
    ReorderedRetries = "reordered-retries",
    /// A record that failed is reported as acknowledged.
    ErrorSwallowed = "error-swallowed",
    /// An outcome that is not known is reported as failed.
    UnknownAsFailed = "unknown-as-failed",
    /// One record in ten thousand is neither stored nor reported.
    RecordSkipped = "record-skipped",
    /// A replay starts one record after the one that was asked for.
    ReplayOffByOne = "replay-off-by-one",
    /// One commit of a process covers records that are read and not stored.
    CommitEarlyOnce = "commit-early-once",
    /// After a store error, and only until the next part is stored, what is read is committed.
    CommitEarlyAfterRetry = "commit-early-after-retry",
    /// What is read of a partition is committed when it is taken away, stored or not.
    CommitReadAtRevoke = "commit-read-at-revoke",
    /// One commit of a process goes back by three records.
    CommitBackOnce = "commit-back-once",
    /// After a commit that was refused nothing is committed any more.
    CommitsGivenUp = "commits-given-up",
    /// What is stored and not committed at a signal stays so: the successor stores it again.
    CommitForgottenAtStop = "commit-forgotten-at-stop",
    /// Nothing of a partition is committed while records of it keep coming.
    CommitsOnlyWhenIdle = "commits-only-when-idle",
    /// One commit of a process gives two partitions each other's offsets.
    CommitsSwappedOnce = "commits-swapped-once",
    /// The age of a batch counts from its last record.
    AgeOfTheLastRecord = "age-of-the-last-record",
    /// A batch of a single record does not grow old.
    SingleRecordWaits = "single-record-waits",
    /// A batch is closed by one record more than it may have.
    BatchOneTooMany = "batch-one-too-many",
    /// A batch is not closed by its bytes.
    BatchBytesIgnored = "batch-bytes-ignored",
    /// After a pause one of several partitions is not let go on.
    OnePartitionStaysPaused = "one-partition-stays-paused",
    /// A member begins five records before the committed offset.
    RereadsAtAssignment = "rereads-at-assignment",
    /// What is open of a partition is dropped, and committed, when it is taken away.
    TailForgottenAtRevoke = "tail-forgotten-at-revoke",
    /// At a signal the open part of the highest partition is dropped, and committed.
    TailOfOnePartition = "tail-of-one-partition",
    /// One record in three hundred is neither stored nor reported.
    SkipsRarely = "skips-rarely",
    /// The record behind a dead letter is passed over.
    SkipsAfterDeadLetter = "skips-after-dead-letter",
    /// Records without a key are passed over.
    SkipsWithoutKey = "skips-without-key",
    /// Records whose key is no UTF-8 are passed over.
    SkipsOddKeys = "skips-odd-keys",
    /// Records of more than 32 KiB are passed over.
    SkipsLarge = "skips-large",
    /// The first record after an assignment that resumes in the middle of a partition is passed over.
    SkipsAfterAssignment = "skips-after-assignment",
    /// The first record after a store error is passed over.
    SkipsAfterRetry = "skips-after-retry",
    /// While another member has partitions, too, each fiftieth record is passed over.
    SkipsWhenShared = "skips-when-shared",
    /// The record that begins another day while a part is open is passed over.
    SkipsNewDay = "skips-new-day",
    /// The second group passes over each hundredth record.
    SkipsInSecondGroup = "skips-in-second-group",
    /// Tombstones are committed past without a dead letter.
    PoisonDropped = "poison-dropped",
    /// A payload with a field of a wrong type is stored.
    PoisonStored = "poison-stored",
    /// One good record in three hundred becomes a dead letter.
    GoodRecordDeadLettered = "good-record-dead-lettered",
    /// Each third dead letter is committed past and never written.
    LettersDropped = "letters-dropped",
    /// The second group writes no dead letters.
    LettersDroppedInSecondGroup = "letters-dropped-in-second-group",
    /// Each third dead letter is written twice.
    LetterTwice = "letter-twice",
    /// Each third dead letter has an empty trace.
    LetterWithoutTrace = "letter-without-trace",
    /// Each third dead letter has an empty reason.
    LetterWithoutReason = "letter-without-reason",
    /// Each third dead letter names the offset before its own.
    LetterOfAnotherOffset = "letter-of-another-offset",
    /// Dead letters name partition 0, whatever theirs is.
    LetterOfPartitionZero = "letter-of-partition-zero",
    /// Each third dead letter has failed in 1970.
    LetterFailedIn1970 = "letter-failed-in-1970",
    /// Dead letters name the time of the failure as the record's.
    LetterOfAnotherTime = "letter-of-another-time",
    /// Dead letters of records whose key is no UTF-8 have none.
    LetterWithoutOddKey = "letter-without-odd-key",
    /// The dead letter of a tombstone has an empty payload.
    LetterOfTombstoneEmpty = "letter-of-tombstone-empty",
    /// The dead letter of an empty payload is a tombstone.
    LetterOfEmptyTombstone = "letter-of-empty-tombstone",
    /// Headers of the original that bear a reserved name are left out of its dead letter.
    LetterWithoutReservedHeaders = "letter-without-reserved-headers",
    /// Headers without a value are left out of a dead letter.
    LetterWithoutNullHeaders = "letter-without-null-headers",
    /// The second group's dead letters name the first group.
    LetterOfAnotherGroup = "letter-of-another-group",
    /// The consumer's headers stand in front of the original ones.
    LetterHeadersInFront = "letter-headers-in-front",
    /// A dead letter has the reason of the one before.
    LetterReasonOfTheOneBefore = "letter-reason-of-the-one-before",
    /// Two headers of one record in fifty change places.
    HeadersOutOfOrder = "headers-out-of-order",
    /// A header whose name stood there before is not stored.
    RepeatedHeaderDropped = "repeated-header-dropped",
    /// A header without a value is stored with an empty one.
    NullHeaderAsEmpty = "null-header-as-empty",
    /// A header with an empty value is stored without one.
    EmptyHeaderAsNull = "empty-header-as-null",
    /// Header names that are no UTF-8 are stored repaired.
    HeaderNameRepaired = "header-name-repaired",
    /// The record behind a dead letter is stored with the dead letter's headers.
    NeighboursHeaders = "neighbours-headers",
    /// One line in fifty bears an ingestion id that is always the same.
    LineIdConstant = "line-id-constant",
    /// One record in fifty is stored with timestamp 0.
    TimestampZeroed = "timestamp-zeroed",
    /// A timestamp that is more than a day off is replaced by the time of storing.
    OddTimestampReplaced = "odd-timestamp-replaced",
    /// Headers behind the sixteenth are not stored.
    SeventeenthHeaderLost = "seventeenth-header-lost",
    /// Quotes, backslashes and control characters in keys are not stored.
    QuotedKeyAltered = "quoted-key-altered",
    /// A record without a key is stored with an empty one.
    NullKeyAsEmpty = "null-key-as-empty",
    /// A record with an empty key is stored without one.
    EmptyKeyAsNull = "empty-key-as-null",
    /// Keys that are no UTF-8 are stored repaired.
    OddKeyRepaired = "odd-key-repaired",
    /// White space around a payload is not stored.
    ValueTrimmed = "value-trimmed",
    /// Payloads over several lines are stored in one.
    ValueJoined = "value-joined",
    /// Payloads of more than 32 KiB are cut there.
    LongValueCut = "long-value-cut",
    /// Letters beyond ASCII are stored as question marks.
    ValueTransliterated = "value-transliterated",
    /// Payloads with a number of twenty digits are parsed and written anew.
    NumbersRounded = "numbers-rounded",
    /// A batch that is closed by its records loses the last one.
    LastOfFullBatchLost = "last-of-full-batch-lost",
    /// A part of several chunks loses its last record.
    LastOfLargeBatchLost = "last-of-large-batch-lost",
    /// Compression loses the last record of a part.
    LastOfCompressedLost = "last-of-compressed-lost",
    /// A part whose name is taken counts as stored, whatever the object holds.
    TakenNameCountsAsStored = "taken-name-counts-as-stored",
    /// A part whose request broke off counts as stored.
    ResetCountsAsStored = "reset-counts-as-stored",
    /// A part that the store refuses is sent again at once, without a pause.
    RetriesWithoutPause = "retries-without-pause",
    /// The first part of a folder has the number 0.
    PartZero = "part-zero",
    /// The object of each third part names another last offset than it has.
    AttributeWrongOffset = "attribute-wrong-offset",
    /// A compressed part of several records is two frames.
    PartOfTwoFrames = "part-of-two-frames",
    /// What a consumer writes to try the store out stays there.
    ProbeLeftBehind = "probe-left-behind",
    /// In each fifth part two records change places.
    PartShuffled = "part-shuffled",
    /// Each fifth part begins with a record of another partition.
    PartOfTwoPartitions = "part-of-two-partitions",
    /// A process counts its seventh part as stored and never writes it.
    SeventhPartLost = "seventh-part-lost",
    /// Once a process has met a store error, it stores each part twice.
    StoredTwiceAfterError = "stored-twice-after-error",
    /// A part that is sent again goes to another name.
    RetryUnderAnotherName = "retry-under-another-name",
    /// The part after a store error overwrites the one before it.
    NumberUsedAgain = "number-used-again",
    /// A part in five leaves an object of another name beside it.
    StrayObject = "stray-object",
    /// A part in five leaves an empty part behind.
    EmptyPart = "empty-part",
    /// Each fifth part goes into the folder of another dataset.
    WrongDatasetFolder = "wrong-dataset-folder",
    /// The day is that of the Kafka timestamp, whatever the header says.
    DateOfTimestamp = "date-of-timestamp",
    /// The day is the one that is written in the header, whatever its zone.
    DateWithoutZone = "date-without-zone",
    /// A record that begins a new day goes into the part of the day before.
    DateOfOpenPart = "date-of-open-part",
    /// The day is that of the last `ingested_at`, where there are several.
    DateOfLastHeader = "date-of-last-header",
    /// The day is that of the Kafka timestamp where `ingested_at` has a long fraction.
    DateOfLongFraction = "date-of-long-fraction",
    /// Records without `ingested_at` go to 1970-01-01.
    Date1970WithoutHeader = "date-1970-without-header",
    /// Each third part is listed with another checksum.
    MetadataWrongChecksum = "metadata-wrong-checksum",
    /// Each third part is listed with one offset too many.
    MetadataOffsetOffByOne = "metadata-offset-off-by-one",
    /// A part is listed with as many records as its range has offsets.
    MetadataCountsOffsets = "metadata-counts-offsets",
    /// Each third part is listed with another length.
    MetadataWrongSize = "metadata-wrong-size",
    /// Each third part is listed with another topic.
    MetadataWrongTopic = "metadata-wrong-topic",
    /// The metadata is written anew without what it listed before.
    MetadataForgets = "metadata-forgets",
    /// A folder's metadata names the day on which it was written.
    MetadataOfToday = "metadata-of-today",
    /// At the end the metadata is not completed.
    MetadataCutAtStop = "metadata-cut-at-stop",
    /// The metadata is written without a condition.
    MetadataUnconditional = "metadata-unconditional",
    /// The metadata says for ever that it was last written when it was first.
    MetadataTimeFrozen = "metadata-time-frozen",
    /// A part that is listed after a crash is listed with one record too few.
    RebuiltEntryMiscounts = "rebuilt-entry-miscounts",
    /// Of the parts that a crash left unlisted only one is listed.
    RebuildsOneOnly = "rebuilds-one-only",
    /// One record in fifty is produced with another dataset in its headers.
    SecondHeaderValueWrong = "second-header-value-wrong",
    /// One record in fifty is produced with a header of another name.
    HeaderNameWrong = "header-name-wrong",
    /// One record in fifty is produced with an `ingested_at` in 1970.
    IngestedIn1970 = "ingested-in-1970",
    /// One record in fifty is produced with an `ingested_at` an hour too early.
    IngestedAnHourAgo = "ingested-an-hour-ago",
    /// One record in fifty is produced with the ingestion id of the one before.
    IngestionIdUsedAgain = "ingestion-id-used-again",
    /// The producer takes away white space around a payload.
    PayloadTrimmed = "payload-trimmed",
    /// The producer cuts keys after 64 bytes.
    LongKeyCut = "long-key-cut",
    /// Records whose key is no ASCII go to partition 0.
    OddKeyPartitionedElsewhere = "odd-key-partitioned-elsewhere",
    /// One record in three hundred is sent twice.
    SentTwice = "sent-twice",
    /// One good record in three hundred is rejected.
    GoodRecordRejected = "good-record-rejected",
    /// The producer accepts a payload with a field of a wrong type.
    PoisonAccepted = "poison-accepted",
    /// Each third rejection is reported without a dead letter.
    RejectedWithoutLetter = "rejected-without-letter",
    /// The dead letter of a payload that is no UTF-8 holds it repaired.
    RejectedRepaired = "rejected-repaired",
    /// Each tenth acknowledgement is reported as unknown.
    EveryTenthUnknown = "every-tenth-unknown",
    /// Each tenth acknowledgement is reported as failed.
    EveryTenthFailed = "every-tenth-failed",
    /// One receipt in three hundred names the place of the record before.
    ReceiptOfTheOneBefore = "receipt-of-the-one-before",
    /// One record in three hundred is acknowledged and never sent.
    AcknowledgedUnsent = "acknowledged-unsent",
    /// One receipt in three hundred is given twice.
    ReceiptTwice = "receipt-twice",
    /// One receipt in three hundred is not given.
    ReceiptLost = "receipt-lost",
    /// One receipt in a hundred names another ingestion id than the record has.
    ReceiptOfAnotherId = "receipt-of-another-id",
    /// The dead letter of a rejected event has no key.
    RejectedLetterWithoutKey = "rejected-letter-without-key",
    /// All receipts of rejected events have the same reason.
    RejectedReasonConstant = "rejected-reason-constant",
    /// One record in a hundred is sent 150 ms late, behind its successors.
    OneRecordLate = "one-record-late",
    /// `ingested_at` is told by a clock that goes on each three seconds.
    IngestedAtCached = "ingested-at-cached",
    /// The producer exits at the end of its input without waiting for receipts.
    EndsWithoutReceipts = "ends-without-receipts",
    /// The producer is not idempotent.
    IdempotenceOff = "idempotence-off",
    /// The producer retries once.
    RetriesBounded = "retries-bounded",
    /// The dead-letter producer is content with the leader's answer.
    LetterAcksOne = "letter-acks-one",
    /// The dead-letter producer is not idempotent.
    LetterIdempotenceOff = "letter-idempotence-off",
    /// A group without an offset begins at the end.
    OffsetResetLatest = "offset-reset-latest",
    /// The consumer reads records of transactions that were not committed.
    ReadsUncommitted = "reads-uncommitted",
    /// An orderly stop exits with 1.
    StopExitsOne = "stop-exits-one",
    /// An orderly stop takes 14 s longer than it needs, and so longer than its deadline.
    StopTakesItsTime = "stop-takes-its-time",
    /// An orderly stop ends in a panic, when all is done.
    StopPanics = "stop-panics",
    /// A consumer ends by itself, in an orderly way, after 150 records.
    EndsByItself = "ends-by-itself",
    /// A consumer stands still for 25 s, once.
    StandsStill = "stands-still",
    /// The producer exits with 1 although everything was acknowledged.
    ProducerExitsOne = "producer-exits-one",
    /// The producer ends by a signal of its own, when all is done.
    ProducerAborts = "producer-aborts",
    /// One record in fifty is produced with its event's time as its timestamp.
    TimestampOfEventTime = "timestamp-of-event-time",
    /// One record in fifty is produced with its header `ingestion_id` twice.
    IdHeaderTwice = "id-header-twice",
    /// An empty key beside a payload counts as none.
    EmptyKeyIgnored = "empty-key-ignored",
    /// A key that is taken from a payload keeps the escapes that it has there.
    KeyKeepsEscapes = "key-keeps-escapes",
    /// A receipt names the payload's key, whatever the record was sent with.
    ReceiptOfPayloadKey = "receipt-of-payload-key",
    /// Each third receipt of a rejected event names the place of the dead letter before.
    RejectedPlaceOfTheOneBefore = "rejected-place-of-the-one-before",
    /// The dead letter of a rejected event has an ingestion id of its own.
    RejectedLetterOfAnotherId = "rejected-letter-of-another-id",
    /// A record whose outcome is unknown is sent once more.
    UnknownSentAgain = "unknown-sent-again",
    /// The producer waits two seconds for a batch to fill.
    LingersLong = "lingers-long",
    /// Receipts are written when the buffer is full, and at the end.
    ReceiptsAtTheEnd = "receipts-at-the-end",
    /// A last line of the input without an end is not sent.
    LastLineLost = "last-line-lost",
    /// An event whose time has a fraction or another zone than `Z` is refused.
    StrictInstant = "strict-instant",
    /// An event whose time has no zone is accepted.
    LenientInstant = "lenient-instant",
    /// An event nested deeper than 128 levels is refused.
    DeepRefused = "deep-refused",
    /// Header names are stored in small letters.
    HeaderNameLowercased = "header-name-lowercased",
    /// Header values that are no UTF-8 are stored repaired.
    HeaderValueRepaired = "header-value-repaired",
    /// Header values are cut after 255 bytes.
    LongHeaderCut = "long-header-cut",
    /// A record whose ingestion id was seen before is passed over.
    SkipsSeenIds = "skips-seen-ids",
    /// A line's ingestion id is written as a UUID, and left out where it is none.
    LineIdNormalised = "line-id-normalised",
    /// A dead letter is sent with the timestamp of its record.
    LetterKeepsTimestamp = "letter-keeps-timestamp",
    /// Payloads of more than 32 KiB are cut there in dead letters.
    LargeLetterCut = "large-letter-cut",
    /// Header values that are no UTF-8 are repaired in dead letters.
    LetterHeaderValueRepaired = "letter-header-value-repaired",
    /// The object of a compressed part bears the media type of a plain one.
    ContentTypeOfPlain = "content-type-of-plain",
    /// The object of a compressed part bears the checksum of its lines.
    AttributeOfPlainLines = "attribute-of-plain-lines",
    /// The last entry of a document with several parts is listed twice.
    MetadataListsTwice = "metadata-lists-twice",
    /// A part that was stored for an assignment that is over counts for the one that followed.
    LateCompletionCounts = "late-completion-counts",
    /// A consumer that stops does not leave its group.
    NoLeaveAtStop = "no-leave-at-stop",
    /// What is committed is committed again and again.
    CommitsAgain = "commits-again",
    /// At a signal, what a store in trouble has not taken is committed all the same.
    StopCommitsUnstored = "stop-commits-unstored",
    /// A consumer calls itself unhealthy while records flow.
    UnwellWhileRecordsFlow = "unwell-while-records-flow",
    /// A key loses the white space around it.
    KeyTrimmed = "key-trimmed",
    /// A line end of two characters within a payload is sent as one.
    PayloadCrlfNormalised = "payload-crlf-normalised",
    /// Records with an empty key go to any partition.
    EmptyKeySpread = "empty-key-spread",
    /// A request to the store that is never answered is waited for.
    HungStoreCallWaitedFor = "hung-store-call-waited-for",
    /// One acknowledgement in a hundred names the dead-letter topic.
    ReceiptOfAnotherTopic = "receipt-of-another-topic",
    /// The producer exits with 0 although not everything was acknowledged.
    ProducerExitsZeroAfterUnknown = "producer-exits-zero-after-unknown",
    /// The producer gives a record up after 1.5 s, whatever it was told.
    DeliveryTimeoutShort = "delivery-timeout-short",
    /// An audit does not count dead letters.
    AuditForgetsLetters = "audit-forgets-letters",
    /// A payload with something behind its document is accepted.
    TrailingBytesAccepted = "trailing-bytes-accepted",
    /// An event in a leap second is refused.
    LeapSecondRefused = "leap-second-refused",
    /// A good payload whose `ingested_at` is no time becomes a dead letter.
    OddIngestedAtBuried = "odd-ingested-at-buried",
    /// The log does not say where a part was stored.
    LogWithoutPath = "log-without-path",
    /// Zeros at the end of a fraction are not stored.
    NumberZerosCut = "number-zeros-cut",
    /// A header with an empty name is not stored.
    EmptyHeaderNameDropped = "empty-header-name-dropped",
    /// Header values are stored up to their first zero byte.
    HeaderValueCutAtNul = "header-value-cut-at-nul",
    /// The dead letter of a record without a key has an empty one.
    LetterNullKeyAsEmpty = "letter-null-key-as-empty",
    /// The store is not tried out at the start.
    ProbeSkipped = "probe-skipped",
    /// Dead letters have failed when their record was ingested.
    LetterFailedWhenIngested = "letter-failed-when-ingested",
    /// Of poison records side by side only the first has a dead letter.
    LetterOfNeighbourLost = "letter-of-neighbour-lost",
    /// A compressed part of one record is not compressed, whatever its name says.
    SmallPartStaysPlain = "small-part-stays-plain",
    /// A part is listed when its upload begins.
    ListedBeforeWritten = "listed-before-written",
    /// At the end only the metadata of today's folder is completed.
    MetadataOfOtherDaysCut = "metadata-of-other-days-cut",
    /// A part whose upload took longer than 200 ms is stored a second time.
    SlowUploadHedged = "slow-upload-hedged",
    /// The day is that of a zone one hour ahead of UTC.
    DateAnHourAhead = "date-an-hour-ahead",
    /// A store that is asked too often ends the consumer.
    TooManyRequestsHopeless = "too-many-requests-hopeless",
    /// After a pause a partition is read again from before its committed offset.
    RereadsAfterPause = "rereads-after-pause",
    /// A record with the key of the one before it in its partition is passed over.
    DedupesByKey = "dedupes-by-key",
    /// Commits bear no leader epoch.
    CommitWithoutLeaderEpoch = "commit-without-leader-epoch",
    /// A member has 45 s between two polls.
    PollIntervalShortened = "poll-interval-shortened",
    /// A consumer calls itself healthy whatever happens.
    WellWhileNothingFlows = "well-while-nothing-flows",
    /// A partition that comes back to a process goes on where that process had left it off.
    ResumesFromMemory = "resumes-from-memory",
    /// A partition is committed when a hundred more of its records are stored, or when it is given up.
    CommitsByTheHundred = "commits-by-the-hundred",
    /// Each third dead letter waits ten seconds before it is written.
    LetterHeldBack = "letter-held-back",
    /// Parts of another day than today's wait twelve seconds before they are stored.
    OtherDaysWait = "other-days-wait",
    /// A checksum is listed without the zeros that it begins with.
    MetadataCrcUnpadded = "metadata-crc-unpadded",
    /// A document that is added to names the topic as its dataset.
    MetadataNamesTheTopic = "metadata-names-the-topic",
    /// An audit counts no duplicates.
    AuditForgetsDuplicates = "audit-forgets-duplicates",
    /// The plan of a replay tells the records of its largest partition as those of all.
    ReplayTellsOnePartition = "replay-tells-one-partition",
    /// A receipt names a key that is no UTF-8 repaired.
    ReceiptRepairsOddKey = "receipt-repairs-odd-key",
    /// A receipt's line is how many receipts there were, not the line of its event.
    ReceiptLineAtWriting = "receipt-line-at-writing",
    /// A record that bears a dead letter's headers already gives their values to its own dead letter.
    LetterKeepsFirstAccount = "letter-keeps-first-account",
    /// Bytes that are no text are stored in the Base64 of URLs.
    Base64OfUrls = "base64-of-urls",
    /// A part that is sent again bears no attributes.
    AttributesLostAtRetry = "attributes-lost-at-retry",
    /// The pauses between attempts go on growing: to half a minute, in a longer outage of the store.
    PausesGrowOn = "pauses-grow-on",
    /// Nothing is committed of a partition that this process had before.
    CommitsFirstAssignmentOnly = "commits-first-assignment-only",
    /// Between two commits lie 30 s.
    CommitsRarely = "commits-rarely",
    /// A dead letter at the end of what was read is not committed before a part behind it is stored.
    LetterAtEndUncommitted = "letter-at-end-uncommitted",
    /// Partitions that are taken away are given up when their time is over, and not before.
    RevocationUsesItsDeadline = "revocation-uses-its-deadline",
    /// A part that met a store error keeps its place among those that are uploaded at a time.
    SlotLostAtError = "slot-lost-at-error",
    /// Each stored part leaves a buffer behind in the memory.
    BufferLeftBehind = "buffer-left-behind",
    /// Of a hundred records or more that are read at once the last is passed over.
    SkipsLastOfLongTurn = "skips-last-of-long-turn",
    /// Nobody is told of offsets that the log no longer had.
    GapUntold = "gap-untold",
    /// A partition that this process had before is read from where it stopped then.
    BeginsWhereItWas = "begins-where-it-was",
    /// A record without `ingested_at` counts for the day of the record before it.
    DateOfTheOneBefore = "date-of-the-one-before",
    /// In each third dead letter the last two of the consumer's headers change places.
    LetterHeadersSwapped = "letter-headers-swapped",
    /// The pause between two attempts at a part doubles without a bound.
    RetriesEverRarer = "retries-ever-rarer",
    /// A part that a crash left unlisted is removed.
    UnlistedPartRemoved = "unlisted-part-removed",
    /// A compressed part is listed with the length of its lines.
    MetadataBytesOfPlainLines = "metadata-bytes-of-plain-lines",
    /// Rejected events are left out of the count of lines that receipts name.
    ReceiptLineMiscounted = "receipt-line-miscounted",
    /// An event counts as rejected when its dead letter is not acknowledged, too.
    RejectedUnacknowledged = "rejected-unacknowledged",
    /// Records of more than 32 KiB are sent without their key.
    LargeSentWithoutKey = "large-sent-without-key",
    /// What is read and not stored is no lag.
    LagOfWhatIsRead = "lag-of-what-is-read",
    /// An audit takes what lies between two records of a part for stored.
    AuditSpansHoles = "audit-spans-holes",
    /// A dry run of a replay sets the offsets.
    DryRunSetsOffsets = "dry-run-sets-offsets",
}

/// The policy of the consumer's core: the right one, unless this build can misbehave.
#[cfg(not(feature = "planted-bugs"))]
pub(crate) type InUse = crate::consumer::core::Sound;
/// The policy of the consumer's core: the right one, unless this build can misbehave.
#[cfg(feature = "planted-bugs")]
pub(crate) type InUse = protocol::Planted;

/// How parts get their numbers: rightly, unless this build can misbehave.
#[cfg(not(feature = "planted-bugs"))]
pub(crate) type NamingInUse = crate::raw_zone::numbering::SoundNaming;
/// How parts get their numbers: rightly, unless this build can misbehave.
#[cfg(feature = "planted-bugs")]
pub(crate) type NamingInUse = protocol::PlantedNaming;

/// Whether this build can misbehave at all.
pub(crate) const PLANTED: bool = cfg!(feature = "planted-bugs");

/// Whether this process runs with `bug`.
#[cfg(not(feature = "planted-bugs"))]
#[inline(always)]
pub(crate) const fn is(_bug: Bug) -> bool {
    false
}

/// Whether this process runs with `bug`.
#[cfg(feature = "planted-bugs")]
pub(crate) fn is(bug: Bug) -> bool {
    selected() == Some(bug)
}

/// Whether this process runs with `bug`, which acts right here.
#[inline(always)]
pub(crate) fn acts(bug: Bug) -> bool {
    acts_if(bug, true)
}

/// Whether this process runs with `bug`, and its occasion is there.
#[inline(always)]
pub(crate) fn acts_if(bug: Bug, occasion: bool) -> bool {
    let acts = is(bug) && occasion;
    if acts {
        announce();
    }
    acts
}

/// Whether this process runs with `bug`, and it is its turn: each `n`th time that it is asked.
#[inline(always)]
pub(crate) fn acts_each(bug: Bug, n: u64) -> bool {
    is(bug) && turn().is_multiple_of(n) && acts(bug)
}

/// Whether this process runs with `bug`, and it is asked for the `n`th time.
#[inline(always)]
pub(crate) fn acts_once(bug: Bug, n: u64) -> bool {
    is(bug) && turn() == n && acts(bug)
}

/// How often the one bug of this process was asked for, this time included.
fn turn() -> u64 {
    static ASKED: AtomicU64 = AtomicU64::new(0);
    ASKED.fetch_add(1, Ordering::Relaxed) + 1
}

pub(crate) fn announce() {
    static SAID: Once = Once::new();
    SAID.call_once(|| tracing::warn!("{ACTED}"));
}

/// The bug that `STREAMLAKE_PLANTED_BUG` names. An unknown name ends the process: a run that was to
/// show a bug and shows none would be read as a checker that missed it.
#[cfg(feature = "planted-bugs")]
fn selected() -> Option<Bug> {
    static SELECTED: std::sync::OnceLock<Option<Bug>> = std::sync::OnceLock::new();
    *SELECTED.get_or_init(|| {
        let name = std::env::var("STREAMLAKE_PLANTED_BUG").ok()?;
        let found = Bug::ALL.iter().find(|(known, _)| *known == name);
        let Some((_, bug)) = found else {
            let names: Vec<_> = Bug::ALL.iter().map(|(known, _)| *known).collect();
            panic!("STREAMLAKE_PLANTED_BUG={name} is none of {names:?}");
        };
        tracing::warn!(bug = name, "this process misbehaves on purpose");
        Some(*bug)
    })
}

/// The names of all bugs that this build can show; empty in a build without the feature.
pub fn names() -> Vec<&'static str> {
    if PLANTED { Bug::ALL.iter().map(|(name, _)| *name).collect() } else { Vec::new() }
}

/// Something that happened in this process, for the bugs that act only afterwards.
#[derive(Debug, Default)]
struct Mark(AtomicU64);

impl Mark {
    const fn new() -> Self {
        Mark(AtomicU64::new(0))
    }

    fn set(&self) {
        self.0.store(1, Ordering::Relaxed);
    }

    fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 1
    }

    /// Whether it was set; it is not any more.
    fn take(&self) -> bool {
        self.0.swap(0, Ordering::Relaxed) == 1
    }
}

/// The store refused a request: for bugs that act on the next occasion.
static STORE_ERROR: Mark = Mark::new();
/// The store has refused some request.
static STORE_ERRORS: Mark = Mark::new();
/// This process consumes for the second group of its scenario.
static SECOND_GROUP: Mark = Mark::new();

/// Takes note of a request that the store refused.
pub(crate) fn note_store_error() {
    if PLANTED {
        STORE_ERROR.set();
        STORE_ERRORS.set();
    }
}

/// Takes note of the group that this process belongs to.
pub(crate) fn note_group(group: &str) {
    if PLANTED && group.ends_with("-2") {
        SECOND_GROUP.set();
    }
}

/// The properties of a client that are nothing but a setting, and wrong.
pub(crate) fn configure(config: &mut ClientConfig, role: Role) {
    let mut when = |bug, for_role, properties: &[(&str, &str)]| {
        if role == for_role && acts(bug) {
            for (name, value) in properties {
                config.set(*name, *value);
            }
        }
    };
    let (consumer, producer, letters) = (Role::Consumer, Role::Producer, Role::DeadLetters);
    let not_idempotent = [("enable.idempotence", "false")];
    let acks_one = [("acks", "1"), not_idempotent[0]];
    when(Bug::WrongPartitioner, producer, &[("partitioner", "consistent_random")]);
    when(Bug::AcksOne, producer, &acks_one);
    when(Bug::IdempotenceOff, producer, &not_idempotent);
    when(Bug::LingersLong, producer, &[("linger.ms", "2000")]);
    when(Bug::RetriesBounded, producer, &[("retries", "1"), not_idempotent[0]]);
    let reordered = [
        not_idempotent[0],
        ("max.in.flight.requests.per.connection", "100"),
        ("batch.num.messages", "1"),
    ];
    when(Bug::ReorderedRetries, producer, &reordered);
    when(Bug::LetterAcksOne, letters, &acks_one);
    when(Bug::LetterIdempotenceOff, letters, &not_idempotent);
    when(Bug::DeliveryTimeoutShort, producer, &[("message.timeout.ms", "1500")]);
    when(Bug::PollIntervalShortened, consumer, &[("max.poll.interval.ms", "45000")]);
    when(Bug::OffsetResetLatest, consumer, &[("auto.offset.reset", "latest")]);
    when(Bug::ReadsUncommitted, consumer, &[("isolation.level", "read_uncommitted")]);
    let automatic = [
        ("enable.auto.commit", "true"),
        ("enable.auto.offset.store", "true"),
        ("auto.commit.interval.ms", "100"),
    ];
    when(Bug::AutoCommit, consumer, &automatic);
}
