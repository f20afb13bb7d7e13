//! One typed command per line (RFC 5321 §4.1.1).
