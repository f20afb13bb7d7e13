//! Looks for files.
