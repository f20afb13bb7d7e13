//! Parsing a peer's replies: strictly where meaning is at stake, bounded everywhere.
