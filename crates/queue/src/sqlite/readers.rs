//! Connections that only read. Each query runs on a blocking thread, on a snapshot that no writer disturbs.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;

use super::schema;
use crate::Error;
use crate::draft::blocking;

/// A small pool: connections are opened as needed and a few are kept.
#[derive(Debug)]
pub(super) struct Readers {
    database: Arc<Path>,
    idle: Arc<Mutex<Vec<Connection>>>,
}

const KEPT: usize = 4;

impl Readers {
    pub(super) fn new(database: Arc<Path>) -> Self {
        Self { database, idle: Arc::default() }
    }

    /// Runs a query.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        let (database, pool) = (self.database.clone(), self.idle.clone());
        blocking(move || {
            let idle = pool.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let wrong = |error: rusqlite::Error| Error::sqlite(&database, &error);
            let connection = idle.map_or_else(|| schema::open_reader(&database), Ok).map_err(wrong)?;
            let answer = query(&connection).map_err(wrong)?;
            let mut idle = pool.lock().unwrap_or_else(PoisonError::into_inner);
            if idle.len() < KEPT {
                idle.push(connection);
            }
            Ok(answer)
        })
        .await
    }

    /// Closes what is idle.
    pub(super) fn close(&self) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
