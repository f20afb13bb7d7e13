//! TLS reports: which of ours were sent, and what others' told us.
