//! EHLO keywords (RFC 5321 §4.1.1.1): what a server announces, and what a client understood of it.
