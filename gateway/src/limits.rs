//! The limits of the front doors, in one place.

use std::time::Duration;

/// A cookie that its client has shown for so long without a session behind it is replaced: only young ones are taken for unused.
pub(crate) const COOKIE_RENEWAL: Duration = Duration::from_secs(5 * 60);

/// The largest ticket or handle that carries its statement. A longer statement stays in the coordinator.
pub(crate) const HANDLE_BYTES_MAX: usize = 1024 * 1024;

/// A statement that stays in the coordinator, and bound values that do, are forgotten when nobody has used them for so long.
pub(crate) const PREPARED_IDLE_MAX: Duration = Duration::from_secs(60 * 60);

/// Statements that stay in the coordinator, of tickets and of handles each; one more and the oldest goes.
pub(crate) const HELD_MAX: usize = 1_000;

/// Values of parameters that clients have bound; those of one statement more and the oldest go.
pub(crate) const BOUND_MAX: usize = 10_000;

/// Cancelled tickets that are remembered.
pub(crate) const CANCELLED_MAX: usize = 100_000;

/// Parameter values that one call may bind.
pub(crate) const PARAMETERS_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The largest message that the Flight door reads.
pub(crate) const REQUEST_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The largest body that the HTTP door reads: a commit names the snapshots that it removes, and has all columns.
pub(crate) const BODY_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What a message of rows aims at. Clients refuse messages over 4 MiB unless told otherwise, and a batch is cut by its mean row.
pub(crate) const ROWS_MESSAGE_BYTES: usize = 2 * 1024 * 1024;

/// The longest error message that is sent: it travels in a header, of which Java's gRPC takes 8 KiB, and each byte can become three there.
pub(crate) const ERROR_MESSAGE_BYTES_MAX: usize = 2_048;

/// How long an update that was answered waits for its client to end the call.
pub(crate) const UPDATE_END_WAIT: Duration = Duration::from_secs(10);

/// How long calls may go on after shutdown was asked for.
pub(crate) const DRAIN_MAX: Duration = Duration::from_secs(10);

/// How often a silent gRPC connection is asked whether it still lives.
pub(crate) const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(30);

/// How long it may take to say so.
pub(crate) const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// The longest statement that Trino's clients may send, in characters: Trino's own default.
pub(crate) const STATEMENT_CHARACTERS_MAX: usize = 1_000_000;

/// Texts of prepared statements from this size on are compressed in headers: Trino's own default.
pub(crate) const PREPARED_COMPRESSED_BYTES_MIN: usize = 2 * 1024;

/// How much shorter they have to become by that: Trino's own default.
pub(crate) const PREPARED_COMPRESSED_GAIN_MIN: usize = 512;

/// The longest text of a prepared statement that is compressed in a header: one of [`STATEMENT_CHARACTERS_MAX`].
pub(crate) const PREPARED_BYTES_MAX: usize = 4 * STATEMENT_CHARACTERS_MAX;

/// How long the texts of all prepared statements that come with a request are together.
pub(crate) const PREPARED_BYTES_OF_ALL_MAX: usize = 8 * PREPARED_BYTES_MAX;

/// What a page of rows in JSON aims at.
pub(crate) const ROWS_PAGE_BYTES: usize = 1024 * 1024;

/// How long rows wait for others to fill a page.
pub(crate) const ROWS_PAGE_WAIT: Duration = Duration::from_millis(100);

/// Up to this size the last rows come with the end of the query. The end is kept for those who ask twice, more rows would be too much for that.
pub(crate) const LAST_PAGE_BYTES_MAX: usize = 16 * 1024;

/// For how long the end of a query is kept.
pub(crate) const RESULTS_KEPT: Duration = Duration::from_secs(60);

/// How long a request for results waits for them, unless it says less.
pub(crate) const RESULTS_WAIT_MAX: Duration = Duration::from_secs(1);

/// Queries of Trino's clients at once, with those that have just ended.
pub(crate) const QUERIES_MAX: usize = 20_000;

/// Answers from this size on are compressed for those who take that.
pub(crate) const COMPRESSED_BYTES_MIN: usize = 2 * 1024;

/// How long rows of a spooled result wait for others to fill a segment, when they are too many to come with an answer.
pub(crate) const SEGMENT_WAIT: Duration = Duration::from_secs(1);

/// Segments in JSON from this size on are compressed for those who take that: Trino's own default.
pub(crate) const SEGMENT_COMPRESSED_BYTES_MIN: usize = 8 * 1024;
