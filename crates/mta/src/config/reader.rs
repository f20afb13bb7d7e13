//! Reads sections.
