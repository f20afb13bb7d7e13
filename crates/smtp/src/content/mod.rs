//! Content on the wire: dot-stuffing and its reverse, line endings, chunks (RFC 5321 §4.5.2, RFC 3030).
